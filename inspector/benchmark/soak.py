"""A long run of the whole line with faults: no part lost, sums that balance, memory and descriptors that stay."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.benchmark.checksum_worker import checksum
from inspector.benchmark.machine import machine_facts
from inspector.benchmark.soak_account import Account, Samples, read_log
from inspector.benchmark.soak_faults import FaultInjector, FaultKind
from inspector.config.cameras import FolderCamera
from inspector.config.schema import Archive, InspectorConfig, Line, Metrics, Supervision, Verdicts, Worker
from inspector.domain.ledger import Tally
from inspector.domain.precision import Precision
from inspector.roles.daemon import open_station, stop_signals
from inspector.roles.gate import Gate

_PICTURES = 256
_STUB = "inspector.benchmark.checksum_worker"
#: A child without progress for so long is killed; a soak has many that hang.
_HANG_S = 2.0
#: Scores of one picture by the real network differ so much at most, by what it was computed together with.
_SAME: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}
#: Growth that is still no growth.
_MEMORY_MB = 8.0
_DESCRIPTORS = 3.0


@dataclass(frozen=True)
class SoakOrders:
    """What to run.

    Attributes:
        recipe: A trial recipe (`inspector.benchmark.trial`), or a real one.
        parts: Ends after so many parts; None has no such end.
        seconds: Ends after so long; None has no such end.
        rate: Triggers a second; None for a part whenever there is room.
        seed: Of pictures and faults.
        faults: Kinds of faults to choose from.
        fault_every_s: Mean pause between two faults, seconds.
        stub: The checksum worker in the place of the network.
        frame_px: Side of the frames, grey.
        deadline_ms: Deadline of a verdict.
        worker: Settings of the worker.
    """

    recipe: Path
    parts: int | None
    seconds: float | None
    rate: float | None
    seed: int
    faults: tuple[FaultKind, ...]
    fault_every_s: float
    stub: bool
    frame_px: int
    deadline_ms: float
    worker: Worker


@dataclass(frozen=True)
class SoakResult:
    """What a soak came to.

    Attributes:
        record: For JSON: parts, sums, faults, recoveries, growth and samples.
        samples: What the processes held over time.
        problems: What must not be, for people; empty if all is well.
    """

    record: dict[str, Any]
    samples: Samples
    problems: list[str]


def run_soak(orders: SoakOrders, progress: Callable[[int, float], None] = lambda parts, seconds: None) -> SoakResult:
    """Runs the line until its end, SIGINT or SIGTERM, whichever comes first; then adds up.

    Args:
        orders: What to run.
        progress: Told parts and seconds so far, once in a while, from another thread.

    Raises:
        FatalError: The station can't run.
    """
    with tempfile.TemporaryDirectory(prefix="inspector-soak-") as name:
        folder = Path(name)
        scores = write_pictures(folder / "parts", orders.frame_px, orders.seed)
        account = Account(0.0, scores) if orders.stub else Account(_SAME[orders.worker.precision])
        with open_station(_config(orders, folder), os.environ, watcher=account) as station:
            if orders.stub:
                station.gate.lines[0].worker.command = [sys.executable, "-m", _STUB]
            injector = FaultInjector(
                orders.faults,
                orders.fault_every_s,
                orders.seed,
                pids=child_processes,
                pictures=folder / "parts",
                longest_stop_s=2 * _HANG_S,
                injected=account.fault,
            )
            sampler = _Sampler(station.gate, account, orders, injector, progress)
            with stop_signals(station.gate):
                sampler.start()
                try:
                    tally = station.gate.run()
                finally:
                    sampler.stop()
        log = read_log(folder / "verdicts.jsonl")
    samples = sampler.samples
    seconds = max(sampler.seconds, 1e-9)
    record = {
        "machine": machine_facts(),
        "parts": tally.triggered,
        "seconds": round(seconds, 1),
        "parts_per_second": round(tally.triggered / seconds, 1),
        "sums": {"pass": tally.passed, "fail": tally.failed, "not_inspected": tally.not_inspected},
        "causes": {cause: count for (_, cause), count in sorted(account.causes.items())},
        "verdict_log": log,
        "scores_checked": account.scored,
        "latency_ms": account.latency_ms(),
        "faults": dict(sorted(injector.counts.items())),
        "recovery_s": {kind: _spread(times) for kind, times in sorted(account.recoveries_s.items())},
        "growth": samples.growth(),
        "samples": vars(samples),
    }
    return SoakResult(record, samples, find_problems(tally, account, log, samples))


def find_problems(tally: Tally, account: Account, log: dict[str, Any], samples: Samples) -> list[str]:
    """What must not be, for people.

    Args:
        tally: Sums of the ledger.
        account: What was told of each part.
        log: Sums of the verdict log.
        samples: What the processes held.
    """
    problems = []
    if not tally.triggered:
        problems.append("no part came")
    if not tally.balanced or tally.pending:
        problems.append(f"the ledger does not balance: {tally}")
    lost = tally.triggered - account.parts + account.missing
    if lost or account.strays:
        problems.append(f"{lost} parts without a verdict, {account.strays} verdicts too many")
    if account.foreign:
        problems.append(f"{account.foreign} scores are not those of their part's picture")
    sums = {"pass": tally.passed, "fail": tally.failed, "not_inspected": tally.not_inspected}
    if {name: log["by_decision"].get(name, 0) for name in sums} != sums or log["twice"]:
        problems.append(f"the verdict log says {log}, the ledger {sums}")
    for name, grown in samples.growth().items():
        if grown["memory_mb"] > _MEMORY_MB:
            problems.append(f"{name}: memory grew by {grown['memory_mb']:.1f} MB")
        if grown["descriptors"] > _DESCRIPTORS:
            problems.append(f"{name}: {grown['descriptors']:.0f} more open descriptors than before")
    return problems


class _Sampler:
    """A thread beside the gate: looks at the processes, begins the faults with the first verdict, ends the run."""

    def __init__(
        self,
        gate: Gate,
        account: Account,
        orders: SoakOrders,
        injector: FaultInjector,
        progress: Callable[[int, float], None],
    ) -> None:
        self.samples = Samples(min(1.0, (orders.seconds or 60.0) / 60))
        self.seconds = 0.0
        self._gate = gate
        self._account = account
        self._orders = orders
        self._injector = injector
        self._progress = progress
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        account, orders = self._account, self._orders
        while not account.parts and not self._over.wait(0.05):
            pass
        self._injector.start()
        begun_s = time.monotonic()
        sample_due_s = 0.0
        while not self._over.wait(0.05):
            self.seconds = time.monotonic() - begun_s
            if self.seconds >= sample_due_s:
                pids = {"gate": os.getpid(), **child_processes()}
                self.samples.take(self.seconds, account.parts, pids)
                sample_due_s = self.seconds + self.samples.interval_s
                self._progress(account.parts, self.seconds)
            enough = orders.parts is not None and account.parts >= orders.parts
            if enough or (orders.seconds is not None and self.seconds >= orders.seconds):
                self._gate.stopping = True
        self._injector.stop()


def child_processes() -> dict[str, int | None]:
    """Process ids of this process's camera, worker and archive; None for one that isn't there."""
    pids: dict[str, int | None] = dict.fromkeys(("camera", "worker", "archive"))
    for listing in Path("/proc/self/task").glob("*/children"):
        for pid in _words(listing).split():
            words = _words(Path("/proc", pid.decode(), "cmdline")).split(b"\0")
            for role in pids:
                if f"inspector.roles.{role}".encode() in words or (role == "worker" and _STUB.encode() in words):
                    pids[role] = int(pid)
    return pids


def _words(path: Path) -> bytes:
    """A file of /proc; empty once its thread or process has ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _spread(times_s: list[float]) -> dict[str, float]:
    return {
        "faults": len(times_s),
        "median": round(float(np.median(times_s)), 3),
        "largest": round(max(times_s), 3),
    }


