"""A simulated camera at a high rate through the ring: no frame lost, each on its own pixels, memory flat.

By default a few seconds of small frames. The figures of docs/benchmarks.md come from::

    INSPECTOR_SOAK_S=60 INSPECTOR_SOAK_RATE=200 INSPECTOR_SOAK_SIZE=2448x2048 pytest -s tests/process/test_soak.py
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.benchmark.checksum_worker import checksum
from inspector.cameras.simulator import states
from inspector.config.schema import InspectorConfig
from inspector.domain.verdict import Cause, Verdict
from inspector.roles.daemon import open_station
from inspector.roles.gate import Gate

from ..gentl_simulator.plant import Plant

SECONDS = float(os.environ.get("INSPECTOR_SOAK_S", "4"))
RATE = float(os.environ.get("INSPECTOR_SOAK_RATE", "25"))
WIDTH_PX, HEIGHT_PX = map(int, os.environ.get("INSPECTOR_SOAK_SIZE", "640x480").split("x"))
#: Short enough for the rate; the gain makes up for it, so that the pixels stay those of the pictures.
EXPOSURE_US = min(5000.0, 0.9e6 / RATE)
TRANSPORT = os.environ.get("INSPECTOR_SOAK_TRANSPORT", "shared_memory")
#: Frames that may wait for the worker: ten seconds of them, where they are small.
QUEUE_FRAMES = max(32, min(256, (128 << 20) // (WIDTH_PX * HEIGHT_PX)))
#: Frames until memory is what it will be.
SETTLING_SHARE = 0.25
#: Looks at memory, at least.
SAMPLES = 8

pytestmark = [pytest.mark.process, pytest.mark.timeout(180 + 2 * SECONDS)]


class Samples:
    """What the three processes hold, once in a while."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.memory_mb: dict[str, list[float]] = {"gate": [], "camera": [], "worker": []}
        self.descriptors: dict[str, list[int]] = {"gate": [], "camera": [], "worker": []}
        self.cpu_s: dict[str, list[float]] = {"gate": [], "camera": [], "worker": []}
        self.taken_s: list[float] = []
        self.underruns = 0

    def take(self) -> None:
        self.taken_s.append(time.monotonic())
        pids = {"gate": os.getpid(), "camera": self._gate.lines[0].camera.pid, "worker": self._gate.lines[0].worker.pid}
        for name, pid in pids.items():
            process = Path(f"/proc/{pid}")
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            self.memory_mb[name].append(int(status["RssAnon"].split()[0]) / 1024)
            self.descriptors[name].append(len(os.listdir(process / "fd")))
            ticks = (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
            self.cpu_s[name].append(sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))


class Record:
    """What was said of each part, in little memory: it must not show in that of the gate."""

    def __init__(self) -> None:
        self.causes: Counter[Cause] = Counter()
        self.ids, self.scores = array("q"), array("d")
        self.triggered_ns, self.whole_ns = array("q"), array("q")

    def take(self, verdict: Verdict) -> None:
        self.causes[verdict.cause] += 1
        if verdict.score is not None:
            self.ids.append(int(verdict.source.split()[1]))
            self.scores.append(verdict.score)
            self.triggered_ns.append(verdict.triggered_ns)
            self.whole_ns.append(verdict.whole_ns)


def run_line(config: InspectorConfig, seconds: float, plant: Path) -> tuple[Record, Samples]:
    """Runs a station with the worker of these tests for so long after its first verdict."""
    record = Record()
    first = threading.Event()

    def watch(verdict: Verdict) -> None:
        record.take(verdict)
        first.set()

    with open_station(config, {}, watcher=watch) as station:
        gate: Any = station.gate
        gate.lines[0].worker.command = [sys.executable, "-m", "inspector.benchmark.checksum_worker"]
        samples = Samples(gate)

        def time_it() -> None:
            if first.wait(60):
                until = time.monotonic() + seconds
                while time.monotonic() < until or len(samples.taken_s) < SAMPLES:
                    time.sleep(min(1.0, seconds / SAMPLES))
                    samples.take()
                samples.underruns = sum(state["underruns"] for state in states(plant))
            gate.stopping = True

        clock = threading.Thread(target=time_it)
        clock.start()
        try:
            assert gate.run().balanced
        finally:
            clock.join()
    return record, samples


