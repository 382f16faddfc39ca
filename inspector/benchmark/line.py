"""The whole line in real processes: camera process, transport, worker, gate; from trigger to verdict."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.benchmark.samples import Latency
from inspector.config.cameras import FolderCamera
from inspector.config.schema import InspectorConfig, Line, Metrics, Verdicts, Worker
from inspector.domain.errors import FatalError
from inspector.domain.verdict import Decision, Verdict
from inspector.roles.daemon import Station, open_station, stop_signals

#: Different pictures that the parts are made of.
_PICTURES = 16


@dataclass(frozen=True)
class LineRun:
    """What a run at one rate came to.

    Attributes:
        offered: Triggers a second; None for a part whenever there is room.
        parts: Parts triggered.
        judged: Parts that passed or failed.
        causes: Parts by cause.
        latency: From trigger to verdict, of all parts.
        parts_per_second: From the first to the last verdict.
        cpu_ms_per_part: Processor time of all processes for a part, between these two.
    """

    offered: float | None
    parts: int
    judged: int
    causes: dict[str, int]
    latency: Latency
    parts_per_second: float
    cpu_ms_per_part: float

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "latency": self.latency.as_record()}


@dataclass
class _Watcher:
    """Collects verdicts, and the processor time at the first and the last of them."""

    verdicts: list[Verdict] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def __call__(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        if len(self.verdicts) == 1:
            self.cpu_s = [processor_seconds()]


def write_pictures(folder: Path, side_px: int, parts: int) -> None:
    """Files of random pixels for so many parts; only the first few hold data of their own."""
    rng = np.random.default_rng(0)
    for number in range(parts):
        file = folder / f"{number:07d}.bmp"
        if number < _PICTURES:
            cv2.imwrite(str(file), rng.integers(0, 256, (side_px, side_px), np.uint8))
        else:
            file.symlink_to(folder / f"{number % _PICTURES:07d}.bmp")


def measure_line(
    recipe: Path,
    worker: Worker,
    *,
    offered: float | None,
    parts: int,
    frame_px: int,
    deadline_ms: float,
    interruptible: bool = True,
) -> LineRun:
    """Starts a station, shows it `parts` parts of random pixels, and waits for every verdict.

    Args:
        recipe: Its network runs; what it says of random pixels is of no matter.
        worker: Settings of the worker.
        offered: Triggers a second; None for a part whenever there is room.
        parts: Number of parts, at least 2.
        frame_px: Side of the frames, grey.
        deadline_ms: Deadline of a verdict.
        interruptible: Stop in order at SIGINT and SIGTERM; False where this is not the main thread.

    Raises:
        FatalError: The station can't run, or a part has no verdict.
        KeyboardInterrupt: It was stopped.
    """
    with tempfile.TemporaryDirectory(prefix="inspector-bench-") as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        write_pictures(folder / "parts", frame_px, parts)
        config = line_config(folder, recipe, worker, offered, deadline_ms)
        watcher = _Watcher()
        show_parts(config, parts, _last(watcher, parts), interruptible=interruptible)
    return _summary(offered, watcher)


def line_config(
    folder: Path, recipe: Path, worker: Worker, offered: float | None, deadline_ms: float
) -> InspectorConfig:
    """A station whose camera plays the pictures in `folder`/parts; all that it writes comes into `folder` too."""
    return InspectorConfig(
        station="bench",
        recipe=recipe,
        camera=FolderCamera(kind="folder", path=folder / "parts", rate=offered),
        line=Line(deadline_ms=deadline_ms),
        worker=worker,
        verdicts=Verdicts(endpoint=f"ipc://{folder}/verdicts.sock", log=folder / "verdicts.jsonl"),
        metrics=Metrics(port=0),
        runtime_dir=folder / "run",
    )


def show_parts(
    config: InspectorConfig,
    parts: int,
    watcher: Callable[[Verdict], None],
    *,
    interruptible: bool = True,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    beside: Callable[[Station], AbstractContextManager[None]] = lambda station: nullcontext(),
) -> None:
    """Runs a station until all of its parts have a verdict.

    Args:
        config: Its camera has `parts` parts.
        parts: Number of parts.
        watcher: Told every verdict.
        interruptible: Stop in order at SIGINT and SIGTERM; False where this is not the main thread.
        clock_ns: The gate's monotonic clock.
        beside: Given the station before it runs; what it opens is closed after the run.

    Raises:
        FatalError: The station can't run, or a part has no verdict.
        KeyboardInterrupt: It was stopped.
    """
    seen = 0

    def watch(verdict: Verdict) -> None:
        nonlocal seen
        seen += 1
        watcher(verdict)

    with open_station(config, os.environ, watcher=watch, clock_ns=clock_ns) as station, beside(station):
        with stop_signals(station.gate) if interruptible else nullcontext():
            tally = station.gate.run()
        stopped = station.gate.stopping and tally.triggered < parts
    if stopped:
        raise KeyboardInterrupt
    if not tally.balanced or tally.pending or tally.triggered != parts or seen != parts:
        raise FatalError(f"{parts} parts were shown, and the ledger says {tally}: a part was lost")


def _last(watcher: _Watcher, parts: int) -> Callable[[Verdict], None]:
    def watch(verdict: Verdict) -> None:
        watcher(verdict)
        if len(watcher.verdicts) == parts:
            watcher.cpu_s.append(processor_seconds())

    return watch


def _summary(offered: float | None, watcher: _Watcher) -> LineRun:
    verdicts = watcher.verdicts
    seconds = max(verdicts[-1].decided_ns - verdicts[0].decided_ns, 1) / 1e9
    counted = len(verdicts) - 1
    return LineRun(
        offered=offered,
        parts=len(verdicts),
        judged=sum(verdict.decision is not Decision.NOT_INSPECTED for verdict in verdicts),
        causes=dict(Counter(verdict.cause.value for verdict in verdicts)),
        latency=Latency.of([verdict.whole_ns / 1e6 for verdict in verdicts]),
        parts_per_second=round(counted / seconds, 2),
        cpu_ms_per_part=round(1e3 * (watcher.cpu_s[-1] - watcher.cpu_s[0]) / counted, 3),
    )


def processor_seconds() -> float:
    """Processor time that this process and its living children have used, in seconds."""
    pids = [str(os.getpid())]
    for children in Path("/proc/self/task").glob("*/children"):
        pids += children.read_text(encoding="ascii").split()
    ticks = 0
    for pid in pids:
        try:
            fields = Path("/proc", pid, "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
