"""A conditional normalising flow of affine couplings, with exact log-determinants.

Sources: Dinh et al., "Density estimation using Real NVP" (ICLR 2017), for the coupling; Ardizzone et al., "Guided
Image Generation with Conditional Invertible Neural Networks" (2019), for the condition, the soft clamp, the global
scale and the fixed rotation between two couplings. The numbers are those that CFLOW-AD is published with.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: What the sub-network's outputs are multiplied with, so that a fresh coupling is close to the identity.
_OUTPUT_SCALE = 0.1


class Coupling(nn.Module):
    """One half of the vector scales and shifts the other; then all of it is scaled, shifted and rotated.

    Args:
        channels: Length of the vectors, C.
        condition: Length of the condition.
        clamp: Bound of the logarithm of the coupling's scale.
    """

    rotation: Tensor

    def __init__(self, channels: int, condition: int, clamp: float) -> None:
        super().__init__()
        self.halves = channels - channels // 2, channels // 2
        self.clamp = clamp
        entering = self.halves[0] + condition
        self.subnet = nn.Sequential(
            nn.Linear(entering, 2 * entering), nn.ReLU(), nn.Linear(2 * entering, 2 * self.halves[1])
        )
        self.global_scale = nn.Parameter(torch.full((channels,), 2.0 * math.log(math.expm1(5.0))))
        self.global_shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("rotation", random_rotation(channels))

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C) vectors under (n, condition), to vectors and the logarithm of the Jacobian's determinant, (n,)."""
        passive, active = torch.split(x, list(self.halves), dim=1)
        outputs = _OUTPUT_SCALE * self.subnet(torch.cat([passive, condition], dim=1))
        log_scale = self.clamp * outputs[:, : self.halves[1]].tanh()
        active = active * log_scale.exp() + outputs[:, self.halves[1] :]
        scale = 0.1 * F.softplus(self.global_scale, beta=0.5)  # 1 at the start
        out = torch.cat([passive, active], dim=1) * scale + self.global_shift
        # A rotation has determinant 1 or -1, so it adds nothing.
        return F.linear(out, self.rotation), log_scale.sum(dim=1) + scale.log().sum()


class ConditionalFlow(nn.Module):
    """Couplings in a row: a likelihood of feature vectors, given a condition.

    Args:
        channels: Length of the vectors, C, at least 2.
        condition: Length of the condition.
        blocks: Couplings.
        clamp: Bound of the logarithm of a coupling's scale.
    """

    def __init__(self, channels: int, condition: int, blocks: int, clamp: float) -> None:
        super().__init__()
        self.channels = channels
        self.couplings = nn.ModuleList(Coupling(channels, condition, clamp) for _ in range(blocks))

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The base variable u, (n, C), and log |det J|, (n,)."""
        log_determinant = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, change = coupling(x, condition)
            log_determinant = log_determinant + change
        return x, log_determinant

    def log_likelihood(self, x: Tensor, condition: Tensor) -> Tensor:
        """Log p(x | condition) = log N(u; 0, I) + log |det J|, (n,)."""
        base, log_determinant = self(x, condition)
        gaussian = -0.5 * base.square().sum(dim=1) - 0.5 * self.channels * math.log(2.0 * math.pi)
        return cast("Tensor", gaussian + log_determinant)


def random_rotation(channels: int) -> Tensor:
    """A random orthogonal matrix, (C, C), uniform over all of them, from torch's generator."""
    orthogonal, triangular = torch.linalg.qr(torch.randn(channels, channels, dtype=torch.float64))
    return cast("Tensor", (orthogonal * triangular.diagonal().sign()).float())
