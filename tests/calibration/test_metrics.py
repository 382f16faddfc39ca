"""The metrics against values worked out by hand, brute force and scikit-learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from calibration.curves import Curve
from calibration.metrics import (
    PixelRanking,
    aupimo,
    aupro,
    confusion,
    f1_max,
    image_auroc,
    overlap_at,
    pixel_auroc,
    roc_curve,
)
from inspector.domain.errors import DataError
from inspector.domain.threshold import Threshold

Maps = list[NDArray[np.float32]]
Masks = list[NDArray[np.bool_]]


def golden() -> tuple[Maps, Masks]:
    """Three 4 x 4 images: a diagonal region, a ring round a hole, and a good image."""
    diagonal = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.bool_)
    ring = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]], dtype=np.bool_)
    first = np.array([[9, 1, 1, 1], [1, 7, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=np.float32)
    second = np.array([[1, 1, 1, 1], [1, 9, 9, 5], [1, 9, 8, 5], [1, 9, 5, 5]], dtype=np.float32)
    good = np.array([[7, 5, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=np.float32)
    return [first, second, good], [diagonal, ring, np.zeros((4, 4), dtype=np.bool_)]


# Two regions: the diagonal is one region of 2 px (8-connected), the ring one of 8 px (the hole is not in it).
# Background: 14 + 8 + 16 = 38 px. Distinct values, descending, with what they add:
#   9: diagonal 1, ring 4                  -> PRO = (1/2 + 4/8) / 2 = 1/2,  FPR = 0
#   8: background 1 (the hole)             -> PRO = 1/2,                    FPR = 1/38
#   7: diagonal 1, background 1 (a tie)    -> PRO = (1 + 4/8) / 2 = 3/4,    FPR = 2/38
#   5: ring 4, background 1 (a tie)        -> PRO = 1,                      FPR = 3/38
#   1: background 35                       -> PRO = 1,                      FPR = 1


def test_golden_pro_curve() -> None:
    curve = PixelRanking(*golden()).pro()
    assert curve.x == pytest.approx([0, 0, 1 / 38, 2 / 38, 3 / 38, 1])
    assert curve.y == pytest.approx([0, 1 / 2, 1 / 2, 3 / 4, 1, 1])


def test_golden_aupro() -> None:
    # Trapezoids: (1/2 + 5/8 + 7/8) / 38 = 2/38 up to FPR 3/38, and then 1 up to 0.3.
    assert aupro(*golden()) == pytest.approx((2 / 38 + 0.3 - 3 / 38) / 0.3, rel=1e-12)


def test_golden_aupro_ends_between_two_points() -> None:
    # FPR 0.04 lies between 1/38 and 2/38: PRO there is 1/2 + (0.04 * 38 - 1) / 4 = 0.63.
    expected = ((1 / 2) / 38 + (0.04 - 1 / 38) * (0.5 + 0.63) / 2) / 0.04
    assert aupro(*golden(), limit=0.04) == pytest.approx(expected, rel=1e-12)


def test_golden_pixel_auroc() -> None:
    # Pairs of 10 defective and 38 background pixels: 5 nines beat all 38; the diagonal's 7 beats 36 and ties
    # one; the ring's 4 fives beat 35 and tie one each.
    pairs = 5 * 38 + (36 + 0.5) + 4 * (35 + 0.5)
    assert pixel_auroc(*golden()) == pytest.approx(pairs / 380, rel=1e-12)


def test_golden_f1_max_and_overlap_at_its_threshold() -> None:
    maps, masks = golden()
    best = PixelRanking(maps, masks).f1_max()
    # At 5 and above: 10 of 10 found, 3 false: F1 = 20/23. Everything above 1 is flagged.
    assert best.value == pytest.approx(20 / 23)
    assert best.threshold == 1.0
    overlap = overlap_at(maps, masks, best.threshold)
    assert overlap.pooled_dice == pytest.approx(20 / 23)
    assert overlap.pooled_iou == pytest.approx(10 / 13)
    # Of the defective images the first is met exactly, the second has its hole flagged.
    assert overlap.mean_iou == pytest.approx((1 + 8 / 9) / 2)
    assert overlap.mean_dice == pytest.approx((1 + 16 / 17) / 2)


def test_golden_aupimo() -> None:
    # The good image has 16 px: one 7, one 5, fourteen 1. Rates in [1/32, 1/16) afford thresholds above 7,
    # in [1/16, 1/8) above 5, in [1/8, 1/4] above 1.
    maps, masks = golden()
    mean, each = aupimo(maps, masks, limits=(1 / 32, 1 / 4))
    assert each == pytest.approx([(1 / 2 + 2 / 2 + 2 / 2) / 3, (4 / 8 + 4 / 8 + 8 / 8) / 3])
    assert mean == pytest.approx((5 / 6 + 2 / 3) / 2)


def test_ranking_counts_regions_and_pixels() -> None:
    ranking = PixelRanking(*golden())
    assert (ranking.regions, ranking.defective, ranking.background) == (2, 10, 38)


def test_good_image_weighs_in_the_false_positive_rate() -> None:
    maps, masks = golden()
    maps[2][:] = 10.0  # the good image outshines every defect
    assert aupro(maps, masks) == 0.0
    assert aupro(maps[:2], masks[:2]) > 0.9


def test_ring_with_a_hole_never_exceeds_one() -> None:
    _, masks = golden()
    perfect = [mask.astype(np.float32) for mask in masks]
    assert aupro(perfect, masks) == pytest.approx(1.0, abs=1e-12)
    assert PixelRanking(perfect, masks).pro().y.max() == 1.0


def test_constant_maps_are_worth_nothing() -> None:
    _, masks = golden()
    constant = [np.full((4, 4), 3.0, dtype=np.float32) for _ in masks]
    assert pixel_auroc(constant, masks) == 0.5
    # One diagonal from (0, 0) to (1, 1), interpolated at 0.3: area 0.3^2 / 2, divided by 0.3.
    assert aupro(constant, masks) == pytest.approx(0.15)
    assert aupimo(constant, masks)[0] == 0.0


def random_case(seed: int, levels: int) -> tuple[Maps, Masks]:
    generator = np.random.default_rng(seed)
    maps, masks = [], []
    for number in range(5):
        shape = (int(generator.integers(5, 14)), int(generator.integers(5, 14)))
        mask = generator.random(shape) < (0.0 if number == 4 else 0.2)
        noise = generator.integers(0, levels, shape) / 4
        maps.append((noise + mask * generator.integers(0, 3)).astype(np.float32))
        masks.append(mask)
    return maps, masks


def flood_regions(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """8-connected regions by flood fill."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    regions = []
    while left:
        region, border = [], [left.pop()]
        while border:
            row, column = border.pop()
            region.append((row, column))
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            border.extend(near)
        regions.append(region)
    return regions


