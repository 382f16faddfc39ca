"""`inspector demo` as a new user runs it, with few parts: calibration, the whole daemon, figures, contact sheet."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inspector.cameras.simulator import tell

from .conftest import wait_for

PARTS = 20
LIMIT_S = 240

pytestmark = [pytest.mark.process, pytest.mark.timeout(2 * LIMIT_S)]


@dataclass
class Demo:
    """A demo that was started."""

    process: subprocess.Popen[bytes]
    output: Path
    terminal: Path

    def records(self) -> list[dict[str, Any]]:
        log = self.output / "verdicts.jsonl"
        if not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().split("\n")[:-1]]

    def figures(self) -> dict[str, Any]:
        """Waits for its good end."""
        assert self.process.wait(LIMIT_S) == 0, self.said()
        found: dict[str, Any] = json.loads((self.output / "figures.json").read_text())
        return found

    def said(self) -> str:
        return self.terminal.read_text()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="demo-") as name:  # pytest's own paths are too long for sockets
        yield Path(name)


def start(folder: Path, name: str, *options: str) -> Demo:
    """PaDiM and a modest promise: the calibration that is done soonest."""
    terminal = folder / f"{name}.txt"
    quick = ("--detector", "padim", "--good-parts", "30", "--false-rejects", "0.3", "--precision", "float32")
    patient = ("--deadline-ms", "30000")  # a busy machine is no matter of these tests
    command = [sys.executable, "-m", "inspector", "demo", *quick, *patient, "--parts", str(PARTS), *options]
    with terminal.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--output", str(folder / name)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
        )
    return Demo(process, folder / name, terminal)


@pytest.fixture(scope="module")
def synthetic(folder: Path) -> Iterator[Demo]:
    demo = start(folder, "synthetic")
    yield demo
    demo.process.kill()
    demo.process.wait()


def test_synthetic_conveyor(synthetic: Demo) -> None:
    figures = synthetic.figures()
    records = synthetic.records()
    classes = Counter(record["source"].split("/")[0] for record in records)
    assert sum(classes.values()) == PARTS
    assert (figures["triggered"], figures["pending"], figures["not_inspected"]) == (PARTS, 0, 0)
    assert figures["good_parts"] == classes.pop("good")
    assert {name: counts["parts"] for name, counts in figures["by_class"].items()} == classes
    assert figures["image_auroc"] > 0.9
    assert figures["unknown_parts"] == 0
    assert (synthetic.output / "rejects.png").is_file()
    assert f"{PARTS} triggered = " in synthetic.said()
    assert "image AUROC" in synthetic.said()


@pytest.mark.usefixtures("gentl_producer")  # skips without a compiler
def test_genicam_simulator_shows_the_same_parts_and_a_lost_frame_shifts_no_label(folder: Path, synthetic: Demo) -> None:
    """Two frames are lost in the middle. The parts behind them must keep their labels, and what the camera delivers
    must be, pixel for pixel, what the renderer made: the scores are those of the synthetic conveyor.
    """
    synthetic.figures()
    expected = {int(record["source"].split("/")[1]): record for record in synthetic.records()}
    demo = start(folder, "simulator", "--camera", "genicam-simulator", "--rate", "2")
    try:
        wait_for(lambda: demo.records() or demo.process.poll() is not None, "verdicts", LIMIT_S)
        assert tell(demo.output / "simulator", "drop SIM0001 2"), demo.said()  # nine seconds before the last part
        figures = demo.figures()
    finally:
        demo.process.kill()
        demo.process.wait()
    shown: list[str] = []
    for record in demo.records():
        frame = re.fullmatch(r"frame (\d+) at \d+ ns", record["source"])
        if frame is None:
            assert record["cause"] == "frame_missing"
            continue
        part = expected[int(frame[1]) - 1]
        assert record["score"] == pytest.approx(part["score"], rel=1e-3)
        shown.append(part["source"].split("/")[0])
    classes = Counter(shown)
    assert len(shown) == PARTS - 2
    assert (figures["triggered"], figures["not_inspected"], figures["unknown_parts"]) == (PARTS, 2, 2)
    assert figures["good_parts"] == classes.pop("good")
    assert {name: counts["parts"] for name, counts in figures["by_class"].items()} == classes
    assert len(list((demo.output / "good-parts").glob("*.png"))) == 30
    assert "2 without a frame" in demo.said()
