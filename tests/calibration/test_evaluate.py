"""Figures of a recipe on test images."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.evaluate import check_writable, evaluate, evaluate_recipe, write_json, write_text
from calibration.plan import Plan
from calibration.train import calibrate
from inspector.domain.errors import DataError
from inspector.recipe.store import Recipe

QuickPlan = Callable[..., Plan]


@pytest.fixture
def recipe(quick_plan: QuickPlan, record: Any) -> Recipe:
    return calibrate(quick_plan(), record)


def test_figures_of_a_category(recipe: Recipe, category: Path, tmp_path: Path, record: Any) -> None:
    figures = evaluate_recipe(recipe, category, reporter=record)
    assert figures.image_auroc > 0.9  # holes and scratches are gross
    assert figures.pixel_auroc > 0.6  # with random backbones and little training
    assert 0.0 < figures.aupro <= 1.0
    assert 0.8 < figures.f1_max <= 1.0
    assert figures.map_px == (64, 64)
    assert figures.without_mask == 4
    assert (figures.confusion.good, figures.confusion.bad) == (4, 8)
    assert set(figures.by_class) == {"good", "hole", "scratch"}
    rejected = sum(rejected for name, (_, rejected) in figures.by_class.items() if name != "good")
    assert figures.by_class["good"] == (4, figures.confusion.good_fail)
    assert rejected == figures.confusion.bad_fail
    assert record.scored[-1] == ("test", 12, 12)

    write_json(tmp_path / "new" / "figures.json", figures.as_record())
    written = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert written["image_auroc"] == figures.image_auroc
    assert written["recipe_hash"] == recipe.content_hash
    assert written["threshold"]["method"] == "extrapolated"
    assert written["rejected_by_class"]["hole"]["images"] == 4
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figures.json"]


def test_a_precision_that_this_machine_lacks_is_said_and_scores_are_in_float32(
    recipe: Recipe, category: Path, record: Any
) -> None:
    halved = replace(recipe, manifest=recipe.manifest.model_copy(update={"precision": "float16"}))
    assert np.array_equal(
        evaluate(halved, category, reporter=record).scores, evaluate(recipe, category, reporter=record).scores
    )
    (said,) = [text for text in record.said if "scores in float32" in text]
    assert "this recipe's line computes in float16, which can't be done here" in said
    assert "the line's scores may differ by" in said


def test_figures_that_can_t_be_formed_are_null(recipe: Recipe, category: Path, tmp_path: Path, record: Any) -> None:
    data = tmp_path / "data"
    shutil.copytree(category, data)
    for name in ("hole", "scratch"):
        shutil.rmtree(data / "test" / name)
    figures = evaluate_recipe(recipe, data, reporter=record)
    assert math.isnan(figures.image_auroc)
    record_ = json.loads(json.dumps(figures.as_record(), allow_nan=False))
    for key in ("image_auroc", "pixel_auroc", "aupro_0.3", "f1_max", "detection_rate"):
        assert record_[key] is None
    assert 0.0 <= record_["false_reject_rate"] <= record_["false_reject_rate_upper"] <= 1.0


def test_training_images_aren_t_needed(recipe: Recipe, category: Path, tmp_path: Path, record: Any) -> None:
    data = tmp_path / "data"
    shutil.copytree(category / "test", data / "test")
    shutil.rmtree(data / "test" / "good")
    figures = evaluate_recipe(recipe, data, reporter=record)
    assert (figures.confusion.good, figures.confusion.bad) == (0, 8)
    assert figures.as_record()["false_reject_rate_upper"] is None


def test_folder_without_test_images_is_refused(recipe: Recipe, category: Path, record: Any) -> None:
    with pytest.raises(DataError, match=r"no test images; expected folders such as test/good"):
        evaluate_recipe(recipe, category / "train" / "good", reporter=record)


def test_image_of_another_size_is_refused_by_name(
    recipe: Recipe, category: Path, tmp_path: Path, record: Any, save: Any
) -> None:
    data = tmp_path / "data"
    shutil.copytree(category, data)
    save(data / "test" / "good" / "odd.png", np.zeros((32, 64), np.uint8))
    with pytest.raises(DataError, match=r"odd\.png: frame of 64x32, the recipe was made for 64x64"):
        evaluate_recipe(recipe, data, reporter=record)


def test_unwritable_json_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match=r"folder\.json can't be written: .*--json"):
        write_json(tmp_path / "folder.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["folder.json"]


def test_json_never_holds_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_evaluation_keeps_what_its_figures_were_formed_from(recipe: Recipe, category: Path, record: Any) -> None:
    evaluation = evaluate(recipe, category, reporter=record)
    assert len(evaluation.samples) == len(evaluation.scores) == len(evaluation.maps) == len(evaluation.masks) == 12
    assert evaluation.labels.sum() == 8
    assert sum(mask is None for mask in evaluation.masks) == 4
    for score, anomaly_map in zip(evaluation.scores, evaluation.maps, strict=True):
        assert anomaly_map.shape == (64, 64)
        assert score == pytest.approx(float(anomaly_map.max()), rel=1e-5)
    maps, masks = evaluation.measured()
    assert len(maps) == len(masks) == 8
    assert evaluation.ranking is not None
    assert evaluation.ranking.aupro() == evaluation.figures.aupro
    assert evaluation.median_ms == pytest.approx(1e3 * float(np.median(evaluation.seconds)))
    assert evaluation.figures.milliseconds == pytest.approx(1e3 * float(np.mean(evaluation.seconds)))


def test_whether_a_file_can_be_written_is_known_beforehand(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "a.html", "--html")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(DataError, match=r"new can't be written: Is a directory; .*--html"):
        check_writable(tmp_path / "new", "--html")


def test_odd_file_names_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.html", "caf\udce9", "--html")  # a name that is no UTF-8, as os.fsdecode gives it
    assert (tmp_path / "a.html").read_text() == "caf?"
