"""What every detector is to the rest of the program: a frozen module from normalised images to maps and scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
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

    Attributes:
        ignored: bool, (1, 1, H, W), pixels of the input that are not inspected; None if all are.
    """

    ignored: Tensor | None

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("ignored", None)

    def forward(self, images: Tensor) -> Inference:
        """Scores and anomaly maps of (B, 3, H, W) normalised images."""
        return self.head(self.body(images))

    @abstractmethod
    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """The convolutions: what an engine may compile, and compute in lower precision.

        Args:
            images: (B, 3, H, W), normalised.
        """

    def body_modules(self) -> list[nn.Module]:
        """The modules that `body` computes with, and `head` never: those that may be converted to lower precision."""
        return [self.features]

    @abstractmethod
    def head(self, parts: Sequence[Tensor]) -> Inference:
        """Scores and anomaly maps from what `body` gives, in float32 whatever the body's precision.

        Maps are 0 where pixels are ignored, and scores are formed without these.
        """

    def inspected(self, maps: Tensor) -> Tensor:
        """Maps (B, 1, h, w), at the size of the input or of features, with 0 where all of a cell is ignored."""
        if self.ignored is None:
            return maps
        ignored = self.ignored
        if maps.shape[-2:] != ignored.shape[-2:]:
            ignored = F.adaptive_max_pool2d((~ignored).float(), maps.shape[-2:]) == 0
        return torch.where(ignored, 0.0, maps)
