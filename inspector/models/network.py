"""PFM, B-PFM, MB-PFM and PEFM: source and target backbone, the mappings of each hierarchy, map and score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.models.branches import Branched
from inspector.models.detector import Detector, Inference
from inspector.models.feature_mapping import (
    HierarchyMapping,
    MappedForm,
    PositionEncoding,
    fuse,
    image_score,
    score_map,
    unit_norm,
)
from inspector.models.feature_maps import GaussianSmoothing
from inspector.models.position import POSITION_BASE, position_code


@dataclass(frozen=True)
class NetworkShape:
    """Everything that fixes the network's parameters.

    Attributes:
        source_channels: Channels of the source backbone's hierarchies.
        target_channels: Channels of the target backbone's hierarchies.
        latents: c for each hierarchy that is used, in the order of `levels`.
        levels: Hierarchies in use, a subset of 1, 2, 3 in ascending order.
        position: Position encoding.
        input_px: Height and width of the input.
        bidirectional: False for PFM, which maps the source to the target alone.
        mapped: Whether mapped features are normalised.
        position_base: Constant of the position code.
    """

    source_channels: tuple[int, ...]
    target_channels: tuple[int, ...]
    latents: tuple[int, ...]
    levels: tuple[int, ...] = (1, 2, 3)
    position: PositionEncoding = "none"
    input_px: tuple[int, int] = (256, 256)
    bidirectional: bool = True
    mapped: MappedForm = "raw"
    position_base: float = POSITION_BASE


class FeaturePair(Branched):
    """Both frozen backbones: unit-norm features of each hierarchy, the target's at the source's size."""

    def __init__(self, source: nn.Module, target: nn.Module, levels: Sequence[int] = (1, 2, 3)) -> None:
        super().__init__()
        self.source = source
        self.target = target
        self.levels = tuple(levels)

    def forward(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Source and target features for each hierarchy in use.

        Args:
            images: (B, 3, H, W), normalised.

        Returns:
            For each level, (B, c_S, h, w) and (B, c_T, h, w), each of norm 1 over its channels.
        """
        of_source, of_target = self.run_branches([partial(self.source, images), partial(self.target, images)])
        pairs = []
        for level in self.levels:
            source, target = of_source[level - 1], of_target[level - 1]
            if target.shape[-2:] != source.shape[-2:]:
                target = F.interpolate(target, size=source.shape[-2:], mode="bilinear", align_corners=False)
            pairs.append((unit_norm(source), unit_norm(target)))
        return pairs


