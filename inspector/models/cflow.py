"""CFLOW-AD: the likelihood of every feature, given where in the image it lies.

Source: Gudovskiy et al., "CFLOW-AD: Real-Time Unsupervised Anomaly Detection with Localization via Conditional
Normalizing Flows" (WACV 2022), section 4. The authors' code takes maxima over the whole test set; here they are
constants of the good parts, so that an image's score depends on it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.models.coupling import ConditionalFlow
from inspector.models.detector import Detector, Inference
from inspector.models.feature_maps import FeatureMaps
from inspector.models.position import position_code

#: Couplings of a flow, length of the position code and clamp of the couplings, as published.
BLOCKS, CONDITION, CLAMP = 8, 128, 1.9
#: Likelihoods of a level below exp of this, in units of the best good location's, count as this.
_LOWEST = -80.0


class Cflow(Detector):
    """CFLOW-AD over one backbone: one flow for each hierarchy.

    Args:
        features: The backbone's maps.
        blocks: Couplings of each flow.
        condition: Length of the position code that the flows are conditioned on, a multiple of 4.
        clamp: Bound of the logarithm of a coupling's scale.

    Attributes:
        best: (levels,), the largest log-likelihood per channel that a good location has.
    """

    features: FeatureMaps
    best: Tensor

    def __init__(
        self, features: FeatureMaps, blocks: int = BLOCKS, condition: int = CONDITION, clamp: float = CLAMP
    ) -> None:
        super().__init__(features)
        self.input_px = features.input_px
        self.flows = nn.ModuleList(ConditionalFlow(width, condition, blocks, clamp) for width in features.channels)
        for index, size in enumerate(features.sizes_px):
            code = position_code(condition, *size).flatten(1).T.contiguous()
            self.register_buffer(f"code_{index}", code, persistent=False)
        self.register_buffer("best", torch.zeros(len(features.channels)))

    def code(self, index: int) -> Tensor:
        """Position code of the locations of one level in use, (h w, condition)."""
        return cast("Tensor", getattr(self, f"code_{index}"))

    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """As `Detector.body`: the feature maps."""
        return self.features.maps(images)

    def head(self, parts: Sequence[Tensor]) -> Inference:
        """As `Detector.head`, from the likelihoods ``p = exp(log p / C - best)`` of the levels.

        The authors sum them, enlarged, over the levels and subtract the sum from its maximum. Here the score is minus
        the logarithm of their mean: the same order of pixels and images, but without an upper end that scores of good
        and bad parts would crowd at.
        """
        likelihoods = [
            F.interpolate((found - best).clamp(_LOWEST, 0.0).exp(), self.input_px, mode="bilinear", align_corners=True)
            for found, best in zip(self.log_likelihoods(parts), self.best, strict=True)
        ]
        anomaly_map = -torch.stack(likelihoods).mean(dim=0).log()
        anomaly_map = self.inspected(anomaly_map.clamp_min(0.0))  # rounding of the interpolation
        return Inference(anomaly_map.amax(dim=(1, 2, 3)), anomaly_map)

    def level_maps(self, images: Tensor) -> list[Tensor]:
        """``-log sigmoid(log p / C)`` of each level, what the flows are trained on (F2PAD eq. 6): (B, 1, h, w)."""
        return [-F.logsigmoid(found) for found in self.log_likelihoods(self.features.maps(images))]

    def log_likelihoods(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Log p / C at the locations of each level's (B, C, h, w) feature map, (B, 1, h, w)."""
        out = []
        for index, found in enumerate(maps):
            rows = found.flatten(2).transpose(1, 2)
            code = self.code(index).expand(len(rows), -1, -1)
            values = self.per_channel(index, rows.flatten(0, 1), code.flatten(0, 1))
            out.append(values.view(len(rows), 1, *found.shape[-2:]))
        return out

    def per_channel(self, index: int, rows: Tensor, code: Tensor) -> Tensor:
        """Log p / C of feature vectors of one level.

        Args:
            index: Of the level in use.
            rows: (n, C).
            code: Position codes of their locations, (n, condition).

        Returns:
            (n,).
        """
        flow = cast("ConditionalFlow", self.flows[index])
        return flow.log_likelihood(rows, code) / flow.channels
