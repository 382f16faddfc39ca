"""What calibration learns for the refinement, and the way to tensors and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from calibration.refinement.fit import fit_mixture, fit_prior
from inspector.domain.errors import DataError
from inspector.models.refinement.canvas import Canvas
from inspector.models.refinement.detector import FeatureLoss, map_function
from inspector.models.refinement.mixture import mixture_from_tensors
from inspector.models.refinement.penalties import total_variation
from inspector.models.refinement.prior import Prior, mean_pull, prior_from_tensors
from inspector.recipe.manifest import Normalisation

from ...toy_detector import ToyDetector, good_image

CANVAS = Canvas(Normalisation(), grey=False)


def test_units_are_the_spreads_of_good_parts(toy: ToyDetector) -> None:
    images = [good_image(seed) for seed in range(30, 36)]
    prior = fit_prior(toy, images, components=2)
    scores = torch.cat([toy.level_maps(image)[0] for image in images])
    middle, high = scores.flatten().quantile(0.5), scores.flatten().quantile(0.95)
    assert float(prior.units[0]) == pytest.approx(float(high - middle), rel=1e-4)
    assert float(prior.quantiles[0]) == pytest.approx(float(high / (high - middle)), rel=1e-4)
    maps = torch.cat([toy(image).anomaly_maps for image in images]).numpy()
    assert float(prior.coarse) == pytest.approx(float(np.quantile(maps, 0.999)), rel=1e-5)
    pixels = torch.cat(images)
    pixels.requires_grad_()
    (slope,) = torch.autograd.grad(total_variation(pixels).sum(), pixels)
    assert float(prior.variation) == pytest.approx(float(slope.norm(dim=1).mean()), rel=1e-4)
    (slope,) = torch.autograd.grad(prior.mixture.distances(pixels.transpose(0, 1).flatten(1).T).sum(), pixels)
    assert float(prior.colour) == pytest.approx(float(slope.norm(dim=1).mean()), rel=0.2)
    pulls = [mean_pull(FeatureLoss(map_function(toy), prior.units, prior.quantiles), image, CANVAS) for image in images]
    assert float(prior.pull) == pytest.approx(float(np.mean(pulls)), rel=1e-5)
    assert torch.allclose(prior.low, pixels.amin(dim=(0, 2, 3)) - 0.1)
    assert torch.allclose(prior.high, pixels.amax(dim=(0, 2, 3)) + 0.1)


def test_of_parts_that_the_detector_knows_only_the_colours_are_learnt(toy: ToyDetector) -> None:
    unseen, seen = [good_image(seed) for seed in range(30, 34)], [good_image(seed) + 1.0 for seed in range(2)]
    alone, both = (fit_prior(toy, unseen, seen=more, components=2) for more in ([], seen))
    assert torch.equal(both.units, alone.units)
    assert torch.equal(both.coarse, alone.coarse)
    assert torch.equal(both.low, alone.low)
    assert (both.high > alone.high + 0.5).all()


def test_survives_a_file_beside_other_tensors(toy_prior: Prior, tmp_path: Path) -> None:
    tensors = {"network.weight": torch.zeros(2), **toy_prior.tensors()}
    save_file(tensors, tmp_path / "weights.safetensors")
    loaded = load_file(tmp_path / "weights.safetensors")
    back = prior_from_tensors(loaded).tensors()
    assert back.keys() == toy_prior.tensors().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in toy_prior.tensors().items())


def test_missing_tensors_are_named(toy_prior: Prior) -> None:
    tensors = {name: tensor for name, tensor in toy_prior.tensors().items() if name != "prior.coarse"}
    with pytest.raises(DataError, match="lack coarse"):
        prior_from_tensors(tensors)


def test_no_images_and_senseless_scores_are_refused(toy: ToyDetector) -> None:
    with pytest.raises(DataError, match="no good images"):
        fit_prior(toy, [])
    silent = ToyDetector()
    silent.spread = torch.full_like(silent.spread, torch.inf)
    with pytest.raises(DataError, match="all equal or not finite"):
        fit_prior(silent, [good_image(0)])


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


def test_a_fitted_mixture_survives_a_file(tmp_path: Path) -> None:
    mixture = fit_mixture(np.random.default_rng(0).normal(0, 1, (500, 3)).astype(np.float32))
    save_file(mixture.tensors(), tmp_path / "mixture.safetensors")
    back = mixture_from_tensors(load_file(tmp_path / "mixture.safetensors"))
    pixels = torch.randn(20, 3)
    assert torch.equal(back.distances(pixels), mixture.distances(pixels))


def test_a_mixture_needs_pixels() -> None:
    with pytest.raises(DataError, match="not 2"):
        fit_mixture(np.zeros((2, 3), np.float32), components=3)
