"""The flow's log-determinant is that of its Jacobian, and its likelihood a density."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inspector.models.coupling import ConditionalFlow, Coupling, random_rotation

CONDITION = 4


def flow(channels: int, blocks: int = 3, spread: float = 0.5) -> ConditionalFlow:
    """A flow far from its start, in float64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        built = ConditionalFlow(channels, CONDITION, blocks, clamp=1.9).double()
        with torch.no_grad():
            for coupling in built.couplings:
                assert isinstance(coupling, Coupling)
                coupling.global_scale.add_(spread * torch.randn(channels))
                coupling.global_shift.add_(spread * torch.randn(channels))
                coupling.subnet[2].weight.mul_(20 * spread)
    return built


def condition(count: int) -> Tensor:
    return torch.randn(count, CONDITION, generator=torch.Generator().manual_seed(10), dtype=torch.float64)


@pytest.mark.parametrize("channels", [2, 5, 8])
def test_log_determinant_is_that_of_the_jacobian(channels: int) -> None:
    built = flow(channels)
    points = torch.randn(4, channels, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    _, log_determinants = built(points, condition(4))
    for point, code, expected in zip(points, condition(4), log_determinants, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x, code=code: built(x[None], code[None])[0][0], point)
        assert isinstance(jacobian, Tensor)
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, expected.detach(), rtol=1e-5, atol=1e-6)
    assert float(log_determinants.detach().abs().min()) > 0.01


def test_likelihood_integrates_to_one() -> None:
    built = flow(2, blocks=2)
    side = torch.linspace(-12, 12, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        density = built.log_likelihood(grid, condition(1).expand(len(grid), -1)).exp()
    assert float(density.sum() * (side[1] - side[0]) ** 2) == pytest.approx(1.0, abs=1e-3)


def test_fresh_flow_is_nearly_a_rotation() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12)
        built = ConditionalFlow(8, CONDITION, 4, clamp=1.9)
    points = torch.randn(50, 8, generator=torch.Generator().manual_seed(13))
    with torch.no_grad():
        base, _ = built(points, condition(50).float())
        found = built.log_likelihood(points, condition(50).float())
    assert float((base.norm(dim=1) / points.norm(dim=1) - 1).abs().mean()) < 0.1
    gaussian = -0.5 * points.square().sum(dim=1) - 4 * math.log(2 * math.pi)
    assert float((found - gaussian).abs().mean()) < 0.5


def test_condition_matters() -> None:
    built = flow(6)
    points = torch.ones(2, 6, dtype=torch.float64)
    with torch.no_grad():
        first, second = built.log_likelihood(points, condition(2))
    assert abs(float(first - second)) > 1e-3


@pytest.mark.parametrize("channels", [2, 33])
def test_rotation_keeps_lengths(channels: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(14)
        first, second = random_rotation(channels), random_rotation(channels)
    torch.testing.assert_close(first @ first.T, torch.eye(channels), rtol=0, atol=1e-5)
    assert not torch.allclose(first, second)
