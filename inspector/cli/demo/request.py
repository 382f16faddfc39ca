"""What is asked of a demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]

#: The cameras that can show the conveyor's parts.
CAMERAS = ("synthetic", "genicam-simulator")


@dataclass(frozen=True)
class Demo:
    """What the user asked for.

    Attributes:
        camera: "synthetic", or "genicam-simulator"; not used with `data`.
        data: MVTec AD category, played from its folder; None takes the conveyor.
        weights: "bundled", "imagenet" or "random:SEED"; None chooses.
        weights_dir: Folder with ImageNet weight files.
        source_network: Source backbone; None takes the default of the weights.
        target_network: Target backbone.
        detector: As `calibrate train`; None takes the default with the conveyor's options.
        good_parts: Good parts of the conveyor to calibrate on; None takes enough for the promise.
        parts: Parts to inspect; None takes every test image, or a few hundred rendered parts.
        rate: Triggers a second; None takes a part whenever the worker has room.
        deadline_ms: Deadline of a verdict.
        false_rejects: Target false-reject rate; None takes the default.
        precision: Arithmetic of the network; None takes bfloat16 where the CPU has it.
        output: Folder for everything that the demo makes.
        json_path: Where to write the figures.
        seed: Of everything random.
    """

    camera: str
    data: Path | None
    weights: str | None
    weights_dir: Path | None
    source_network: str | None
    target_network: str | None
    detector: str | None
    good_parts: int | None
    parts: int | None
    rate: float | None
    deadline_ms: float
    false_rejects: float | None
    precision: Precision | None
    output: Path
    json_path: Path | None
    seed: int

    @property
    def chosen_weights(self) -> str:
        """The weights to calibrate with: the bundled ones unless something else was named."""
        if self.weights is not None:
            return self.weights
        named = self.weights_dir or self.source_network or self.target_network
        return "imagenet" if named else "bundled"
