"""A stopped calibration's state: finished and half-finished trainings, as safetensors beside the recipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from inspector.domain.errors import AlreadyRunning, DataError

_MARKER = "fingerprint"


class Checkpoints:
    """Files of one calibration, in a hidden folder beside the recipe. To be used in a ``with`` statement.

    The folder is locked, so that the same command given twice doesn't spoil it, and vanishes at the end unless a
    training left something in it.

    Args:
        recipe: Folder that the recipe will have.
        fingerprint: Identity of plan and images; what another one left is removed.

    Attributes:
        folder: The folder.
        resumed: True if a former run of the same calibration left something.

    Raises:
        DataError: The folder can't be written.
        AlreadyRunning: Another process calibrates the same recipe.
    """

    def __init__(self, recipe: Path, fingerprint: str) -> None:
        self.folder = recipe.parent / f".{recipe.name}.training"
        marker = self.folder / _MARKER
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                raise AlreadyRunning(f"another process is calibrating {recipe}; wait for it or stop it") from None
            known = marker.is_file() and marker.read_bytes() == fingerprint.encode()
            for left in self.folder.iterdir():
                if not known or left.suffix == ".partial":
                    left.unlink()
            if not known:
                marker.write_text(fingerprint)
            self.resumed = any(path != marker for path in self.folder.iterdir())
        except OSError as error:
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            raise DataError(
                f"{recipe.parent} can't be written: {error.strerror}; free space or choose another --recipe folder"
            ) from error

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if all(path.name == _MARKER or path.suffix == ".partial" for path in self.folder.glob("*")):
            self.clear()
        os.close(self._lock)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """State of a training; None if there is none that can be read."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            return load_file(path)
        except (SafetensorError, OSError):
            return None

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Writes a state whole or not at all.

        Raises:
            DataError: The disk is full or can't be written.
        """
        path = self.folder / f"{name}.safetensors"
        scratch = path.with_name(f"{path.name}.partial")
        try:
            save_file(tensors, scratch)
            scratch.replace(path)
        except (OSError, SafetensorError) as error:
            scratch.unlink(missing_ok=True)
            raise DataError(
                f"{path} can't be written: {error}; free space there and give the same command again"
            ) from error

    def scores(self, name: str) -> Tensor | None:
        """float64 scores of a finished round; None if there are none."""
        state = self.load(f"{name}.scores")
        return None if state is None else state.get("scores")

    def save_scores(self, name: str, scores: Tensor) -> None:
        """Keeps the scores of a finished round."""
        self.save(f"{name}.scores", {"scores": scores.double().contiguous()})

    def clear(self) -> None:
        """Removes everything: the recipe is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
