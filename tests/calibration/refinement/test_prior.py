"""What calibration learns for the refinement, and the way to tensors and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from calibration.refinement.prior import Prior, fit_prior, has_prior, prior_from_tensors
from inspector.domain.errors import DataError

from .conftest import SIDE, ToyDetector, good_image


def test_references_are_the_mean_scores_of_good_parts(toy: ToyDetector) -> None:
    images = [good_image(seed) for seed in range(30, 36)]
    prior = fit_prior(toy, images, components=2)
    scores = torch.cat([toy.level_maps(image)[0] for image in images])
    assert float(prior.references[0]) == pytest.approx(float(scores.mean()), rel=1e-5)
    assert float(prior.quantiles[0]) == pytest.approx(float((scores / scores.mean()).quantile(0.95)), rel=1e-4)
    maps = torch.cat([toy(image).anomaly_maps for image in images]).numpy()
    assert float(prior.coarse) == pytest.approx(float(np.quantile(maps, 0.999)), rel=1e-5)
    pixels = torch.cat(images)
    assert torch.allclose(prior.low, pixels.amin(dim=(0, 2, 3)) - 0.1)
    assert torch.allclose(prior.high, pixels.amax(dim=(0, 2, 3)) + 0.1)


def test_a_fixed_pose_has_references_of_its_locations(toy: ToyDetector) -> None:
    prior = fit_prior(toy, [good_image(seed) for seed in range(4)], components=2, fixed_pose=True)
    assert prior.references[0].shape == (SIDE // 4, SIDE // 4)


def test_survives_a_file_beside_other_tensors(toy_prior: Prior, tmp_path: Path) -> None:
    tensors = {"network.weight": torch.zeros(2), **toy_prior.tensors()}
    save_file(tensors, tmp_path / "weights.safetensors")
    loaded = load_file(tmp_path / "weights.safetensors")
    assert has_prior(loaded)
    assert not has_prior(["network.weight"])
    back = prior_from_tensors(loaded).tensors()
    assert back.keys() == toy_prior.tensors().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in toy_prior.tensors().items())


def test_missing_tensors_are_named(toy_prior: Prior) -> None:
    tensors = {name: tensor for name, tensor in toy_prior.tensors().items() if name != "refinement.coarse"}
    with pytest.raises(DataError, match="lack coarse"):
        prior_from_tensors(tensors)


def test_no_images_and_senseless_scores_are_refused(toy: ToyDetector) -> None:
    with pytest.raises(DataError, match="no good images"):
        fit_prior(toy, [])
    silent = ToyDetector()
    silent.spread = torch.full_like(silent.spread, torch.inf)
    with pytest.raises(DataError, match="zero or not finite"):
        fit_prior(silent, [good_image(0)])
