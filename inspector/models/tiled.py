"""A detector that inspects an image tile by tile, as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from inspector.models.detector import Detector, Inference
from inspector.recipe.geometry import tiles
from inspector.recipe.manifest import Geometry


class Tiled(Detector):
    """Judges the tiles of an image and says of the image what the worst of them says.

    Args:
        inner: Judges one tile.
        geometry: Size of the image and of its tiles.
    """

    def __init__(self, inner: Detector, geometry: Geometry) -> None:
        nn.Module.__init__(self)  # the features are the inner detector's, and its alone in the weights' file
        self.register_buffer("ignored", None)
        self.inner = inner
        self.image_px = geometry.image_px
        self.places = tiles(geometry)

    @property
    def features(self) -> nn.Module:  # type: ignore[override]
        """Those of the inner detector."""
        return self.inner.features

    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """As `Detector.body`, of (B T, 3, h, w): the T tiles of each image, as `Preprocess` cuts them."""
        return self.inner.body(images)

    def body_modules(self) -> list[nn.Module]:
        """As `Detector.body_modules`: those of the inner detector."""
        return self.inner.body_modules()

    def head(self, parts: Sequence[Tensor]) -> Inference:
        """As `Detector.head`, for the B images: the largest score of their tiles, the larger value where maps overlap.

        With ignored pixels the score is the largest value of the map that is left.
        """
        of_tiles = self.inner.head(parts)
        count = len(self.places)
        scores = of_tiles.scores.view(-1, count)
        maps = of_tiles.anomaly_maps
        maps = maps.view(-1, count, *maps.shape[1:])
        image_maps = maps.new_zeros(len(maps), 1, *self.image_px)
        for index, (top, left) in enumerate(self.places):
            place = image_maps[:, :, top : top + maps.shape[-2], left : left + maps.shape[-1]]
            place.copy_(torch.maximum(place, maps[:, index]))
        if self.ignored is None:
            return Inference(scores.amax(dim=1), image_maps)
        image_maps = self.inspected(image_maps)
        return Inference(image_maps.amax(dim=(1, 2, 3)), image_maps)


def core(detector: Detector) -> Detector:
    """The detector that judges one network input: the inner one of a tiled detector, else itself."""
    return detector.inner if isinstance(detector, Tiled) else detector
