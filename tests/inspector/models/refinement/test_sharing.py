"""Gradient sharing is a normalised bilateral filter of the gradient."""

from __future__ import annotations

import math

import pytest
import torch

from inspector.models.refinement.sharing import share, sharing_weights


def written_out(gradient: torch.Tensor, image: torch.Tensor, window: int, spatial: float, tonal: float) -> torch.Tensor:
    height, width = image.shape[-2:]
    reach = window // 2
    result = torch.zeros_like(gradient)
    for i in range(height):
        for j in range(width):
            weights, total = 0.0, torch.zeros(gradient.shape[1], dtype=gradient.dtype)
            for k in range(max(0, i - reach), min(height, i + reach + 1)):
                for m in range(max(0, j - reach), min(width, j + reach + 1)):
                    tone = float((image[0, :, i, j] - image[0, :, k, m]).square().sum())
                    space = (i - k) ** 2 + (j - m) ** 2
                    weight = math.exp(-space / (2 * spatial**2) - tone / (2 * tonal**2))
                    weights += weight
                    total = total + weight * gradient[0, :, k, m]
            result[0, :, i, j] = total / weights
    return result


@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_the_sums_written_out(channels: int) -> None:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, 6, 7, generator=generator, dtype=torch.float64)
    gradient = torch.randn(1, channels, 6, 7, generator=generator, dtype=torch.float64)
    shared = share(gradient, sharing_weights(image, 5, 1.1, 0.8))
    assert torch.allclose(shared, written_out(gradient, image, 5, 1.1, 0.8), atol=1e-12)


def test_a_uniform_gradient_stays_as_it_is() -> None:
    weights = sharing_weights(torch.randn(1, 3, 5, 5), 5, 1.1, 3.0)
    assert torch.allclose(share(torch.full((1, 3, 5, 5), 2.0), weights), torch.tensor(2.0))


def test_a_window_of_one_pixel_shares_nothing() -> None:
    gradient = torch.randn(1, 3, 4, 4)
    assert torch.equal(share(gradient, sharing_weights(torch.randn(1, 3, 4, 4), 1, 1.1, 3.0)), gradient)


def test_a_stuck_pixel_follows_its_neighbours_of_the_same_colour() -> None:
    image = torch.zeros(1, 3, 1, 5)
    image[..., 3:] = 10.0
    gradient = torch.tensor([1.0, 1.0, 0.0, -9.0, -9.0]).expand(1, 3, 1, 5)
    shared = share(gradient.clone(), sharing_weights(image, 3, 1.1, 1.0))
    assert 0.2 < float(shared[0, 0, 0, 2]) < 0.5