def brute_force_aupro(maps: Maps, masks: Masks, limit: float) -> float:
    """AU-PRO by its definition: a loop over all thresholds, regions and images."""
    regions = [flood_regions(mask) for mask in masks]
    points = [(0.0, 0.0)]
    for threshold in sorted({float(value) for array in maps for value in array.flat}, reverse=True):
        overlaps, false, background = [], 0, 0
        for anomaly_map, mask, of_image in zip(maps, masks, regions, strict=True):
            flagged = anomaly_map >= threshold
            overlaps += [sum(bool(flagged[px]) for px in region) / len(region) for region in of_image]
            false += int(np.sum(flagged & ~mask))
            background += int(np.sum(~mask))
        points.append((false / background, sum(overlaps) / len(overlaps)))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 >= limit or x0 == x1:
            continue
        end = min(x1, limit)
        area += (end - x0) * (y0 + (y0 + (y1 - y0) * (end - x0) / (x1 - x0))) / 2
    return area / limit


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), levels=st.integers(2, 60), limit=st.sampled_from([0.05, 0.3, 1.0]))
def test_aupro_agrees_with_brute_force(seed: int, levels: int, limit: float) -> None:
    maps, masks = random_case(seed, levels)
    assert aupro(maps, masks, limit) == pytest.approx(brute_force_aupro(maps, masks, limit), abs=1e-9)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), levels=st.integers(2, 60))
def test_pixel_metrics_agree_with_scikit_learn(seed: int, levels: int) -> None:
    maps, masks = random_case(seed, levels)
    truth = np.concatenate([mask.ravel() for mask in masks])
    values = np.concatenate([array.ravel() for array in maps])
    ranking = PixelRanking(maps, masks)
    assert ranking.auroc() == pytest.approx(reference.roc_auc_score(truth, values), abs=1e-12)
    precision, recall, thresholds = reference.precision_recall_curve(truth, values)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]
    best = ranking.f1_max()
    assert best.value == pytest.approx(f1.max(), abs=1e-12)
    assert overlap_at(maps, masks, best.threshold).pooled_dice == pytest.approx(best.value, abs=1e-12)
    assert overlap_at(maps, masks, best.threshold).pooled_iou == pytest.approx(best.value / (2 - best.value))
    flagged = values > best.threshold
    assert reference.f1_score(truth, flagged) == pytest.approx(best.value, abs=1e-12)
    assert reference.jaccard_score(truth, flagged) == pytest.approx(best.value / (2 - best.value), abs=1e-12)
    assert best.threshold in thresholds or math.isinf(best.threshold)


