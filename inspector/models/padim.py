"""PaDiM: a Gaussian of the features at every location, and the Mahalanobis distance from it.

Source: Defard et al., "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization" (ICPR
Workshops 2021). Coarser hierarchies are copied to the cells of the finest one, and a random subset of all channels is
kept, as in the implementation whose numbers the literature quotes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.models.detector import Detector, Inference
from inspector.models.feature_maps import FeatureMaps, GaussianSmoothing, enlarge

#: Added to the diagonal of every covariance (epsilon of eq. 1), in squared units of the features.
EPSILON = 0.01


class Padim(Detector):
    """PaDiM over one backbone.

    Args:
        features: The backbone's maps.
        kept: Channels that are kept, d of the paper.

    Attributes:
        channels: int64, (d,), the channels that are kept.
        mean: (h w, d), mean of the features at each location.
        whitening: (h w, d, d), inverse of the lower Cholesky factor of each covariance.
    """

    features: FeatureMaps
    channels: Tensor
    mean: Tensor
    whitening: Tensor

    def __init__(self, features: FeatureMaps, kept: int) -> None:
        super().__init__(features)
        self.size_px = features.sizes_px[0]
        self.input_px = features.input_px
        self.smoothing = GaussianSmoothing()
        locations = self.size_px[0] * self.size_px[1]
        self.register_buffer("channels", torch.arange(kept))
        self.register_buffer("mean", torch.zeros(locations, kept))
        self.register_buffer("whitening", torch.zeros(locations, kept, kept))

    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """As `Detector.body`: the feature maps."""
        return self.features.maps(images)

    def head(self, parts: Sequence[Tensor]) -> Inference:
        """As `Detector.head`: the distance (eq. 2) enlarged and smoothed, and its largest value."""
        distance = self.inspected(self.distances(self.compose(parts)).sqrt())
        anomaly_map = self.inspected(self.smoothing(enlarge(distance, self.input_px)))
        return Inference(anomaly_map.amax(dim=(1, 2, 3)), anomaly_map)

    def level_maps(self, images: Tensor) -> list[Tensor]:
        """The squared distance (F2PAD eq. 7), the only level of PaDiM: (B, 1, h, w)."""
        return [self.distances(self.embed(images))]

    def embed(self, images: Tensor) -> Tensor:
        """Features of (B, 3, H, W) normalised images that the Gaussians are of, (B, d, h, w)."""
        return self.compose(self.features.maps(images))

    def compose(self, maps: Sequence[Tensor]) -> Tensor:
        """The kept channels of all hierarchies at the size of the first (section III-A), (B, d, h, w)."""
        resized = [F.interpolate(found, size=self.size_px, mode="nearest") for found in maps]
        return torch.cat(resized, dim=1).index_select(1, self.channels)

    def distances(self, embedding: Tensor) -> Tensor:
        """Squared Mahalanobis distance (eq. 2, squared).

        With the Cholesky factor L of the covariance it is ``|inv(L) (x - mean)|**2``, which can't be negative.

        Args:
            embedding: (B, d, h, w).

        Returns:
            (B, 1, h, w).
        """
        deviation = embedding.flatten(2).permute(2, 1, 0) - self.mean[:, :, None]
        squared = (self.whitening @ deviation).square().sum(dim=1)
        return squared.T.reshape(-1, 1, *self.size_px)


def whitening_of(covariance: Tensor) -> Tensor:
    """Inverse of the lower Cholesky factors of covariances (n, d, d), epsilon added to their diagonals (eq. 1)."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor = torch.linalg.cholesky(covariance + EPSILON * identity)
    inverse: Tensor = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    return inverse
