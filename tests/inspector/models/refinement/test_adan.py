"""Adan against its published update, written out once more on a toy problem."""

from __future__ import annotations

import math

import pytest
import torch

from inspector.models.refinement.adan import Adan


def published(gradients: list[float]) -> list[float]:
    """Algorithm 1 with the paper's betas (0.02, 0.08, 0.01), bias-corrected as in the official code."""
    b1, b2, b3 = 0.02, 0.08, 0.01
    m = v = n = 0.0
    directions = []
    for k, g in enumerate(gradients, start=1):
        before = gradients[k - 2] if k > 1 else g
        m = (1 - b1) * m + b1 * g
        v = (1 - b2) * v + b2 * (g - before)
        n = (1 - b3) * n + b3 * (g + (1 - b2) * (g - before)) ** 2
        m_hat, v_hat = m / (1 - (1 - b1) ** k), v / (1 - (1 - b2) ** k)
        directions.append((m_hat + (1 - b2) * v_hat) / (math.sqrt(n / (1 - (1 - b3) ** k)) + 1e-8))
    return directions


def test_directions_are_the_published_ones() -> None:
    gradients = [0.3, -1.2, 0.5, 0.5, 2.0, -0.1, 0.0, 0.7]
    adan = Adan()
    got = [float(adan.direction(torch.tensor(g, dtype=torch.float64))) for g in gradients]
    assert got == pytest.approx(published(gradients), rel=1e-12)


def test_first_direction_is_the_sign_of_the_gradient() -> None:
    assert Adan().direction(torch.tensor([4.0, -0.01])).tolist() == pytest.approx([1.0, -1.0], rel=1e-5)


def test_pixels_without_gradient_do_not_move() -> None:
    adan = Adan()
    for _ in range(3):
        assert torch.equal(adan.direction(torch.zeros(2)), torch.zeros(2))


def test_a_badly_scaled_bowl_is_minimised() -> None:
    scale = torch.tensor([1.0, 100.0])
    point, adan = torch.tensor([1.0, 1.0]), Adan()
    for _ in range(400):
        point = point - 0.02 * adan.direction(scale * point)
    assert point.abs().max() < 0.05