def brute_force_aupimo(maps: Maps, masks: Masks, limits: tuple[float, float]) -> list[float]:
    """AUPIMO by a fine grid of false-positive rates, each with a search for its lowest threshold."""
    good = [array for array, mask in zip(maps, masks, strict=True) if not mask.any()]
    candidates = sorted({float(value) for array in maps for value in array.flat} | {-1.0})
    recalls = []
    grid = np.geomspace(limits[0], limits[1], 401)
    for rate in (grid[1:] + grid[:-1]) / 2:
        threshold = next(value for value in candidates if np.mean([np.mean(array > value) for array in good]) <= rate)
        recalls.append(
            [np.mean(array[mask] > threshold) for array, mask in zip(maps, masks, strict=True) if mask.any()]
        )
    return [float(value) for value in np.mean(recalls, axis=0)]


@pytest.mark.parametrize("seed", range(6))
def test_aupimo_agrees_with_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    maps, masks = random_case(seed, 30)
    # Good images of different sizes weigh the same.
    for shape in ((6, 9), (12, 12)):
        maps.append((generator.integers(0, 30, shape) / 4).astype(np.float32))
        masks.append(np.zeros(shape, dtype=np.bool_))
    limits = (0.005, 0.2)
    mean, each = aupimo(maps, masks, limits=limits)
    assert each == pytest.approx(brute_force_aupimo(maps, masks, limits), abs=0.005)
    assert mean == pytest.approx(each.mean())


def test_aupimo_below_what_the_good_images_resolve() -> None:
    # 16 good pixels can't show a rate of 1e-4: what counts is the recall above the highest good pixel.
    maps, masks = golden()
    assert aupimo(maps, masks)[1] == pytest.approx([1 / 2, 4 / 8])


def test_aupimo_leaves_out_a_bad_image_whose_mask_is_empty() -> None:
    maps, masks = golden()
    lost = np.full((4, 4), 20.0, dtype=np.float32)
    with_lost = [*maps, lost], [*masks, np.zeros((4, 4), dtype=np.bool_)]
    assert aupimo(*with_lost, labels=[1, 1, 0, 1])[0] == aupimo(maps, masks)[0]
    assert aupimo(*with_lost)[0] == 0.0
    with pytest.raises(ValueError, match="labelled good"):
        aupimo(maps, masks, labels=[1, 0, 0])
    with pytest.raises(ValueError, match="one for each"):
        aupimo(maps, masks, labels=[1, 0])


@settings(max_examples=30)
@given(
    data=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40).filter(
        lambda rows: len({bad for bad, _ in rows}) == 2
    )
)
def test_image_metrics_agree_with_their_definitions(data: list[tuple[bool, int]]) -> None:
    labels, scores = [bad for bad, _ in data], [float(score) for _, score in data]
    bads = [score for bad, score in data if bad]
    goods = [score for bad, score in data if not bad]
    wins = sum((bad > good) + (bad == good) / 2 for bad in bads for good in goods)
    assert image_auroc(labels, scores) == pytest.approx(wins / (len(bads) * len(goods)))
    assert roc_curve(labels, scores).area() == pytest.approx(wins / (len(bads) * len(goods)))
    best = f1_max(labels, scores)
    f1s = [reference.f1_score(labels, [score > limit for score in scores]) for limit in [-1.0, *scores]]
    assert best.value == pytest.approx(max(f1s))
    assert reference.f1_score(labels, [score > best.threshold for score in scores]) == pytest.approx(best.value)


