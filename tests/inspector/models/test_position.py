"""The position code is the one that the PEFM authors' code computes."""

from __future__ import annotations

import math

import pytest
import torch

from inspector.models.position import position_code


@pytest.mark.parametrize(("channels", "height", "width"), [(4, 1, 1), (8, 3, 5), (64, 7, 2)])
def test_code_is_the_formula(channels: int, height: int, width: int) -> None:
    code = position_code(channels, height, width)
    assert code.dtype == torch.float32
    expected = torch.empty(channels, height, width)
    half = channels // 2
    for i in range(channels // 4):
        frequency = 10000.0 ** (-4 * i / channels)
        for y in range(height):
            for x in range(width):  # the first half of the channels goes along the columns
                expected[2 * i, y, x] = math.sin(x * frequency)
                expected[2 * i + 1, y, x] = math.cos(x * frequency)
                expected[half + 2 * i, y, x] = math.sin(y * frequency)
                expected[half + 2 * i + 1, y, x] = math.cos(y * frequency)
    torch.testing.assert_close(code, expected, rtol=0, atol=1e-6)


def test_every_place_has_a_code_of_its_own_and_the_same_norm() -> None:
    code = position_code(64, 16, 16).flatten(1)
    torch.testing.assert_close(code.norm(dim=0), torch.full((256,), math.sqrt(32)))
    distances = torch.cdist(code.T, code.T) + torch.eye(256) * 10
    assert distances.min() > 0.1


@pytest.mark.parametrize("channels", [1, 2, 6, 63])
def test_channels_must_be_divisible_by_four(channels: int) -> None:
    with pytest.raises(ValueError, match="divisible by 4"):
        position_code(channels, 2, 2)