def rising(values: list[float]) -> float:
    """By how much the second half of the settled values exceeds the first, at their middles."""
    settled = values[int(len(values) * SETTLING_SHARE) :]
    half = len(settled) // 2
    return float(np.median(settled[half:]) - np.median(settled[:half]))


@pytest.fixture
def configure(random_recipe: Path, plant: Plant) -> Callable[[Path], InspectorConfig]:
    def make(folder: Path) -> InspectorConfig:
        return InspectorConfig.model_validate(
            {
                "station": "soak",
                "recipe": random_recipe,
                "camera": {
                    "kind": "genicam",
                    "producers": [plant.producer],
                    "serial": "SIM0001",
                    "features": [
                        {"name": "AcquisitionFrameRate", "value": RATE},
                        {"name": "ExposureTime", "value": EXPOSURE_US},
                        {"name": "Gain", "value": 20 * math.log10(5000 / EXPOSURE_US)},
                    ],
                    "free_running": True,
                    "buffers": 32,
                },
                "line": {"deadline_ms": 20_000, "queue_frames": QUEUE_FRAMES},
                "transport": TRANSPORT,
                "worker": {"allow_random_weights": True},
                "verdicts": {"endpoint": None, "log": None},
                "metrics": {"port": 0},
                "runtime_dir": folder,
            }
        )

    return make


def test_no_frame_is_lost_and_memory_stays_flat(configure: Callable[[Path], InspectorConfig], plant: Plant) -> None:
    generator = np.random.default_rng(1)
    pictures = [generator.integers(0, 256, (HEIGHT_PX, WIDTH_PX), np.uint8) for _ in range(7)]
    plant.write_parts(pictures)
    sums = [checksum(picture) for picture in pictures]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        record, samples = run_line(configure(Path(folder)), SECONDS, plant.folder)
    latencies_ms = np.array(record.whole_ns) / 1e6
    reached_per_s = 1e9 * (len(record.ids) - 1) / (record.triggered_ns[-1] - record.triggered_ns[0])
    figures = {
        "transport": TRANSPORT,
        "frame": f"{WIDTH_PX}x{HEIGHT_PX}",
        "asked_per_s": RATE,
        "reached_per_s": round(reached_per_s, 1),
        "causes": {cause.value: count for cause, count in record.causes.items()},
        "latency_ms": {f"p{q:g}": round(float(np.percentile(latencies_ms, q)), 2) for q in (50, 99, 99.9)},
        "cpu_ms_per_frame": {
            name: round(1000 * (spent[-1] - spent[0]) / (samples.taken_s[-1] - samples.taken_s[0]) / reached_per_s, 3)
            for name, spent in samples.cpu_s.items()
        },
        "memory_mb": {name: [round(values[0], 1), round(values[-1], 1)] for name, values in samples.memory_mb.items()},
        "memory_rise_mb": {name: round(rising(values), 2) for name, values in samples.memory_mb.items()},
        "descriptors": {name: [values[0], values[-1]] for name, values in samples.descriptors.items()},
    }
    print(json.dumps(figures))
    # The score is the checksum: every frame was judged on its own pixels. The ids of the simulator begin with 1.
    assert list(record.scores) == [sums[(number - 1) % len(sums)] for number in record.ids]
    assert list(record.ids) == sorted(set(record.ids)), "a frame was judged out of turn"
    told = record.causes.pop(Cause.FRAME_MISSING, 0)
    assert record.ids[-1] - len(record.ids) == told, "a frame was lost without a word"
    # On a machine that stands still for longer than the camera's buffers last.
    assert told <= samples.underruns, "a frame was lost that the camera had a buffer for"
    assert set(record.causes) <= {Cause.SCORE_ABOVE_THRESHOLD, Cause.SCORE_WITHIN_THRESHOLD, Cause.SHUTDOWN}
    assert record.causes[Cause.SHUTDOWN] <= QUEUE_FRAMES + 4 + 2, "more than can be under way at the end"
    assert all(rising(values) < 8 for values in samples.memory_mb.values())
    assert all(values[-1] <= values[0] for values in samples.descriptors.values())
