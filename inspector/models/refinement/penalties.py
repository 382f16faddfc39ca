"""The regularisers of F2PAD's objective: sparsity of the anomaly, smoothness of the non-defective image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Added under the root of a norm, so that its gradient at zero is zero and not NaN.
_AT_ZERO = 1e-12
#: Added under the root of the total variation (methods of the reconstruction).
_FLAT = 1e-6


def log_penalty(anomaly: Tensor, epsilon: float) -> Tensor:
    """LOG penalty of each pixel (F2PAD eq. 8, reconstructed from the authors' published code of its reference 40).

    ``log(sqrt(r^2 + epsilon) + r)`` with r = the pixel's L2 norm over its channels, in the form ``asinh(r /
    sqrt(epsilon))``, which differs by a constant, is zero at r = 0 and does not cancel. It is
    multiplied by ``sqrt(1 + epsilon)``, so that its slope is one at r = 1 whatever epsilon is. The slope goes with
    ``1 / sqrt(r^2 + epsilon)``: steep at zero, so that small differences vanish, and flat on true defects.

    Args:
        anomaly: A, (B, C, H, W).
        epsilon: Positive, in the square of the anomaly's units.

    Returns:
        (B, H, W), not negative.

    >>> log_penalty(torch.zeros(1, 3, 1, 1), 0.01).item() < 1e-4
    True
    """
    norm = (anomaly.square().sum(dim=1) + _AT_ZERO).sqrt()
    return torch.asinh(norm / math.sqrt(epsilon)) * math.sqrt(1.0 + epsilon)


def total_variation(image: Tensor) -> Tensor:
    """Vectorial total variation at each pixel (F2PAD eq. 11, reconstructed; channels coupled by the L2 norm).

    Forward differences, zero at the last row and column; the channels share one root, so that edges of all channels
    lie at the same place.

    Args:
        image: N, (B, C, H, W).

    Returns:
        (B, H, W), at least 1e-3.
    """
    down = torch.zeros_like(image)
    right = torch.zeros_like(image)
    down[..., :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    right[..., :-1] = image[..., 1:] - image[..., :-1]
    return ((down.square() + right.square()).sum(dim=1) + _FLAT).sqrt()
