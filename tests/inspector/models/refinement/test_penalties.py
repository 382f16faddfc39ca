"""Each penalty against its closed form, and its gradient against finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inspector.models.refinement.penalties import log_penalty, total_variation

IMAGES = hnp.arrays(np.float64, (1, 3, 4, 5), elements=st.floats(-3, 3).map(lambda value: round(value, 3)))


@given(IMAGES, st.floats(1e-3, 1.0))
def test_log_penalty_is_the_published_logarithm_up_to_a_constant(anomaly: np.ndarray, epsilon: float) -> None:
    norm = np.linalg.norm(anomaly, axis=1)
    published = np.log(np.sqrt(norm**2 + epsilon) + norm)
    ours = log_penalty(torch.from_numpy(anomaly), epsilon).numpy() / math.sqrt(1 + epsilon) + 0.5 * math.log(epsilon)
    assert ours == pytest.approx(published, abs=1e-4)


@given(st.floats(0.01, 10.0), st.floats(1e-3, 1.0))
def test_slope_of_the_log_penalty_is_one_at_one(norm: float, epsilon: float) -> None:
    anomaly = torch.zeros(1, 3, 1, 1, dtype=torch.float64)
    anomaly[0, 1] = norm
    anomaly.requires_grad_()
    log_penalty(anomaly, epsilon).sum().backward()
    assert anomaly.grad is not None
    expected = math.sqrt((1 + epsilon) / (norm**2 + epsilon))
    assert float(anomaly.grad[0, 1, 0, 0]) == pytest.approx(expected, rel=1e-6)


def test_log_penalty_has_a_gradient_at_zero() -> None:
    anomaly = torch.zeros(1, 3, 2, 2, requires_grad=True)
    log_penalty(anomaly, 0.01).sum().backward()
    assert anomaly.grad is not None
    assert torch.equal(anomaly.grad, torch.zeros_like(anomaly))


@settings(max_examples=15)
@given(IMAGES)
def test_gradients_agree_with_finite_differences(values: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, values.shape)  # away from the kinks at equal pixels
    image = torch.from_numpy(values + noise).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: log_penalty(x, 0.01), image)
    assert torch.autograd.gradcheck(total_variation, image)


@given(IMAGES)
def test_total_variation_is_the_sum_of_the_coupled_differences(values: np.ndarray) -> None:
    image = values[0]
    expected = 0.0
    for row in range(4):
        for column in range(5):
            square = 1e-6
            for channel in range(3):
                if row < 3:
                    square += (image[channel, row + 1, column] - image[channel, row, column]) ** 2
                if column < 4:
                    square += (image[channel, row, column + 1] - image[channel, row, column]) ** 2
            expected += math.sqrt(square)
    assert float(total_variation(torch.from_numpy(values)).sum()) == pytest.approx(expected, rel=1e-9)


def test_channels_share_one_root() -> None:
    # An edge at the same place in all channels costs less than three edges at three places.
    together, apart = torch.zeros(1, 3, 1, 8), torch.zeros(1, 3, 1, 8)
    for channel in range(3):
        together[0, channel, :, 4:] = 1.0
        apart[0, channel, :, 2 + 2 * channel :] = 1.0
    assert total_variation(together).sum() < 0.7 * total_variation(apart).sum()
