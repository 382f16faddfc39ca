"""A detector in two parts: the body, which an engine may compile and run in lower precision, and the float32 rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from inspector.models.detector import Inference
from inspector.models.feature_mapping import fuse, image_score
from inspector.models.network import InspectionNetwork

#: From the body's tensors to scores and maps.
Head = Callable[[Sequence[Tensor]], Inference]


class LevelMaps(nn.Module):
    """From normalised images to the anomaly map of each hierarchy: nearly all of the arithmetic."""

    def __init__(self, network: InspectionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, 1, h, w) of (B, 3, H, W) images."""
        return tuple(self.network.level_maps(images))


def partition(network: InspectionNetwork) -> tuple[nn.Module, Head]:
    """Body and head of a detector: ``head(body(images))`` is what the detector gives.

    The head, fusion and score, is cheap and computed in float32 whatever the body's precision.
    """
    size = network.mapping.shape.input_px

    def head(maps: Sequence[Tensor]) -> Inference:
        anomaly_map = fuse(list(maps), size)
        return Inference(image_score(anomaly_map), anomaly_map)

    return LevelMaps(network), head
