"""A detector in two parts: the body, which an engine may compile and run in lower precision, and the float32 rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inspector.models.detector import Detector, Inference


class Body(nn.Module):
    """From normalised images to what the head needs: nearly all of the arithmetic."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Tensors of `Detector.body`, from (B, 3, H, W) images."""
        return self.network.body(images)


class Head(nn.Module):
    """From the body's tensors to scores and maps: cheap, or in need of float32, and computed in it."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, parts: Sequence[Tensor]) -> Inference:
        """As `Detector.head`, whatever the precision of the tensors."""
        return self.network.head([part.float() for part in parts])


def partition(network: Detector, precision: torch.dtype = torch.float32) -> tuple[Body, Head]:
    """Body and head of a detector: ``head(body(images))`` is what the detector gives.

    Args:
        network: Both parts are of this one: what is done to it is done to them.
        precision: What the body's parameters are converted to, in place; its images must be of this type too.
    """
    for module in network.body_modules():
        module.to(precision)
    return Body(network), Head(network)
