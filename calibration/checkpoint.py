"""A stopped calibration's state: finished and half-finished trainings, as safetensors beside the recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from inspector.domain.errors import DataError


class Checkpoints:
    """Files of one calibration, in a hidden folder beside the recipe.

    Args:
        recipe: Folder that the recipe will have.
        fingerprint: Identity of plan and images.

    Attributes:
        resumed: True if a former run of the same calibration left something.
    """

    def __init__(self, recipe: Path, fingerprint: str) -> None:
        self._folder = recipe.parent / f".{recipe.name}.training"
        marker = self._folder / "fingerprint"
        try:
            self.resumed = marker.is_file() and marker.read_text() == fingerprint
            if not self.resumed:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder.mkdir(parents=True)
                marker.write_text(fingerprint)
        except OSError as error:
            raise DataError(f"{self._folder}: can't keep the training's state: {error.strerror}") from error

    def load(self, name: str) -> dict[str, Tensor] | None:
        """State of a training; None if there is none that can be read."""
        path = self._folder / f"{name}.safetensors"
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
        path = self._folder / f"{name}.safetensors"
        scratch = path.with_suffix(".partial")
        try:
            save_file(tensors, scratch)
            scratch.replace(path)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: can't be written: {error}; free space and run the same command again") from error

    def scores(self, name: str) -> Tensor | None:
        """float64 scores of a finished round; None if there are none."""
        path = self._folder / f"{name}.scores.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as tensors:
                found: Tensor = tensors.get_tensor("scores")
                return found
        except (SafetensorError, OSError):
            return None

    def save_scores(self, name: str, scores: Tensor) -> None:
        """Keeps the scores of a finished round."""
        self.save(f"{name}.scores", {"scores": scores.to(torch.float64).contiguous()})

    def clear(self) -> None:
        """Removes everything: the recipe is written."""
        shutil.rmtree(self._folder, ignore_errors=True)
