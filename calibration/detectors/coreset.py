"""Greedy coreset: so few points that every point has one of them near by."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.random_projection import SparseRandomProjection
from torch import Tensor

#: Length of the vectors that distances are formed of, as in PatchCore's code; shorter ones stay as they are.
_PROJECTED = 128


class GreedyCoreset:
    """Takes again and again the point that is farthest from all taken ones (PatchCore paper, eq. 5, algorithm 1).

    Args:
        points: (n, k), projected or not.
        first: Index of the point to begin with.

    Attributes:
        chosen: Indices of the points taken so far, in order.
    """

    def __init__(self, points: Tensor, first: int) -> None:
        self._points = points
        self._norms = points.square().sum(dim=1)
        self._nearest = torch.full_like(self._norms, torch.inf)
        self.chosen: list[int] = []
        self._take(first)

    def step(self) -> None:
        """Takes one more point."""
        self._take(int(self._nearest.argmax()))

    def _take(self, index: int) -> None:
        point = self._points[index]
        squared = torch.addmv(self._norms + self._norms[index], self._points, point, alpha=-2.0)
        torch.minimum(self._nearest, squared, out=self._nearest)
        self._nearest[index] = -torch.inf  # never again, however many copies of it there are
        self.chosen.append(index)

    def state(self) -> dict[str, Tensor]:
        """What `resume` needs."""
        return {"chosen": torch.tensor(self.chosen), "nearest": self._nearest.cpu().clone()}

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Goes on where the coreset of `state` stood."""
        self.chosen = tensors["chosen"].tolist()
        self._nearest = tensors["nearest"].to(self._nearest)


def sparse_projection(channels: int, seed: int) -> Tensor:
    """A sparse random matrix that about keeps distances (Li, Hastie and Church, KDD 2006).

    Args:
        channels: Length of the vectors.
        seed: Of the matrix.

    Returns:
        float32, (channels, 128); the identity for vectors that are not longer.
    """
    if channels <= _PROJECTED:
        return torch.eye(channels)
    projection = SparseRandomProjection(_PROJECTED, random_state=seed)
    projection.fit(np.zeros((1, channels), np.float32))
    return torch.from_numpy(projection.components_.toarray().T.astype(np.float32))
