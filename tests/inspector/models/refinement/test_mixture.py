"""The colours of good parts: distances against their definition, the fit, and the way to tensors and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.errors import DataError
from inspector.models.refinement.mixture import Mixture, mixture_from_tensors


def some_mixture(seed: int, components: int) -> Mixture:
    rng = np.random.default_rng(seed)
    factors = rng.normal(0, 1, (components, 3, 3))
    covariances = factors @ factors.transpose(0, 2, 1) + 0.1 * np.eye(3)
    arrays = (np.full(components, 1 / components), rng.normal(0, 1, (components, 3)), covariances)
    return Mixture(*(torch.from_numpy(array) for array in arrays))


@given(st.integers(0, 1000), st.integers(1, 4))
def test_distance_is_mahalanobis_to_the_nearest_component(seed: int, components: int) -> None:
    mixture = some_mixture(seed, components)
    pixels = np.random.default_rng(seed + 1).normal(0, 2, (6, 3))
    expected, likeliest = [], []
    for pixel in pixels:
        distances, with_det = [], []
        for mean, covariance in zip(mixture.means.numpy(), mixture.covariances.numpy(), strict=True):
            distance = (pixel - mean) @ np.linalg.inv(covariance) @ (pixel - mean)
            distances.append(distance)
            with_det.append(distance + np.log(np.linalg.det(covariance)))
        expected.append(min(distances))
        likeliest.append(min(with_det))
    got = torch.from_numpy(pixels)
    assert mixture.distances(got).numpy() == pytest.approx(expected, rel=1e-6)
    assert mixture.distances(got, with_log_det=True).numpy() == pytest.approx(likeliest, rel=1e-6, abs=1e-6)


def test_gradient_agrees_with_finite_differences() -> None:
    pixels = torch.from_numpy(np.random.default_rng(2).normal(0, 1, (5, 3))).requires_grad_()
    assert torch.autograd.gradcheck(some_mixture(3, 3).distances, pixels)


def test_bad_input_is_refused() -> None:
    tensors = some_mixture(0, 2).tensors()
    with pytest.raises(DataError, match="has no means"):
        mixture_from_tensors({name: tensor for name, tensor in tensors.items() if name != "means"})
    with pytest.raises(DataError, match="don't fit"):
        mixture_from_tensors({**tensors, "means": torch.zeros(3, 3)})
