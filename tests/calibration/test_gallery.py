"""Which pictures are shown, that they are what they say, and that their size is bounded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration import gallery
from calibration.datasets import open_dataset
from calibration.evaluate import evaluate
from calibration.gallery import GalleryOptions, Picture, choose, make_gallery
from calibration.images import Label, Sample
from inspector.models.refinement.settings import Settings
from inspector.recipe.store import load_recipe

Shown = dict[str, Any]


def sample(number: int, name: str) -> Sample:
    return Sample(Path(f"{number}.png"), Label.GOOD if name == "good" else Label.BAD, name)


def test_misjudged_come_first_and_the_others_by_turns_of_their_classes() -> None:
    samples = [sample(number, name) for number, name in enumerate(["good", "hole", "hole", "good", "crack", "crack"])]
    #                  good  hole  hole  good  crack crack
    ratios = np.array([[0.5, 9.0, 5.0, 0.9, 0.2, 3.0], [0.6, 9.0, 5.0, 1.2, 0.9, 3.0]])
    wrong = np.array([0, 0, 0, 1, 2, 0])
    assert choose(samples, wrong, ratios, 6) == [4, 3, 5, 0, 1, 2]
    assert choose(samples, wrong, ratios, 2) == [4, 5]  # most of the rows, but not all


def test_misjudged_fill_the_rows_that_no_other_image_takes() -> None:
    samples = [sample(number, "hole") for number in range(5)]
    wrong, ratios = np.array([1, 1, 1, 1, 0]), np.array([[0.1, 0.2, 0.3, 0.4, 2.0]])
    assert choose(samples, wrong, ratios, 10) == [0, 1, 2, 3, 4]
    assert choose(samples, wrong, ratios, 0) == []


@pytest.fixture(scope="module")
def shown(compared: Any, quiet: Any) -> Shown:
    made: Shown = {}
    for detector in ("mb-pfm", "padim"):
        recipe = load_recipe(compared.comparison.categories[0].result(detector).recipe)
        made[detector] = recipe, evaluate(recipe, compared.folders[0], reporter=quiet)
    return made


def decoded(picture: Picture) -> Any:
    image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (picture.height_px, picture.width_px, 3)
    return image[..., ::-1].astype(int)


def test_pictures_and_judgements(compared: Any, shown: Shown, record: Any) -> None:
    made = make_gallery(open_dataset(compared.folders[0]), shown, GalleryOptions(rows=12, side_px=96), record)
    assert (made.images, len(made.rows)) == (12, 12)
    assert made.misjudged == sum(bool(row.misjudged) for row in made.rows)
    order = [bool(row.misjudged) for row in made.rows]
    assert order == sorted(order, reverse=True)
    rows = {row.name: row for row in made.rows}
    evaluation = shown["padim"][1]
    for number, one in enumerate(evaluation.samples):
        row = rows[f"{one.defect_class}/{one.path.name}"]
        assert row.bad == (one.defect_class != "good")
        assert (row.truth is not None) == (one.defect_class == "hole")  # scratches have no masks
        assert row.judged["padim"].score == evaluation.scores[number]
        assert row.judged["padim"].rejected == (evaluation.scores[number] > evaluation.figures.threshold.value)
    hole = rows["hole/000.png"]
    assert hole.truth is not None
    image, truth = decoded(hole.image), decoded(hole.truth)
    assert image.shape[:2] == (96, 96)
    inside = truth[38:50, 22:38] - image[38:50, 22:38]  # 64 px drawn at 96
    assert inside[..., 0].mean() > 40  # magenta
    assert abs(inside[..., 1]).mean() < 12
    assert np.abs(truth[70:] - image[70:]).mean() < 6


def test_pictures_never_exceed_their_budget(compared: Any, shown: Shown, record: Any) -> None:
    dataset = open_dataset(compared.folders[0])
    whole = make_gallery(dataset, shown, GalleryOptions(rows=12), record)
    total = sum(row.size_bytes for row in whole.rows)
    part = make_gallery(dataset, shown, GalleryOptions(rows=12, budget_bytes=total // 2), record)
    assert 0 < len(part.rows) < 12
    assert sum(row.size_bytes for row in part.rows) <= total // 2
    assert GalleryOptions(budget_bytes=1000).shared_by(3).budget_bytes == 333


def test_refined_masks_of_so_many_defective_images(
    compared: Any, shown: Shown, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = Settings(iterations=2, reestimation=1)
    monkeypatch.setattr(gallery, "refine", partial(gallery.refine, settings=brief))
    only = {"padim": shown["padim"]}
    made = make_gallery(open_dataset(compared.folders[0]), only, GalleryOptions(rows=12, refine=2), record)
    refined = [row for row in made.rows if row.judged["padim"].refined]
    assert len(refined) == 2
    assert all(row.bad for row in refined)
    assert refined[0] is next(row for row in made.rows if row.bad)
