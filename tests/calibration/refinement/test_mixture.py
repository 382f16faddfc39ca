"""The colours of good parts: distances against their definition, the fit, and the way to tensors and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from calibration.refinement.mixture import Mixture, fit_mixture, mixture_from_tensors
from inspector.domain.errors import DataError


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


def test_fit_finds_the_colours_and_switches_surplus_components_off() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([[-1.0, 0.0, 1.0], [1.5, 1.0, -1.0]])
    pixels = np.concatenate([rng.normal(mean, 0.2, (3000, 3)) for mean in truth]).astype(np.float32)
    mixture = fit_mixture(pixels, components=6)
    distances = mixture.distances(torch.from_numpy(truth).float())
    assert distances.max() < 0.5
    assert mixture.distances(torch.tensor([[1.5, -1.5, 1.5]])).item() > 20
    assert float(mixture.weights.sum()) == pytest.approx(1.0)


def test_grey_pixels_have_an_inverse() -> None:
    grey = np.random.default_rng(0).normal(0, 1, (2000, 1)).astype(np.float32).repeat(3, axis=1)
    mixture = fit_mixture(grey, components=2)
    assert torch.isfinite(mixture.distances(torch.randn(10, 3))).all()


def test_same_seed_same_mixture() -> None:
    pixels = np.random.default_rng(0).normal(0, 1, (500, 3)).astype(np.float32)
    first, second = (fit_mixture(pixels, seed=4).tensors() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_survives_a_file(tmp_path: Path) -> None:
    mixture = fit_mixture(np.random.default_rng(0).normal(0, 1, (500, 3)).astype(np.float32))
    save_file(mixture.tensors(), tmp_path / "mixture.safetensors")
    back = mixture_from_tensors(load_file(tmp_path / "mixture.safetensors"))
    pixels = torch.randn(20, 3)
    assert torch.equal(back.distances(pixels), mixture.distances(pixels))


def test_bad_input_is_refused() -> None:
    tensors = some_mixture(0, 2).tensors()
    with pytest.raises(DataError, match="has no means"):
        mixture_from_tensors({name: tensor for name, tensor in tensors.items() if name != "means"})
    with pytest.raises(DataError, match="don't fit"):
        mixture_from_tensors({**tensors, "means": torch.zeros(3, 3)})
    with pytest.raises(DataError, match="not 2"):
        fit_mixture(np.zeros((2, 3), np.float32), components=3)
