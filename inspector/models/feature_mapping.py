"""The mapping networks of PFM, B-PFM, MB-PFM and PEFM: 1x1 convolutions for each hierarchy, in one or both directions.

Sources: Wan et al., "Unsupervised Image Anomaly Detection and Segmentation Based on Pre-trained Feature Mapping"
(IEEE TII 2022), Table I and eqs 13 to 15; Wan et al., "Position Encoding Enhanced Feature Mapping" (CASE 2022),
eqs 6 to 10. Where paper and public code differ, the form that produced the published numbers is built: layers 3
and 6 are plain convolutions, and mapped features are not normalised again unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PositionEncoding = Literal["none", "add", "concat"]
#: What mapped features are compared as: as they come (the authors' code, which gave the published numbers), or
#: normalised to unit length again (the PFM paper, eqs 7, 8 and 12 to 14).
MappedForm = Literal["raw", "unit"]


def unit_norm(features: Tensor) -> Tensor:
    """Features divided by their L2 norm over the channels: (B, C, H, W) in and out, norm 1 at each location.

    Computed in float32 whatever the features' precision: in float16 the smallest norm would be 0, and features that
    are all 0 would become NaN.
    """
    return F.normalize(features.float(), dim=1, eps=1e-12).to(features.dtype)


class ConvBlock(nn.Conv2d):
    """1x1 convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=1)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H, W), not negative."""
        return F.relu(self.bn(super().forward(x)))


class Direction(nn.Module):
    """Layers 1, 2, 4, 5 and 6 of one direction; layer 3 is shared and comes as an argument.

    Args:
        inputs: Channels of the features that are mapped.
        outputs: Channels of the features that are mapped to.
        latent: c, the width of the shared layer.
        position: How the position code enters; with "concat" layer 1 takes twice `inputs`.
    """

    def __init__(self, inputs: int, outputs: int, latent: int, position: PositionEncoding) -> None:
        super().__init__()
        entering = 2 * inputs if position == "concat" else inputs
        self.layer1 = ConvBlock(entering, inputs // 2 + latent)
        self.layer2 = ConvBlock(inputs // 2 + latent, 2 * latent)
        self.layer4 = ConvBlock(latent, 2 * latent)
        self.layer5 = ConvBlock(2 * latent, outputs // 2 + latent)
        self.layer6 = nn.Conv2d(outputs // 2 + latent, outputs, kernel_size=1)

    def forward(self, x: Tensor, layer3: nn.Module) -> Tensor:
        """Mapped features, (B, outputs, H, W), not normalised."""
        x = layer3(self.layer2(self.layer1(x)))
        mapped: Tensor = self.layer6(self.layer5(self.layer4(x)))
        return mapped


class Shared(nn.Module):
    """The layer that both directions share (the paper's SMU)."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.layer3 = nn.Conv2d(2 * latent, latent, kernel_size=1)


class HierarchyMapping(nn.Module):
    """The mapping of one hierarchy, in both directions or from the source to the target alone.

    Args:
        source_channels: c_S of this hierarchy.
        target_channels: c_T of this hierarchy.
        latent: c of this hierarchy.
        position: "none" (MB-PFM), "add" or "concat" (PEFM).
        bidirectional: False for PFM, which maps the source alone.
        mapped: Whether mapped features are normalised.
    """

    def __init__(
        self,
        source_channels: int,
        target_channels: int,
        latent: int,
        position: PositionEncoding = "none",
        *,
        bidirectional: bool = True,
        mapped: MappedForm = "raw",
    ) -> None:
        super().__init__()
        self.position = position
        self.mapped = mapped
        self.source_to_target = Direction(source_channels, target_channels, latent, position)
        self.target_to_source: Direction | None = None
        if bidirectional:
            self.target_to_source = Direction(target_channels, source_channels, latent, position)
        self.shared = Shared(latent)

    def directions(self, source: Tensor, target: Tensor) -> list[tuple[Direction, Tensor]]:
        """The directions in use, each with the features that it is to predict."""
        pairs = [(self.source_to_target, target)]
        return pairs if self.target_to_source is None else [*pairs, (self.target_to_source, source)]

    def forward(
        self, source: Tensor, target: Tensor, source_code: Tensor | None = None, target_code: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Maps each feature space into the other.

        Args:
            source: Unit-norm source features, (B, c_S, H, W).
            target: Unit-norm target features, (B, c_T, H, W).
            source_code: Position code of the source, broadcastable to it; unused with "none".
            target_code: Position code of the target.

        Returns:
            Mapped source (B, c_S, H, W), None where only the source is mapped, and mapped target (B, c_T, H, W); of
            unit norm only if that was asked for.
        """
        layer3 = self.shared.layer3
        mapped_target = self._leave(self.source_to_target(self._enter(source, source_code), layer3))
        if self.target_to_source is None:
            return None, mapped_target
        return self._leave(self.target_to_source(self._enter(target, target_code), layer3)), mapped_target

    def _enter(self, features: Tensor, code: Tensor | None) -> Tensor:
        if self.position == "none":
            return features
        if code is None:
            raise ValueError(f"position encoding {self.position!r} needs the position codes")
        if self.position == "add":
            return features + code
        return torch.cat([features, code.expand_as(features)], dim=1)

    def _leave(self, features: Tensor) -> Tensor:
        return unit_norm(features) if self.mapped == "unit" else features


def mapping_loss(source: Tensor, target: Tensor, mapped_source: Tensor | None, mapped_target: Tensor) -> Tensor:
    """Loss of one hierarchy: mean squared error of each direction, summed (PFM paper eqs 7 and 12, code form).

    Without a mapped source it is that of the one direction.
    """
    loss = F.mse_loss(mapped_target, target)
    return loss if mapped_source is None else loss + F.mse_loss(mapped_source, source)


def score_map(source: Tensor, target: Tensor, mapped_source: Tensor | None, mapped_target: Tensor) -> Tensor:
    """Anomaly map of one hierarchy: squared distances, summed over channels (PFM paper eqs 8, 13 and 14).

    Returns:
        (B, 1, H, W), float32 whatever the features' precision, not negative: half the sum of both directions, or the
        distance of the one direction.
    """
    of_target = (mapped_target.float() - target.float()).square().sum(dim=1, keepdim=True)
    if mapped_source is None:
        return of_target
    of_source = (mapped_source.float() - source.float()).square().sum(dim=1, keepdim=True)
    return 0.5 * (of_source + of_target)


def fuse(score_maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Anomaly map of the image: mean of the bilinearly resized maps of the hierarchies (PFM paper eq 15).

    Args:
        score_maps: One (B, 1, h, w) map for each hierarchy.
        size: Height and width of the result.

    Returns:
        (B, 1, height, width).
    """
    resized = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in score_maps]
    return torch.stack(resized).mean(dim=0)


def image_score(anomaly_map: Tensor) -> Tensor:
    """Score of the part: the largest value of its anomaly map (PFM paper eq 9); (B, 1, H, W) to (B,)."""
    return anomaly_map.amax(dim=(1, 2, 3))
