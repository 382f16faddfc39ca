"""From good parts to a recipe, and what stops it on the way."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from calibration import train
from calibration.datasets import open_dataset
from calibration.evaluate import evaluate
from calibration.features import load_batch
from calibration.images import read_image
from calibration.plan import Plan
from calibration.refinement.files import recipe_prior
from calibration.split import split_parts
from calibration.train import calibrate
from calibration.training import Step
from inspector.config.schema import Worker
from inspector.domain.errors import DataError, EngineError, RecipeError
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.models.detector import Inference
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.engine import create_engine

QuickPlan = Callable[..., Plan]


def scores_of(recipe: Recipe, paths: list[Path]) -> torch.Tensor:
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation)
    with torch.inference_mode():
        result: Inference = load_network(recipe)(load_batch(paths, preprocess, torch.device("cpu")))
    return result.scores.double()


def test_hold_out_recipe_is_what_it_says(quick_plan: QuickPlan, category: Path, record: Any) -> None:
    plan = quick_plan()
    calibrate(plan, record)
    recipe = load_recipe(plan.recipe)
    manifest = recipe.manifest

    paths = [sample.path for sample in open_dataset(category).train]
    split = split_parts(20, folds=0, calibration_share=0.4, needed=598, seed=1)
    again = scores_of(recipe, [paths[part] for part in split.rounds[0].scored])
    assert recipe.calibration_scores() == pytest.approx(np.sort(again.numpy()), rel=1e-5)

    assert manifest.threshold.exact
    assert manifest.threshold.method == "extrapolated"
    assert manifest.threshold.sample_size == len(again) == 7
    assert manifest.threshold.parts_needed == 1659 - 20  # 40 % of 90 % of them are 598
    assert manifest.threshold.value >= float(again.max()) * (1 - 1e-5)
    assert any("EXTRAPOLATED" in line and "1639 more good parts" in line for line in record.said)

    facts = manifest.calibration
    assert (facts["good_parts"], facts["threshold_parts"], facts["folds"]) == (20, 7, 0)
    assert (facts["validation_parts"], facts["steps"], facts["schedule"]) == (2, 12, "quick")
    validation = scores_of(recipe, [paths[part] for part in split.validation])
    assert facts["validation_rejected"] == int((validation > manifest.threshold.value).sum())
    assert max(facts["residual_ratio"]) <= 1.5
    assert manifest.random_weights
    assert (manifest.geometry.frame_px, manifest.geometry.channels) == ((64, 64), 1)

    golden = Preprocess(manifest.geometry, manifest.normalisation)(torch.from_numpy(recipe.golden_frame()))
    with torch.inference_mode():
        assert float(load_network(recipe)(golden).scores[0]) == pytest.approx(manifest.golden.score, rel=1e-5)
    assert any(np.array_equal(recipe.golden_frame(), read_image(paths[part])) for part in split.validation)
    assert list(plan.recipe.parent.iterdir()) == [plan.recipe]


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no bfloat16")
def test_threshold_and_golden_score_have_the_precision_of_the_line(
    quick_plan: QuickPlan, category: Path, record: Any
) -> None:
    plan = quick_plan(precision="bfloat16")
    recipe = calibrate(plan, record)
    assert recipe.manifest.precision == "bfloat16"
    engine = create_engine(Worker(precision="bfloat16", threads=1, max_batch=1), recipe)
    paths = [sample.path for sample in open_dataset(category).train]
    split = split_parts(20, folds=0, calibration_share=0.4, needed=598, seed=1)
    scored = [paths[part] for part in split.rounds[0].scored]
    again = np.sort([engine.infer([read_image(path)])[0].score for path in scored])
    assert recipe.calibration_scores() == pytest.approx(again, rel=1e-5)
    assert not np.allclose(again, np.sort(scores_of(recipe, scored).numpy()), rtol=1e-6)
    golden = engine.infer([recipe.golden_frame()])[0].score
    assert golden == pytest.approx(recipe.manifest.golden.score, rel=1e-5)

    found = evaluate(recipe, category, reporter=record)  # once in float32, whatever the line computed in
    tested = [sample.path for sample in open_dataset(category).test]
    again = np.array([engine.infer([read_image(path)])[0].score for path in tested])
    assert found.scores == pytest.approx(again, rel=1e-5)
    assert not np.allclose(again, scores_of(recipe, tested).numpy(), rtol=1e-6)


def test_folds_score_every_part_but_the_validation_s(quick_plan: QuickPlan, record: Any) -> None:
    plan = quick_plan(folds=3)
    recipe = calibrate(plan, record)
    threshold = recipe.manifest.threshold
    assert not threshold.exact
    assert threshold.sample_size == len(recipe.calibration_scores()) == 18
    assert threshold.parts_needed == 664 - 20  # 90 % of them are 598
    assert recipe.manifest.calibration["folds"] == 3
    assert [number for _, number, _, step in record.trainings if step.done == step.total] == [1, 2, 3, 4]
    assert {trainings for _, _, trainings, _ in record.trainings} == {4}


def test_target_that_the_sample_supports_is_promised(quick_plan: QuickPlan, record: Any) -> None:
    recipe = calibrate(quick_plan(folds=2, target_rate=0.2), record)
    threshold = recipe.manifest.threshold
    assert (threshold.method, threshold.parts_needed) == ("tolerance_limit", 0)
    assert threshold.promise <= 0.2
    scores = recipe.calibration_scores()
    assert int((scores > threshold.value).sum()) == threshold.exceedances_allowed


def test_same_seed_same_recipe(quick_plan: QuickPlan, tmp_path: Path, record: Any) -> None:
    first, again, other = (
        calibrate(quick_plan(recipe=tmp_path / name, seed=seed), record)
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first.weights_path.read_bytes() == again.weights_path.read_bytes()
    assert first.manifest.threshold == again.manifest.threshold != other.manifest.threshold


def test_features_on_disk_give_the_same_recipe(quick_plan: QuickPlan, tmp_path: Path, record: Any) -> None:
    memory = calibrate(quick_plan(recipe=tmp_path / "memory"), record)
    disk = calibrate(quick_plan(recipe=tmp_path / "disk", memory_bytes=0, scratch=tmp_path), record)
    assert memory.weights_path.read_bytes() == disk.weights_path.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"memory", "disk"}


@pytest.mark.parametrize(
    "settings", [{"position": "add"}, {"levels": (2, 3), "latents": (4, 4)}, {"size_px": (48, 80)}]
)
def test_variants_of_the_network(quick_plan: QuickPlan, record: Any, settings: dict[str, object]) -> None:
    recipe = calibrate(quick_plan(**settings), record)
    network = load_network(recipe)
    geometry = recipe.manifest.geometry
    assert network.mapping.shape.input_px == (geometry.height_px, geometry.width_px)
    assert np.isfinite(recipe.calibration_scores()).all()


class _Stop:
    """Interrupts at one step of one training, as Ctrl-C does."""

    def __init__(self, reporter: Any, name: str, done: int) -> None:
        self._reporter, self._name, self._done = reporter, name, done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reporter, name)

    def training(self, name: str, number: int, trainings: int, step: Step) -> None:
        self._reporter.training(name, number, trainings, step)
        if (name, step.done) == (self._name, self._done):
            import signal

            signal.raise_signal(signal.SIGINT)


#: Three trainings of one hierarchy.
FOLDED: dict[str, object] = {"folds": 2, "levels": (2,), "latents": (4,)}


@pytest.fixture(scope="module")
def uninterrupted(plan_for: QuickPlan, tmp_path_factory: pytest.TempPathFactory, quiet: Any) -> bytes:
    """The weights of a recipe whose calibration ran through."""
    plan = plan_for(tmp_path_factory.mktemp("whole") / "recipe", **FOLDED)
    return calibrate(plan, quiet).weights_path.read_bytes()


@pytest.mark.parametrize(("name", "done"), [("fold-1", 3), ("fold-2", 0), ("fold-2", 12), ("final", 11)])
def test_stopped_calibration_is_taken_up(
    quick_plan: QuickPlan, tmp_path: Path, record: Any, uninterrupted: bytes, name: str, done: int
) -> None:
    plan = quick_plan(**FOLDED)
    with pytest.raises(KeyboardInterrupt):
        calibrate(plan, _Stop(record, name, done))
    assert not plan.recipe.exists()
    record.trainings.clear()

    resumed = calibrate(plan, record)
    assert "taking up the stopped calibration" in record.said
    assert next(step.done for training, _, _, step in record.trainings if training == name) == done
    assert resumed.weights_path.read_bytes() == uninterrupted
    assert list(tmp_path.iterdir()) == [plan.recipe]


def test_corrupt_state_is_trained_again(
    quick_plan: QuickPlan, tmp_path: Path, record: Any, uninterrupted: bytes
) -> None:
    plan = quick_plan(**FOLDED)
    with pytest.raises(KeyboardInterrupt):
        calibrate(plan, _Stop(record, "fold-2", 5))
    for state in (tmp_path / ".recipe.training").glob("*.safetensors"):
        state.write_bytes(state.read_bytes()[:-10])
    assert calibrate(plan, record).weights_path.read_bytes() == uninterrupted


def test_unsound_mapping_makes_no_recipe_but_keeps_its_work(quick_plan: QuickPlan, record: Any) -> None:
    plan = quick_plan(residual_limit=1e-3)
    with pytest.raises(DataError, match=r"level 1 is not sound"):
        calibrate(plan, record)
    assert not plan.recipe.exists()
    record.trainings.clear()

    calibrate(replace(plan, residual_limit=5.0), record)
    assert [step.done for _, _, _, step in record.trainings] == [12]  # nothing was trained again
    assert list(plan.recipe.parent.iterdir()) == [plan.recipe]


def test_existing_recipe_is_left_alone(quick_plan: QuickPlan, record: Any) -> None:
    plan = quick_plan()
    plan.recipe.mkdir()
    with pytest.raises(DataError, match="recipes are immutable, choose another folder"):
        calibrate(plan, record)
    assert list(plan.recipe.iterdir()) == []


def test_corrupt_image_is_named_before_anything_is_done(
    quick_plan: QuickPlan, category: Path, tmp_path: Path, record: Any
) -> None:
    data = tmp_path / "data"
    shutil.copytree(category, data)
    image = data / "train" / "good" / "007.png"
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(DataError) as caught:
        calibrate(quick_plan(data=data), record)
    assert str(caught.value).startswith(str(image))
    assert str(caught.value).endswith("; replace or remove it")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_copies_of_an_image_are_told(quick_plan: QuickPlan, category: Path, tmp_path: Path, record: Any) -> None:
    data = tmp_path / "data"
    shutil.copytree(category, data)
    shutil.copy(data / "train" / "good" / "003.png", data / "train" / "good" / "copy.png")
    calibrate(quick_plan(data=data), record)
    assert any(line.startswith("1 of the images are copies of others (first copy.png)") for line in record.said)


def test_missing_bundled_weights_leave_nothing(
    quick_plan: QuickPlan, tmp_path: Path, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.models.bundled._WEIGHTS_FOLDER", "absent")
    plan = quick_plan(source="resnet_synth", target="vovnet_synth", weights="bundled")
    with pytest.raises(RecipeError, match=r"bundled weights of resnet_synth are missing .* reinstall the package"):
        calibrate(plan, record)
    assert list(tmp_path.iterdir()) == []


def test_full_scratch_disk_leaves_nothing(
    quick_plan: QuickPlan, tmp_path: Path, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(DataError, match=r"No space left on device.*--scratch"):
        calibrate(quick_plan(memory_bytes=0, scratch=tmp_path), record)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_at_the_end_keeps_the_work(
    quick_plan: QuickPlan, tmp_path: Path, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, *rest: object) -> Recipe:
        raise RecipeError(f"{folder}: can't be written: No space left on device")

    plan = quick_plan()
    with monkeypatch.context() as patched:
        patched.setattr(train, "write_recipe", full)
        with pytest.raises(RecipeError):
            calibrate(plan, record)
    assert [path.name for path in tmp_path.iterdir()] == [".recipe.training"]
    record.trainings.clear()
    calibrate(plan, record)
    assert [step.done for _, _, _, step in record.trainings] == [12]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_missing_gpu_is_told(quick_plan: QuickPlan, record: Any) -> None:
    with pytest.raises(EngineError, match="no CUDA device; take --device cpu"):
        calibrate(quick_plan(device="cuda"), record)


def test_manifest_is_plain_data(quick_plan: QuickPlan, record: Any) -> None:
    manifest = calibrate(quick_plan(), record).manifest
    json.dumps(manifest.model_dump(mode="json"), allow_nan=False)


def test_recipe_holds_what_a_refinement_needs_to_know_of_unseen_parts(
    quick_plan: QuickPlan, category: Path, record: Any
) -> None:
    recipe = calibrate(quick_plan(), record)
    prior = recipe_prior(recipe, say=record.say)
    assert not any("learning" in line for line in record.said)
    assert recipe.manifest.prior is not None
    assert recipe.manifest.prior.parts == 9  # those of the validation and of the threshold
    assert recipe.manifest.prior.colours == len(prior.mixture.weights)
    paths = [sample.path for sample in open_dataset(category).train]
    split = split_parts(20, folds=0, calibration_share=0.4, needed=598, seed=1)
    unseen = [paths[part] for part in (*split.validation, *split.rounds[0].scored)]
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation)
    with torch.inference_mode():
        maps = load_network(recipe)(load_batch(unseen, preprocess, torch.device("cpu"))).anomaly_maps.numpy()
    assert float(prior.coarse) == pytest.approx(float(np.quantile(maps, 0.999)), rel=1e-4)
    everything = load_batch(paths, preprocess, torch.device("cpu"))
    assert torch.allclose(prior.high, everything.amax(dim=(0, 2, 3)) + 0.1)
    sizes = sum(tensor.numel() * 4 for tensor in prior.tensors().values())
    assert sizes < 1024


def test_tiled_recipe_has_no_prior(quick_plan: QuickPlan, record: Any) -> None:
    recipe = calibrate(quick_plan(tile_px=(32, 32), overlap_px=8), record)
    assert recipe.manifest.prior is None
