"""Only what is inspected can reject a part, and a wrong region or mask never comes to the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.geometry import geometry_of
from calibration.images import Survey
from calibration.plan import Plan
from calibration.train import calibrate
from inspector.config.schema import Worker
from inspector.domain.errors import DataError
from inspector.recipe.manifest import Region
from inspector.roles.engine import create_engine

QuickPlan = Callable[..., Plan]
FOUND = Survey(sizes_px=((64, 64),), channels=(1,), duplicates=())


def mask_file(folder: Path, mask: np.ndarray) -> Path:
    file = folder / "ignore.png"
    cv2.imwrite(str(file), mask.astype(np.uint8) * 255)
    return file


def corner(side: int = 64, rows: int = 16, columns: int = 24) -> np.ndarray:
    mask = np.zeros((side, side), np.bool_)
    mask[:rows, :columns] = True
    return mask


def test_an_ignored_pixel_is_ignored_at_every_scale(quick_plan: QuickPlan, tmp_path: Path) -> None:
    plan = quick_plan(ignore=mask_file(tmp_path, corner()), size_px=(32, 96))
    geometry, ignored = geometry_of(plan, FOUND)
    assert ignored is not None
    assert ignored.shape == (1, 1, 32, 96)
    assert ignored[0, 0, :8, :36].all()
    assert geometry.ignored_px == int(ignored.sum()) < 10 * 40


def test_region_and_mask_go_together(quick_plan: QuickPlan, tmp_path: Path) -> None:
    plan = quick_plan(ignore=mask_file(tmp_path, corner()), region_px=(8, 8, 32, 32), size_px=(32, 32))
    geometry, ignored = geometry_of(plan, FOUND)
    assert geometry.region_px == Region(left=8, top=8, width=32, height=32)
    assert ignored is not None
    assert ignored.sum() == 8 * 16


def test_a_mask_that_ignores_nothing_is_none(quick_plan: QuickPlan, tmp_path: Path) -> None:
    geometry, ignored = geometry_of(quick_plan(ignore=mask_file(tmp_path, corner(rows=0))), FOUND)
    assert ignored is None
    assert geometry.ignored_px == 0


@pytest.mark.parametrize(
    ("changes", "mask", "message"),
    [
        ({"region_px": (40, 0, 32, 32)}, None, "reaches out of images of 64 x 64 px"),
        ({}, corner(32), "is 32 x 32 px, the images are 64 x 64 px"),
        ({}, corner(rows=64, columns=64), "leaves nothing to inspect"),
        ({"region_px": (0, 0, 16, 16)}, corner(), "leaves nothing to inspect"),
    ],
)
def test_what_can_not_be_is_refused(
    quick_plan: QuickPlan, tmp_path: Path, changes: dict[str, Any], mask: np.ndarray | None, message: str
) -> None:
    ignore = None if mask is None else mask_file(tmp_path, mask)
    with pytest.raises(DataError, match=message):
        geometry_of(quick_plan(ignore=ignore, **changes), FOUND)


@pytest.mark.parametrize("detector", ["mb-pfm", "padim", "patchcore"])
@pytest.mark.parametrize("engine", ["pytorch", "openvino"])
def test_a_defect_in_an_ignored_place_changes_no_score(
    quick_plan: QuickPlan, category: Path, tmp_path: Path, record: Any, detector: str, engine: Any
) -> None:
    """A part that differs far away from what is inspected has the score of one that does not."""
    mask = np.ones((64, 64), np.bool_)
    mask[:, :8] = False
    options: dict[str, Any] = {"latents": (4,)}
    if detector != "mb-pfm":
        options = {"target": None, "latents": None, "schedule": None}
    recipe = calibrate(quick_plan(detector=detector, ignore=mask_file(tmp_path, mask), levels=(1,), **options), record)
    assert recipe.manifest.geometry.ignored_px == 64 * 56
    scored = create_engine(Worker(engine=engine, threads=1, max_batch=1, allow_random_weights=True), recipe)
    good = recipe.golden_frame()
    hidden, seen = good.copy(), good.copy()
    hidden[20:30, 40:60] = 0
    seen[20:30, :8] = 0
    score = scored.infer([good])[0].score
    assert score > 0
    assert scored.infer([hidden])[0].score == pytest.approx(score, rel=0.02)
    assert scored.infer([seen])[0].score > 1.2 * score


@pytest.mark.parametrize("detector", ["mb-pfm", "patchcore"])
@pytest.mark.parametrize("engine", ["pytorch", "openvino"])
def test_a_part_is_inspected_in_tiles_as_it_was_calibrated(
    quick_plan: QuickPlan, category: Path, record: Any, detector: str, engine: Any
) -> None:
    options: dict[str, Any] = {"target": None, "latents": None, "schedule": None} if detector == "patchcore" else {}
    plan = quick_plan(detector=detector, tile_px=(48, 40), overlap_px=4, **options)
    recipe = calibrate(plan, record)
    tiling = recipe.manifest.geometry.tiling
    assert tiling is not None
    assert (tiling.height_px, tiling.width_px, tiling.overlap_px) == (48, 40, 4)
    scored = create_engine(Worker(engine=engine, threads=1, max_batch=2, allow_random_weights=True), recipe)
    good = recipe.golden_frame()
    holed = good.copy()
    holed[50:62, 2:14] = 5  # in a corner that only one tile sees
    first, second = (found.score for found in scored.infer([good, holed]))
    assert first == pytest.approx(recipe.manifest.golden.score, rel=1e-4)
    assert second > 1.2 * first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tile_px": (128, 64)}, "take a larger --size"),
        ({"tile_px": (32, 32), "overlap_px": 32}, "can't overlap by 32 px"),
        ({"tile_px": (16, 32)}, "size of a tile must lie between 32 and 4096"),
        ({"tile_px": (32, 32), "overlap_px": 4, "position": "add"}, "learns what belongs at each place"),
        (
            {
                "tile_px": (32, 32),
                "overlap_px": 4,
                "detector": "padim",
                "target": None,
                "latents": None,
                "schedule": None,
            },
            "take --detector mb-pfm, pfm, b-pfm or patchcore",
        ),
    ],
)
def test_tiles_that_can_not_be_are_refused(quick_plan: QuickPlan, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        quick_plan(**changes).resolved()