def write_pictures(folder: Path, side_px: int, seed: int) -> dict[str, float]:
    """Files of random pixels.

    Returns:
        The checksum of each by its name.
    """
    folder.mkdir()
    rng = np.random.default_rng(seed)
    sums = {}
    for number in range(_PICTURES):
        picture = rng.integers(0, 256, (side_px, side_px), np.uint8)
        cv2.imwrite(str(folder / f"{number:04d}.bmp"), picture)
        sums[f"{number:04d}.bmp"] = checksum(picture)
    return sums


def _config(orders: SoakOrders, folder: Path) -> InspectorConfig:
    return InspectorConfig(
        station="soak",
        recipe=orders.recipe,
        camera=FolderCamera(kind="folder", path=folder / "parts", rate=orders.rate, loop=True),
        line=Line(deadline_ms=orders.deadline_ms),
        worker=orders.worker,
        verdicts=Verdicts(endpoint=f"ipc://{folder}/verdicts.sock", log=folder / "verdicts.jsonl", log_queue=1_000_000),
        metrics=Metrics(port=0),
        archive=Archive(folder=folder / "archive", pass_ratio=0.001, quota_bytes=50_000_000),
        # Children die all the time here; none of it may end the run.
        supervision=Supervision(restarts=1_000_000, restart_window_s=1.0, heartbeat_timeout_s=_HANG_S),
        runtime_dir=folder / "run",
    )
