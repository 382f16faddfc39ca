"""A planted defect is found to the pixel, and the part below it is recovered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.refinement.fit import fit_prior
from inspector.models.refinement.canvas import Canvas, to_image, to_pixels
from inspector.models.refinement.detector import FeatureLoss, map_function
from inspector.models.refinement.optimise import Refinement, _best_start, difference_mask, refine
from inspector.models.refinement.prior import Prior
from inspector.models.refinement.settings import Settings
from inspector.models.refinement.start import telea
from inspector.recipe.manifest import Normalisation

from ....toy_detector import SIDE, Maps, ToyDetector, good_image, good_pixels

SETTINGS = Settings(iterations=150, reestimation=40)


def planted(channels: int = 3) -> tuple[torch.Tensor, np.ndarray]:
    pixels = good_pixels(7, channels)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    truth = (np.hypot(rows - 20, (columns - 26) * 0.7) < 6) | ((abs(rows - 30) < 2) & (abs(columns - 26) < 8))
    pixels[truth] = (200, 30, 60) if channels == 3 else 230
    return to_image(pixels, Normalisation()), truth


def iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.fixture(scope="module")
def found(toy: ToyDetector, toy_prior: Prior) -> Refinement:
    return refine(toy, planted()[0], toy_prior, settings=SETTINGS)


def test_mask_of_a_planted_defect_is_recovered(found: Refinement) -> None:
    _, truth = planted()
    assert iou(found.coarse, truth) < 0.5
    assert iou(found.mask, truth) > 0.9
    assert found.losses[-1] < 0.6 * found.losses[0]


def test_part_below_the_defect_is_recovered(found: Refinement) -> None:
    image, truth = planted()
    clean = good_image(7)
    inside = torch.from_numpy(truth)
    before = (image - clean)[0][:, inside].abs().mean()
    after = (found.recovered - clean)[0][:, inside].abs().mean()
    assert after < 0.25 * before


def test_nothing_changes_outside_of_domain_and_mask(found: Refinement) -> None:
    image, _ = planted()
    domain, mask = torch.from_numpy(found.domain), torch.from_numpy(found.mask)
    assert torch.equal(found.optimised[0][:, ~domain], image[0][:, ~domain])
    assert torch.equal(found.recovered[0][:, ~mask], image[0][:, ~mask])
    assert not (found.coarse & ~found.domain).any()


def test_sparsity_is_what_makes_the_mask_small(toy: ToyDetector, toy_prior: Prior, found: Refinement) -> None:
    image, truth = planted()
    without = refine(toy, image, toy_prior, settings=replace(SETTINGS, sparsity=0.0))
    surplus = [int((mask & ~truth).sum()) for mask in (without.mask, found.mask)]
    assert surplus[0] > 3 * surplus[1]
    assert iou(without.mask, truth) < iou(found.mask, truth)


def test_optimisation_is_better_than_its_start(found: Refinement) -> None:
    image, truth = planted()
    assert iou(difference_mask(image, found.start, SETTINGS), truth) < iou(found.mask, truth) - 0.1


def test_grey_parts_stay_grey(toy: ToyDetector) -> None:
    detector = ToyDetector().fit([good_image(seed, 1) for seed in range(20)])
    prior = fit_prior(detector, [good_image(seed, 1) for seed in range(100, 110)])
    image, truth = planted(channels=1)
    found = refine(detector, image, prior, grey=True, settings=SETTINGS)
    assert iou(found.mask, truth) > 0.8
    pixels = to_pixels(found.recovered, Normalisation(), grey=False)
    assert np.ptp(pixels, axis=2).max() == 0


def test_good_part_is_left_alone(toy: ToyDetector, toy_prior: Prior) -> None:
    prior = replace(toy_prior, coarse=torch.tensor(1e9))
    image = good_image(8)
    found = refine(toy, image, prior)
    assert not found.mask.any()
    assert torch.equal(found.recovered, image)
    assert (found.iterations, found.losses) == (0, ())


def test_inpainter_can_be_exchanged(toy: ToyDetector, toy_prior: Prior) -> None:
    seen = []

    def black(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        seen.append(mask.copy())
        return np.where(mask[..., None], 0, pixels).astype(np.uint8)

    found = refine(toy, planted()[0], toy_prior, settings=Settings(iterations=1), inpainters=[black])
    assert np.array_equal(seen[0], found.domain)
    assert to_pixels(found.start, Normalisation(), grey=False)[found.domain].max() == 0


def test_the_start_that_looks_most_normal_is_taken(toy: ToyDetector, toy_prior: Prior) -> None:
    image, _ = planted()

    def undamaged(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return good_pixels(7)

    def unchanged(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return pixels

    for inpainters in ([undamaged, unchanged], [unchanged, undamaged]):
        found = refine(toy, image, toy_prior, settings=Settings(iterations=1), inpainters=inpainters)
        assert torch.allclose(found.start, good_image(7), atol=1e-5)


def test_optimisation_stops_when_the_loss_does(toy: ToyDetector, toy_prior: Prior) -> None:
    image, _ = planted()
    eager = Settings(iterations=200, reestimation=0, patience=(20, 5), tolerance=1.0)
    assert len(refine(toy, image, toy_prior, settings=eager).losses) == 20
    assert len(refine(toy, image, toy_prior, settings=replace(eager, patience=(500, 5), iterations=30)).losses) == 30


def test_pixels_stay_in_the_range_of_good_parts(toy: ToyDetector, toy_prior: Prior, found: Refinement) -> None:
    inside = found.optimised[0][:, torch.from_numpy(found.domain)]
    assert (inside >= toy_prior.low[:, None] - 1e-5).all()
    assert (inside <= toy_prior.high[:, None] + 1e-5).all()


def test_gradient_of_the_features_can_be_clipped(toy: ToyDetector, toy_prior: Prior) -> None:
    image, _ = planted()
    alone = Settings(iterations=100, reestimation=0, mixture=0.0, smoothness=0.0)
    plain, clipped = (refine(toy, image, toy_prior, settings=replace(alone, clip=clip)) for clip in (None, 1e-9))
    # Without a gradient of the features nothing keeps the pixels from going back to the defect.
    assert (image - clipped.optimised).abs().sum() < 0.8 * (image - plain.optimised).abs().sum()


class Rescaled:
    """A detector that says the same in other units, three times over."""

    def __init__(self, toy: ToyDetector, factor: float) -> None:
        self._toy, self._factor = toy, factor

    def __call__(self, images: torch.Tensor) -> Maps:
        return Maps(self._toy(images).anomaly_maps * self._factor)

    def level_maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [scores * self._factor for scores in self._toy.level_maps(images)] * 3


def test_units_and_number_of_levels_change_nothing(toy: ToyDetector, toy_prior: Prior, found: Refinement) -> None:
    other = Rescaled(toy, 1e3)
    prior = fit_prior(other, [good_image(seed) for seed in range(100, 120)], components=3)
    image, _ = planted()
    again = refine(other, image, prior, settings=SETTINGS)
    assert (again.mask != found.mask).sum() <= 2
    assert again.losses[0] == pytest.approx(found.losses[0], rel=1e-3)


def test_the_unit_of_the_features_is_their_pull_at_the_good_pixels_of_the_image(
    toy: ToyDetector, toy_prior: Prior
) -> None:
    """PaDiM's squared distances differ by a factor of 100 between good parts; one unit for all would not do."""
    image, _ = planted()
    domain = np.zeros((SIDE, SIDE), np.bool_)
    domain[8:36, 14:38] = True
    canvas = Canvas(Normalisation(), grey=False)
    start, unit = _best_start(toy, image, domain, replace(toy_prior, pull=torch.tensor(0.0)), SETTINGS, canvas, [telea])
    loss = FeatureLoss(map_function(toy), toy_prior.units, toy_prior.quantiles)
    start.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(start), start)
    assert unit == pytest.approx(float(gradient.norm(dim=1)[0][torch.from_numpy(~domain)].mean()), rel=1e-4)
    of_good_parts = replace(toy_prior, pull=torch.tensor(1e6))
    assert _best_start(toy, image, domain, of_good_parts, SETTINGS, canvas, [telea])[1] == 1e6


def test_gradients_are_shared_in_the_first_iterations_only(toy: ToyDetector, toy_prior: Prior) -> None:
    image, _ = planted()
    short = Settings(iterations=12, reestimation=0)
    always, partly, never, alone = (
        refine(toy, image, toy_prior, settings=replace(short, **changes))  # type: ignore[arg-type]
        for changes in ({"shared": 12}, {"shared": 6}, {"shared": 0}, {"window_px": 1})
    )
    assert torch.allclose(never.optimised, alone.optimised, atol=1e-5)
    assert partly.losses[:7] == always.losses[:7]
    assert partly.losses[7:] != always.losses[7:]
    assert partly.losses[1] != never.losses[1]
