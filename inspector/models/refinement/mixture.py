"""The colours of good parts: a mixture of Gaussians over single pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inspector.domain.errors import DataError

_NAMES = ("weights", "means", "covariances")


@dataclass(frozen=True)
class Mixture:
    """Mixture of Gaussians over the three channels of a normalised pixel (F2PAD eq. 9).

    Attributes:
        weights: pi, (K,), positive, sum 1; kept for the record, eq. 10 does without them.
        means: mu, (K, 3).
        covariances: Sigma, (K, 3, 3).
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def distances(self, pixels: Tensor, *, with_log_det: bool = False) -> Tensor:
        """Squared Mahalanobis distance of each pixel to its nearest component (F2PAD eq. 10, reconstructed).

        Args:
            pixels: (P, 3), normalised.
            with_log_det: Adds log det Sigma inside the minimum, which then picks the likeliest component.

        Returns:
            (P,); not negative without the determinants.
        """
        factors = torch.linalg.cholesky(self.covariances.to(pixels))
        offsets = pixels[None] - self.means.to(pixels)[:, None]
        whitened = torch.linalg.solve_triangular(factors, offsets.transpose(1, 2), upper=False)
        distances = whitened.square().sum(dim=1)
        if with_log_det:
            distances = distances + 2.0 * factors.diagonal(dim1=1, dim2=2).log().sum(dim=1, keepdim=True)
        nearest: Tensor = distances.amin(dim=0)
        return nearest

    def tensors(self) -> dict[str, Tensor]:
        """What `mixture_from_tensors` reads, ready for safetensors."""
        return {name: getattr(self, name).contiguous() for name in _NAMES}


def mixture_from_tensors(tensors: Mapping[str, Tensor]) -> Mixture:
    """The mixture of `Mixture.tensors`.

    Raises:
        DataError: Tensors that are missing or don't fit each other.
    """
    missing = [name for name in _NAMES if name not in tensors]
    if missing:
        raise DataError(f"a mixture of colours has no {missing[0]}")
    mixture = Mixture(*(tensors[name] for name in _NAMES))
    count = len(mixture.weights)
    if mixture.means.shape != (count, 3) or mixture.covariances.shape != (count, 3, 3):
        raise DataError("the tensors of a mixture of colours don't fit each other")
    return mixture