class MappingPyramid(Branched):
    """The mapping networks of all hierarchies, and the anomaly map they give (PFM paper, section III-C)."""

    def __init__(self, shape: NetworkShape, feature_px: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.shape = shape
        self.hierarchies = nn.ModuleList()
        for index, level in enumerate(shape.levels):
            channels = shape.source_channels[level - 1], shape.target_channels[level - 1]
            self.hierarchies.append(
                HierarchyMapping(
                    *channels,
                    shape.latents[index],
                    shape.position,
                    bidirectional=shape.bidirectional,
                    mapped=shape.mapped,
                )
            )
            for side, width in zip(("source", "target"), channels, strict=True):
                code = None
                if shape.position != "none":
                    code = position_code(width, *feature_px[index], shape.position_base)[None]
                self.register_buffer(f"{side}_code_{index}", code, persistent=False)

    def codes(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        """Position codes of one hierarchy, (1, c, h, w) for source and target; None with "none"."""
        source = cast("Tensor | None", getattr(self, f"source_code_{index}"))
        return source, cast("Tensor | None", getattr(self, f"target_code_{index}"))

    def forward(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Inference:
        """Maps, compares, fuses and scores.

        Args:
            pairs: What `FeaturePair` gives.
        """
        anomaly_map = self.fused(self.level_maps(pairs))
        return Inference(image_score(anomaly_map), anomaly_map)

    def fused(self, maps: Sequence[Tensor]) -> Tensor:
        """Map of the image, (B, 1, H, W), from the (B, 1, h, w) maps of the hierarchies (PFM paper, eq. 15)."""
        return fuse(maps, self.shape.input_px)

    def level_maps(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Anomaly map of each hierarchy at the size of its features, (B, 1, h, w), before the fusion.

        Args:
            pairs: What `FeaturePair` gives.
        """
        return self.run_branches([partial(self._level_map, index, *pair) for index, pair in enumerate(pairs)])

    def _level_map(self, index: int, source: Tensor, target: Tensor) -> Tensor:
        mapped_source, mapped_target = self.hierarchies[index](source, target, *self.codes(index))
        return score_map(source, target, mapped_source, mapped_target)


class InspectionNetwork(Detector):
    """From normalised images to scores, by mapping the features of one backbone to those of another.

    Args:
        features: Both backbones.
        mapping: The mappings.
        smoothing_px: Deviation of a Gaussian filter of the anomaly map, 0 for none as in the papers.
    """

    features: FeaturePair

    def __init__(self, features: FeaturePair, mapping: MappingPyramid, smoothing_px: float = 0.0) -> None:
        super().__init__(features)
        self.mapping = mapping
        self.smoothing_px = smoothing_px
        self.smoothing = GaussianSmoothing(smoothing_px) if smoothing_px > 0 else None

    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """As `Detector.body`: `level_maps`."""
        return tuple(self.level_maps(images))

    def body_modules(self) -> list[nn.Module]:
        """As `Detector.body_modules`: backbones and mappings."""
        return [self.features, self.mapping]

    def head(self, parts: Sequence[Tensor]) -> Inference:
        """As `Detector.head`: fusion (PFM paper, eq. 15) and score (eq. 9)."""
        anomaly_map = self.inspected(self.mapping.fused(parts))
        if self.smoothing is not None:
            anomaly_map = self.inspected(self.smoothing(anomaly_map))
        return Inference(image_score(anomaly_map), anomaly_map)

    def level_maps(self, images: Tensor) -> list[Tensor]:
        """Anomaly map of each hierarchy of (B, 3, H, W) normalised images, see `MappingPyramid.level_maps`."""
        return self.mapping.level_maps(self.features(images))


def feature_sizes(features: FeaturePair, input_px: tuple[int, int]) -> list[tuple[int, int]]:
    """Height and width of the feature maps of each hierarchy in use, found with an empty image."""
    parameter = next(features.parameters())
    with torch.inference_mode():
        pairs = features(torch.zeros(1, 3, *input_px, device=parameter.device, dtype=parameter.dtype))
    return [(int(source.shape[-2]), int(source.shape[-1])) for source, _ in pairs]


def build_network(
    source: nn.Module,
    target: nn.Module,
    *,
    latents: tuple[int, ...],
    levels: tuple[int, ...] = (1, 2, 3),
    position: PositionEncoding = "none",
    input_px: tuple[int, int] = (256, 256),
    bidirectional: bool = True,
    mapped: MappedForm = "raw",
    position_base: float = POSITION_BASE,
    smoothing_px: float = 0.0,
) -> InspectionNetwork:
    """An inspection network around two backbones, its mappings freshly initialised (PyTorch's defaults).

    Args:
        source: Backbone with `channels` and three feature maps.
        target: The other backbone.
        latents: c for each of `levels`.
        levels: Hierarchies in use.
        position: Position encoding.
        input_px: Height and width of the input.
        bidirectional: False for PFM.
        mapped: Whether mapped features are normalised.
        position_base: Constant of the position code.
        smoothing_px: Deviation of the Gaussian filter of the anomaly map; 0 for none.
    """
    features = FeaturePair(source, target, levels)
    shape = NetworkShape(
        tuple(cast("Sequence[int]", source.channels)),
        tuple(cast("Sequence[int]", target.channels)),
        latents,
        levels,
        position,
        input_px,
        bidirectional,
        mapped,
        position_base,
    )
    return InspectionNetwork(features, MappingPyramid(shape, feature_sizes(features, input_px)), smoothing_px)
