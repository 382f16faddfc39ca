"""PatchCore: the distance of every patch to the nearest patch of good parts.

Source: Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (CVPR 2022). The aggregation of a
neighbourhood is its mean, and hierarchies are brought together by concatenation; the authors' code pools the
flattened neighbourhoods to 1024 numbers instead, and leaves the re-weighting of eq. 7 out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from inspector.models.detector import Detector, Inference
from inspector.models.feature_maps import FeatureMaps, GaussianSmoothing, enlarge

#: Patches whose distances to the whole bank are formed at once.
_CHUNK = 1024


class PatchCore(Detector):
    """PatchCore over one backbone.

    Args:
        features: The backbone's maps.
        rows: Patches in the bank.
        neighbours: b of eq. 7, the patches of the bank that the image score is weighted by; 0 leaves it unweighted.

    Attributes:
        bank: (n, C), features of patches of good parts, M_C of the paper.
    """

    features: FeatureMaps
    bank: Tensor

    def __init__(self, features: FeatureMaps, rows: int, neighbours: int) -> None:
        super().__init__(features)
        self.size_px = features.sizes_px[0]
        self.input_px = features.input_px
        self.neighbours = neighbours
        self.smoothing = GaussianSmoothing()
        self.register_buffer("bank", torch.zeros(rows, sum(features.channels)))

    def body(self, images: Tensor) -> tuple[Tensor, ...]:
        """As `Detector.body`: the feature maps."""
        return self.features.maps(images)

    def head(self, parts: Sequence[Tensor]) -> Inference:
        """As `Detector.head`: the score from the patch that is farthest from the bank, the map from all of them."""
        patches = self.compose(parts).flatten(2).transpose(1, 2)
        distances, nearest = self.search(patches)
        cells = self.inspected(distances.view(-1, 1, *self.size_px))
        anomaly_map = self.inspected(self.smoothing(enlarge(cells, self.input_px)))
        return Inference(self.image_scores(patches, cells.flatten(1), nearest), anomaly_map)

    def embed(self, images: Tensor) -> Tensor:
        """Features of the patches of (B, 3, H, W) normalised images, (B, C, h, w)."""
        return self.compose(self.features.maps(images))

    def compose(self, maps: Sequence[Tensor]) -> Tensor:
        """Locally aware patch features (eqs 1 to 3): means over 3x3 locations, brought to the size of the first map."""
        aggregated = [F.avg_pool2d(found, kernel_size=3, stride=1, padding=1) for found in maps]
        return torch.cat([enlarge(found, self.size_px) for found in aggregated], dim=1)

    def search(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest entry of the bank (eq. 6).

        Args:
            patches: (B, h w, C).

        Returns:
            Euclidean distance, (B, h w), and index in the bank, int64, (B, h w).
        """
        rows = patches.flatten(0, 1)
        # The nearer to zero all vectors lie, the less the matrix product rounds.
        centre = self.bank.mean(dim=0)
        bank, parts = self.bank - centre, torch.split(rows - centre, _CHUNK)
        nearest = torch.cat([squared_distances(part, bank).argmin(dim=1) for part in parts])
        # It finds the entry; the distance to it is that of the difference itself.
        distances = (rows - self.bank[nearest]).norm(dim=1)
        return distances.view(patches.shape[:2]), nearest.view(patches.shape[:2])

    def image_scores(self, patches: Tensor, distances: Tensor, nearest: Tensor) -> Tensor:
        """Score of each image: the largest distance s*, weighted by how far the bank's neighbours are (eq. 7).

        Args:
            patches: (B, h w, C).
            distances: (B, h w).
            nearest: (B, h w), indices in the bank.

        Returns:
            (B,), not negative.
        """
        largest, place = distances.max(dim=1)
        if self.neighbours == 0:
            return largest
        each = torch.arange(len(patches), device=patches.device)
        farthest, entry = patches[each, place], self.bank[nearest[each, place]]
        count = min(self.neighbours, len(self.bank))
        around = self.bank[squared_distances(entry, self.bank).topk(count, largest=False).indices]  # N_b(m*)
        to_neighbours = (farthest[:, None] - around).norm(dim=2)
        # exp |p* - m*| / sum of exp |p* - m|, in logarithms because distances can be in the hundreds.
        share = torch.exp(largest - to_neighbours.logsumexp(dim=1))
        return (1.0 - share).clamp_min(0.0) * largest


def squared_distances(rows: Tensor, bank: Tensor) -> Tensor:
    """Squared Euclidean distances by one matrix product, (m, C) and (n, C) to (m, n), not negative."""
    norms = rows.square().sum(dim=1, keepdim=True) + bank.square().sum(dim=1)
    return torch.addmm(norms, rows, bank.T, alpha=-2.0).clamp_min_(0.0)