def test_undefined_metrics_are_nan() -> None:
    assert math.isnan(image_auroc([1, 1], [0.1, 0.2]))
    assert math.isnan(image_auroc([0, 0], [0.1, 0.2]))
    assert math.isnan(f1_max([0, 0], [0.1, 0.2]).value)
    good = [np.ones((2, 2), dtype=np.float32)], [np.zeros((2, 2), dtype=np.bool_)]
    bad = [np.ones((2, 2), dtype=np.float32)], [np.ones((2, 2), dtype=np.bool_)]
    for case in (good, bad):
        assert math.isnan(pixel_auroc(*case))
        assert math.isnan(aupro(*case))
        assert math.isnan(aupimo(*case)[0])
    assert math.isnan(PixelRanking(*good).f1_max().value)
    assert math.isnan(overlap_at(*good, threshold=0.5).mean_iou)
    with pytest.raises(DataError, match="ROC"):
        PixelRanking(*good).roc()
    with pytest.raises(DataError, match="PRO"):
        PixelRanking(*bad).pro()
    with pytest.raises(DataError, match="good and bad"):
        roc_curve([1, 1], [0.1, 0.2])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    maps, masks = golden()
    maps[1][0, 0] = value
    with pytest.raises(DataError, match="map 1"):
        PixelRanking(maps, masks)
    with pytest.raises(DataError, match="image 1"):
        image_auroc([0, 1], [0.5, value])


def test_maps_and_masks_must_fit() -> None:
    maps, masks = golden()
    with pytest.raises(ValueError, match="map 0"):
        PixelRanking([maps[0][:2], *maps[1:]], masks)
    with pytest.raises(ValueError, match="not bool"):
        PixelRanking(maps, [mask.astype(np.uint8) for mask in masks])
    with pytest.raises(ValueError, match="not floating point"):
        PixelRanking([array.astype(np.uint8) for array in maps], masks)
    with pytest.raises(ValueError, match="shorter"):
        PixelRanking(maps, masks[:2])
    with pytest.raises(ValueError, match="no maps"):
        PixelRanking([], [])
    with pytest.raises(ValueError, match="0 for good"):
        image_auroc([0, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="don't fit"):
        image_auroc([0, 1, 1], [0.1, 0.2])


@pytest.mark.parametrize("limit", [0.0, 1.1])
def test_limit_of_aupro_is_a_rate(limit: float) -> None:
    with pytest.raises(ValueError, match="AU-PRO"):
        aupro(*golden(), limit=limit)


@pytest.mark.parametrize("limits", [(0.0, 0.1), (0.2, 0.1), (0.1, 1.5)])
def test_limits_of_aupimo_ascend(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        aupimo(*golden(), limits=limits)


def test_confusion_decides_as_the_line_does() -> None:
    threshold = Threshold(
        value=0.5,
        target=0.05,
        promise=0.049,
        confidence=0.95,
        method="tolerance_limit",
        sample_size=60,
        exceedances_allowed=0,
        exact=True,
        parts_needed=0,
    )
    labels = [0, 0, 0, 0, 1, 1, 1, 1, 1]
    scores = [0.1, 0.5, 0.6, math.nan, 0.4, 0.5, 0.7, 0.8, math.inf]
    table = confusion(labels, scores, threshold)
    assert (table.good_pass, table.good_fail, table.good_not_inspected) == (2, 1, 1)
    assert (table.bad_pass, table.bad_fail, table.bad_not_inspected) == (2, 2, 1)
    assert (table.good, table.bad) == (4, 5)
    assert table.false_reject_rate == pytest.approx(2 / 4)
    assert table.detection_rate == pytest.approx(3 / 5)
    assert table.false_reject_limit(0.95) > 0.5
    empty = confusion([], [], threshold)
    assert math.isnan(empty.false_reject_rate)
    assert math.isnan(empty.detection_rate)


def test_thinned_curve_keeps_its_ends_and_its_area() -> None:
    generator = np.random.default_rng(4)
    masks = [generator.random((64, 64)) < 0.3 for _ in range(3)]
    maps = [(generator.random((64, 64)) + 0.3 * mask).astype(np.float32) for mask in masks]
    curve = PixelRanking(maps, masks).roc()
    thin = curve.thinned(200)
    assert len(curve.x) > 5000
    assert len(thin.x) <= 200
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.all(np.diff(thin.x) >= 0)
    assert thin.area() == pytest.approx(curve.area(), abs=0.002)
    assert thin.thinned(200) is thin


def test_area_of_a_straight_line() -> None:
    line = Curve(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert line.area() == pytest.approx(0.5)
    assert line.area(0.3) == pytest.approx(0.15)


@pytest.mark.parametrize("limit", [0.3, 0.5, 1.0])
def test_beginning_of_a_curve_ends_at_its_limit(limit: float) -> None:
    curve = Curve(np.array([0.0, 0.0, 0.5, 1.0]), np.array([0.0, 0.4, 0.6, 1.0]))
    beginning = curve.up_to(limit)
    assert beginning.x[-1] == limit
    assert beginning.y[-1] == pytest.approx(np.interp(limit, curve.x, curve.y))
    assert beginning.area(limit) == pytest.approx(curve.area(limit))
