"""What every detector is to the rest of the program: a frozen module from normalised images to maps and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Inference(NamedTuple):
    """What a detector says of a batch.

    Attributes:
        scores: float32, (B,), not negative; NaN where it can't say.
        anomaly_maps: float32, (B, 1, H, W) at the network's input size.
    """

    scores: Tensor
    anomaly_maps: Tensor


class Detector(nn.Module, ABC):
    """A detector of any kind. Calibration, line, evaluation and refinement know no more of it than this.

    The score of an image depends on this image alone, never on others of its batch or of a test set.

    Args:
        features: The frozen backbones: normalised images (B, 3, H, W) to a tuple of feature maps for each level in
            use. It is what a calibration computes once and keeps.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Inference:
        """Scores and anomaly maps of (B, 3, H, W) normalised images."""
        return self.head(self.body(images))

    @abstractmethod
    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """The convolutions: what an engine may compile, and compute in lower precision.

        Args:
            images: (B, 3, H, W), normalised.
        """

    @abstractmethod
    def head(self, parts: Sequence[Tensor]) -> Inference:
        """Scores and anomaly maps from what `body` gives, in float32 whatever the body's precision."""
