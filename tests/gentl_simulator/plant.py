"""Builds the GenTL simulator, and plays a plant with it: parts on the belt, cables, faults."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspector.cameras.simulator import CompilerMissing as CompilerMissing
from inspector.cameras.simulator import build_simulator, fill_belt, tell

#: The tests hold the sources to this.
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic")


def build_producer(folder: Path) -> Path:
    """Compiles the simulator into a folder with the system's compiler.

    Returns:
        The producer, a .cti file.

    Raises:
        CompilerMissing: There is no compiler.
    """
    return build_simulator(folder, flags=STRICT)


@dataclass(frozen=True)
class PlantCamera:
    """A camera of the plant, as a line of the simulator's file `cameras`."""

    serial: str
    model: str = "Simulator-1"
    user_id: str = "-"
    transport: str = "Custom"
    plugged: bool = True

    def line(self) -> str:
        """The line."""
        state = "plugged" if self.plugged else "unplugged"
        return f"{self.serial} {self.model} {self.user_id} {self.transport} {state}\n"


class Plant:
    """The folder that the simulator plays from, and the other end of its control sockets.

    Args:
        producer: The .cti file.
        folder: A folder with a short path: UNIX sockets are made in it.
        cameras: What is plugged in at first.
    """

    def __init__(
        self, producer: Path, folder: Path, cameras: Sequence[PlantCamera] = (PlantCamera("SIM0001"),)
    ) -> None:
        self.producer = producer
        self.folder = folder
        self._cameras = {camera.serial: camera for camera in cameras}
        self._write_cameras()

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs in its environment to see this plant."""
        return {"GENTL_SIMULATOR_FOLDER": str(self.folder)}

    def write_parts(self, pictures: Iterable[NDArray[np.uint8]]) -> None:
        """Puts pictures, grey (H, W) or RGB (H, W, 3), on the belt as raw portable maps, before a camera opens."""
        fill_belt(self.folder, pictures)

    def list_cameras(self, *cameras: PlantCamera) -> None:
        """Other cameras than those before."""
        self._cameras = {camera.serial: camera for camera in cameras}
        self._write_cameras()
        self._tell_of_cameras()

    def unplug(self, serial: str = "SIM0001") -> None:
        """Pulls a cable."""
        self._change(replace(self._cameras[serial], plugged=False))

    def plug(self, serial: str = "SIM0001", model: str | None = None) -> None:
        """Plugs it in again, with another model at its end if one is named."""
        camera = self._cameras[serial]
        self._change(replace(camera, plugged=True, model=model or camera.model))

    def crash(self, serial: str = "SIM0001") -> None:
        """The producer takes the processes that play the camera with it."""
        tell(self.folder, f"crash {serial}")

    def tell(self, command: str, patience_s: float = 90.0) -> str:
        """Sends a command to every process that plays cameras, and waits until there is one.

        Returns:
            The last answer, without its "ok".
        """
        until = time.monotonic() + patience_s
        while True:
            answers = tell(self.folder, command)
            if answers:
                return answers[-1]
            if time.monotonic() > until:
                raise AssertionError(f"no process plays the cameras of {self.folder}")
            time.sleep(0.02)

    def state(self, serial: str = "SIM0001") -> dict[str, int]:
        """The camera's counters."""
        words = self.tell(f"state {serial}").split()
        return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}

    def _change(self, camera: PlantCamera) -> None:
        self._cameras[camera.serial] = camera
        self._write_cameras()
        self._tell_of_cameras()

    def _tell_of_cameras(self) -> None:
        tell(self.folder, "list")

    def _write_cameras(self) -> None:
        partial = self.folder / "cameras.partial"
        partial.write_text("".join(camera.line() for camera in self._cameras.values()))
        partial.replace(self.folder / "cameras")
