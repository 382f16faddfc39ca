"""A detector in two parts: the body, which an engine may compile and run in lower precision, and the float32 rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from inspector.models.detector import Detector, Inference

#: From the body's tensors to scores and maps.
Head = Callable[[Sequence[Tensor]], Inference]


class Body(nn.Module):
    """From normalised images to what the head needs: nearly all of the arithmetic."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Tensors of `Detector.body`, from (B, 3, H, W) images."""
        return self.network.body(images)


def partition(network: Detector) -> tuple[nn.Module, Head]:
    """Body and head of a detector: ``head(body(images))`` is what the detector gives.

    The head is cheap, or needs float32, and is computed in it whatever the body's precision.
    """

    def head(parts: Sequence[Tensor]) -> Inference:
        return network.head([part.float() for part in parts])

    return Body(network), head
