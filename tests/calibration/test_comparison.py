"""Several detectors on several categories: figures are those of a plain evaluation, what fails stays in its cell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from safetensors.torch import save_file

from calibration.comparison import Comparison, Failure, chosen_categories, compare, recipe_folder
from calibration.datasets import open_dataset
from calibration.evaluate import evaluate_recipe
from calibration.plan import Plan
from inspector.domain.errors import DataError
from inspector.recipe.store import load_recipe


def test_figures_are_those_of_an_evaluation(compared: Any, record: Any) -> None:
    comparison: Comparison = compared.comparison
    assert [len(comparison.results(detector)) for detector in comparison.detectors] == [2, 2, 0]
    for category in comparison.categories[:2]:
        for detector in ("mb-pfm", "padim"):
            result = category.result(detector)
            assert result is not None
            plain = evaluate_recipe(load_recipe(result.recipe), category.root, reporter=record)
            assert replace(result.figures, milliseconds=0.0) == replace(plain, milliseconds=0.0)
            assert result.setting.detector == detector
            assert (result.setting.target is None) == (detector == "padim")
            assert result.roc is not None
            assert result.roc.area() == pytest.approx(plain.image_auroc, abs=1e-9)
            assert result.pro is not None
            assert result.pro.area(0.3) == pytest.approx(plain.aupro, abs=0.003)  # thinned
            assert result.pixels is not None
            assert 0.0 <= result.pixels.aupimo <= 1.0
            assert result.median_ms > 0


def test_mean_is_over_the_categories_that_have_the_figure(compared: Any) -> None:
    comparison: Comparison = compared.comparison
    values = [result.figures.aupro for result in comparison.results("padim")]
    assert comparison.mean("padim", "aupro") == (np.mean(values), 2)
    assert comparison.mean("pefm", "aupro")[1] == 0
    with pytest.raises(ValueError, match="unknown metric"):
        comparison.mean("padim", "f1")


def test_failures_stay_in_their_cells_and_decide_the_exit_code(compared: Any) -> None:
    comparison: Comparison = compared.comparison
    cells = {(category, detector): failure for category, detector, failure in comparison.failures()}
    names = [category.name for category in comparison.categories]
    assert set(cells) == {*((name, "pefm") for name in names), ("broken", "mb-pfm"), ("broken", "padim")}
    assert cells["stripes", "pefm"] == Failure("no plan for <pefm>", 65)
    assert "holds no images" in cells["broken", "padim"].error
    assert comparison.exit_code == 65
    assert Comparison(("padim",), ()).exit_code == 0


def again(compared: Any, record: Any, plan: Callable[[Path, str], Plan], data: Path | None = None) -> Any:
    made = compare([data or compared.folders[0]], ["padim"], plan, compared.work, lambda: nullcontext(record))
    result = made.categories[0].result("padim")
    assert result is not None, made.failures()
    return result


def test_same_plan_takes_the_recipe_from_the_former_run(compared: Any, record: Any) -> None:
    former = compared.comparison.categories[0].result("padim")
    result = again(compared, record, compared.plan)
    assert (former.reused, result.reused) == (False, True)
    assert (result.recipe, result.training_s) == (former.recipe, former.training_s)
    assert np.array_equal(result.scores, former.scores)
    assert not record.trainings


def test_other_plan_or_other_images_make_another_recipe(compared: Any, record: Any, tmp_path: Path) -> None:
    former = compared.comparison.categories[0].result("padim")
    other = again(compared, record, lambda data, detector: replace(compared.plan(data, detector), seed=2))
    assert not other.reused
    assert other.recipe != former.recipe
    data = tmp_path / "stripes"
    shutil.copytree(compared.folders[0], data)
    assert not again(compared, record, compared.plan, data).reused
    os.utime(data / "train" / "good" / "000.png", (1, 1))
    assert not again(compared, record, compared.plan, data).reused


def test_what_has_no_effect_does_not_change_the_folder(compared: Any, tmp_path: Path) -> None:
    dataset = open_dataset(compared.folders[0])
    plan = compared.plan(dataset.root, "padim").resolved()
    folder = recipe_folder(tmp_path, plan, dataset)
    assert recipe_folder(tmp_path, replace(plan, threads=2, recipe=tmp_path, version=7), dataset) == folder
    assert recipe_folder(tmp_path, replace(plan, folds=3), dataset) != folder
    odd = replace(dataset, name="../a b/<c>")
    assert recipe_folder(tmp_path, plan, odd).parent == tmp_path / "a_b__c_"


def test_other_weights_under_the_same_name_are_another_folder(compared: Any, tmp_path: Path) -> None:
    """Recipes of the former weights were once taken for those of the new ones."""
    dataset = open_dataset(compared.folders[0])
    plan = compared.plan(dataset.root, "padim")
    plan = replace(plan, source="squeezenet1_1", weights="imagenet", weights_dir=tmp_path).resolved()
    folders = []
    for _ in range(2):
        for name in plan.backbones:
            model = torchvision.models.get_model(name, weights=None)  # random ones
            save_file(model.state_dict(), tmp_path / f"{name}-0123.safetensors")
        folders.append(recipe_folder(tmp_path, plan, dataset))
    assert folders[0] != folders[1]


def test_damaged_recipe_is_told_in_its_cell(compared: Any, record: Any, tmp_path: Path) -> None:
    work = tmp_path / "work"
    former = compared.comparison.categories[0].result("padim").recipe
    shutil.copytree(former, work / former.relative_to(compared.work))
    with (work / former.relative_to(compared.work) / "recipe.yaml").open("a") as manifest:
        manifest.write("# edited\n")
    made = compare(compared.folders[:1], ["padim"], compared.plan, work, lambda: nullcontext(record))
    ((_, _, failure),) = made.failures()
    assert "is not what the calibration wrote" in failure.error


def test_category_without_test_images_is_told_before_any_training(compared: Any, record: Any, tmp_path: Path) -> None:
    data = compared.folders[0] / "train" / "good"
    made = compare([data], ["padim"], compared.plan, tmp_path / "work", lambda: nullcontext(record))
    ((_, _, failure),) = made.failures()
    assert "has no test images" in failure.error
    assert not (tmp_path / "work").exists()


def test_one_class_of_test_images_gives_no_curves(compared: Any, record: Any, tmp_path: Path) -> None:
    data = tmp_path / "stripes"
    shutil.copytree(compared.folders[0], data)
    for name in ("hole", "scratch"):
        shutil.rmtree(data / "test" / name)
    result = again(compared, record, compared.plan, data)
    assert (result.roc, result.pro, result.pixels) == (None, None, None)


def test_categories_are_chosen_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / name / "train" / "good").mkdir(parents=True)
    assert [folder.name for folder in chosen_categories(tmp_path)] == ["a", "b", "c"]
    assert chosen_categories(tmp_path, ["c", "a", "c"]) == (tmp_path / "c", tmp_path / "a")
    assert chosen_categories(tmp_path / "a") == (tmp_path / "a",)
    with pytest.raises(DataError, match="has no category d, e; it has a, b, c"):
        chosen_categories(tmp_path, ["d", "a", "e"])
    with pytest.raises(DataError, match="is not a folder"):
        chosen_categories(tmp_path / "absent")
