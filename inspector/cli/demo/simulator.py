"""The conveyor's parts under a simulated GenICam camera: its own driver path, from the producer to the verdict."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
import yaml
from rich.console import Console

from inspector.cameras.simulator import BELT_PARTS, SERIAL, build_simulator, check_folder, fill_belt, states
from inspector.cameras.synthetic import good_parts, inspected_parts
from inspector.cli.demo.light_barrier import LightBarrier, PulsePlan, send
from inspector.cli.demo.request import Demo
from inspector.cli.demo.sources import GOOD_PARTS, Source, conveyor, rendered_again
from inspector.cli.figures import UNKNOWN
from inspector.config.cameras import Feature, GenicamCamera
from inspector.domain.errors import FatalError
from inspector.domain.frame import Pixels
from inspector.domain.verdict import Verdict
from inspector.roles.gate import Gate

#: Folder of the simulator in the demo's output.
PLACE = "simulator"
#: Frames that may be open at a time, without a rate.
_OPEN_PARTS = 4
#: While good parts are collected: buffers that stay free, so that none is lost.
_SPARE_BUFFERS = 4
_LOOK_S = 0.005
_FEATURES = (
    Feature(name="TriggerSelector", value="FrameStart"),
    Feature(name="TriggerMode", value="On"),
    Feature(name="TriggerSource", value="Line1"),
    Feature(name="ExposureTime", value=5000.0),
    Feature(name="Gain", value=0.0),
)


class Simulator(Source):
    """A simulated camera with a line trigger, which a light barrier pulls.

    The good parts are taken through the camera too, with `inspector collect`.
    """

    on_conveyor = True
    #: A verdict may reach the light barrier before the worker's word that it has room reaches the camera process.
    queue_frames = 2 * _OPEN_PARTS

    def __init__(self, demo: Demo, output: Path, console: Console) -> None:
        self._rendered = conveyor(demo)
        self._folder = output / PLACE
        check_folder(self._folder)
        console.print("building the GenICam simulator")
        camera = GenicamCamera(
            kind="genicam",
            producers=(build_simulator(self._folder),),
            serial=SERIAL,
            features=_FEATURES,
        )
        assert self._rendered.parts is not None
        super().__init__(camera, self._rendered.parts, output / "good-parts")
        self._rate = demo.rate
        self._patience_s = demo.deadline_ms / 1000 + 2.0
        self._verdicts = 0
        self._barrier: LightBarrier | None = None
        self.remark = f"a part comes by with: inspector simulator tell {self._folder} trigger {SERIAL} 1"
        count = demo.good_parts or GOOD_PARTS
        with console.status(f"rendering {count} good parts for the simulator's belt"):
            fill_belt(self._folder, (part.pixels for part in good_parts(self._rendered, count)))
        self._collect(output / "collect.yaml", count)
        labels: list[str] = []
        with console.status(f"rendering {min(self.total, BELT_PARTS)} parts for the simulator's belt"):
            fill_belt(self._folder, self._to_inspect(labels))
        self._labels = labels

    def _to_inspect(self, labels: list[str]) -> Iterator[Pixels]:
        for part in inspected_parts(self._rendered, min(self.total, BELT_PARTS)):
            labels.append(part.label)
            yield part.pixels

    def _collect(self, config: Path, count: int) -> None:
        """Takes the good parts through the camera, in a process of its own as every camera."""
        station = {"station": "demo", "recipe": "none-yet", "camera": self.camera.model_dump(mode="json")}
        config.write_text(yaml.safe_dump(station, sort_keys=False), encoding="utf-8")
        command = [sys.executable, "-m", "inspector", "collect", str(self.good), "--count", str(count)]
        process = subprocess.Popen([*command, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                for state in states(self._folder):
                    room = state["queued"] - state["triggers"] - _SPARE_BUFFERS
                    if state["grabbing"] and room > 0:
                        send(self._folder, room)
                time.sleep(_LOOK_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode == 130:
            raise click.Abort
        if process.returncode != 0:
            error = FatalError(f"inspector collect ended with exit code {process.returncode}; its error stands above")
            error.exit_code = process.returncode if process.returncode > 0 else FatalError.exit_code
            raise error

    @contextmanager
    def beside(self, gate: Gate) -> Iterator[None]:
        """Lets the parts come by, and stops the line after the last one."""

        def stop() -> None:
            self.finished = not gate.stopping
            gate.stopping = True

        plan = PulsePlan(self.total, self._rate, _OPEN_PARTS, self._patience_s)
        barrier = LightBarrier(self._folder, plan, lambda: self._verdicts, stop, time.monotonic)
        self._barrier = barrier
        barrier.start()
        try:
            yield
        finally:
            barrier.stop()

    def watch(self, verdict: Verdict) -> None:
        """Counts verdicts for the light barrier."""
        self._verdicts += 1
        if self._barrier is not None:
            self._barrier.wake()

    def labelled(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """The verdicts with the class of their part, found by the frame's id: the camera counts a lost frame too."""
        return [replace(verdict, source=label_of(verdict.source, self._labels)) for verdict in verdicts]

    def pictures(self, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
        """Their parts, rendered again."""
        return rendered_again(self._rendered, verdicts, folder)


def label_of(source: str, labels: Sequence[str]) -> str:
    """The label of the part that a frame shows.

    Args:
        source: As a GenICam camera names its frames. Their ids begin at 1 with each start of the camera, and so does
            the belt.
        labels: Of the parts on the belt.

    Returns:
        A label; `UNKNOWN` for a part without a frame.

    >>> label_of("frame 2 at 1700000000 ns", ["good/000000", "dent/000001"])
    'dent/000001'
    >>> label_of("a frame lost before frame 2 at 1700000000 ns", ["good/000000", "dent/000001"])
    'unknown'
    """
    found = re.fullmatch(r"frame ([0-9]+)(?: at [0-9]+ ns)?", source)
    return UNKNOWN if found is None else labels[(int(found[1]) - 1) % len(labels)]
