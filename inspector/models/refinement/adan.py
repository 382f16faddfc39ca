"""Adan, the optimiser of F2PAD, as a pure direction: the caller scales it and moves the pixels."""

from __future__ import annotations

import torch
from torch import Tensor


class Adan:
    """Adaptive Nesterov momentum (Xie et al., "Adan", TPAMI 2024, algorithm 1, in the convention of its code).

    ``m = b1 m + (1-b1) g``, ``v = b2 v + (1-b2) d``, ``q = b3 q + (1-b3) (g + b2 d)^2`` with d = g - the gradient
    before; the direction is ``(m / (1-b1^t) + b2 v / (1-b2^t)) / (sqrt(q / (1-b3^t)) + epsilon)``. No weight
    decay: it would pull the pixels to the mean of ImageNet. No restart.

    Args:
        betas: Decays of m, v and q; the paper's betas are one minus these.
        epsilon: Added to the denominator.
    """

    def __init__(self, betas: tuple[float, float, float] = (0.98, 0.92, 0.99), epsilon: float = 1e-8) -> None:
        self._betas = betas
        self._epsilon = epsilon
        self._steps = 0
        self._former: Tensor | None = None
        self._m = self._v = self._q = torch.zeros(())

    def direction(self, gradient: Tensor) -> Tensor:
        """The direction of ascent; move against it.

        Args:
            gradient: Any shape, the same at every call.

        Returns:
            Like `gradient`, of about unit size in each element.
        """
        first, second, third = self._betas
        change = torch.zeros_like(gradient) if self._former is None else gradient - self._former
        self._former = gradient
        self._steps += 1
        self._m = first * self._m + (1 - first) * gradient
        self._v = second * self._v + (1 - second) * change
        self._q = third * self._q + (1 - third) * (gradient + second * change).square()
        m = self._m / (1 - first**self._steps)
        v = self._v / (1 - second**self._steps)
        q = self._q / (1 - third**self._steps)
        return (m + second * v) / (q.sqrt() + self._epsilon)
