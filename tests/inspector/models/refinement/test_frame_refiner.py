"""A recipe refines frames with the prior that it holds; what it finds lies where it is in the frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inspector.domain.errors import DataError, EngineError, PartError, RecipeError
from inspector.models.recipe_network import load_network, pack_weights
from inspector.models.refinement.frame_refiner import FrameRefiner, open_network, stored_prior
from inspector.models.refinement.settings import Settings
from inspector.recipe.manifest import Geometry, Region
from inspector.recipe.store import Recipe, load_recipe, write_recipe

from ....striped_parts import PATCH, SIDE_PX, damaged_part, striped_part

SHORT = Settings(iterations=50, reestimation=0)


def rewritten(recipe: Recipe, folder: Path, geometry: Geometry) -> Recipe:
    """The same recipe for another geometry of the frames."""
    import torch

    golden, scores = torch.from_numpy(recipe.golden_frame()), torch.from_numpy(recipe.calibration_scores())
    weights = pack_weights(load_network(recipe), scores, golden, stored_prior(recipe).tensors())
    return write_recipe(folder, recipe.manifest.model_copy(update={"geometry": geometry}), weights)


def test_the_patch_is_outlined_and_a_good_part_is_not(refinable_recipe: Path) -> None:
    recipe = load_recipe(refinable_recipe)
    refiner = FrameRefiner(recipe, stored_prior(recipe), SHORT)
    truth = np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    truth[PATCH] = True
    steps: list[int] = []
    found = refiner.refine(damaged_part(50), lambda iteration, loss: steps.append(iteration))
    assert (found.mask & truth).sum() / (found.mask | truth).sum() > 0.5
    assert found.area_px == found.mask.sum() == sum(outline.area_px for outline in found.outlines)
    assert steps == list(range(1, found.iterations + 1))
    record = found.as_record("a", recipe, score=2.0, decision="fail")
    assert json.loads(json.dumps(record, allow_nan=False))["defects"][0]["area_px"] == found.outlines[0].area_px
    assert record["frame_px"] == [SIDE_PX, SIDE_PX]
    assert refiner.refine(striped_part(51)).area_px < 20


def test_outlines_lie_in_the_region_of_the_frame(refinable_recipe: Path, tmp_path: Path) -> None:
    # Twice as large, in a region that doesn't begin at the corner.
    recipe = load_recipe(refinable_recipe)
    region = Region(left=30, top=10, width=2 * SIDE_PX, height=2 * SIDE_PX)
    geometry = Geometry(width_px=SIDE_PX, height_px=SIDE_PX, frame_px=(300, 280), region_px=region)
    recipe = rewritten(recipe, tmp_path / "region", geometry)
    frame = np.full((280, 300), 200, np.uint8)
    frame[10:266, 30:286] = np.repeat(np.repeat(damaged_part(50), 2, axis=0), 2, axis=1)
    found = FrameRefiner(recipe, stored_prior(recipe), SHORT).refine(frame)
    rows, columns = PATCH
    middle = found.outlines[0].top + found.outlines[0].height / 2, found.outlines[0].left + found.outlines[0].width / 2
    assert middle[0] == pytest.approx(10 + rows.start + rows.stop, abs=8)
    assert middle[1] == pytest.approx(30 + columns.start + columns.stop, abs=8)
    assert found.recovered.shape == found.mask.shape == (280, 300)
    with pytest.raises(PartError, match="300"):
        FrameRefiner(recipe, stored_prior(recipe), SHORT).refine(frame[:, 1:])


def test_what_can_not_be_refined_is_told(
    random_recipe: Path, refinable_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match="holds no prior of its good parts; calibrate again"):
        stored_prior(load_recipe(random_recipe))
    bare, named = load_recipe(random_recipe), load_recipe(refinable_recipe).manifest
    with pytest.raises(RecipeError, match="its prior can't be read"):
        stored_prior(Recipe(bare.folder, named, bare.content_hash))
    tiled = bare.manifest.model_copy(
        update={
            "geometry": Geometry.model_validate(
                {"width_px": 128, "height_px": 64, "tiling": {"width_px": 64, "height_px": 64, "overlap_px": 8}}
            )
        }
    )
    with pytest.raises(DataError, match="without --tile"):
        open_network(Recipe(bare.folder, tiled, bare.content_hash), "cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(EngineError, match="--device cpu"):
        open_network(bare, "cuda")
