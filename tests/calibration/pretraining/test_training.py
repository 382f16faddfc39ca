"""The task, the loop, checkpoints, export and the probe, at toy size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from calibration.pretraining.__main__ import main
from calibration.pretraining.probe import auroc, generated_surface, load_folder, nearest_neighbour, random_pair
from calibration.pretraining.training import Recipe, Trainer, backbone_weights, export, learning_rate, train
from inspector.domain.errors import DataError
from inspector.models.bundled import build_bundled, bundled_names

TOY = Recipe(steps=4, scenes=4, side_px=32, programs=5, per_program=2, bank_side_px=40, renew=4.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TOY, tmp_path_factory.mktemp("run"), torch.device("cpu"), every=2, report=lambda line: None)


def test_every_hierarchy_of_both_backbones_learns() -> None:
    trainer = Trainer(TOY, torch.device("cpu"))
    before = {name: value.clone() for name, value in trainer.tasks.named_parameters()}
    losses = list(trainer.run(2))
    assert len(losses) == trainer.step == 2
    for step in losses:
        assert set(step) == set(bundled_names())
        assert all(loss.total.isfinite() for loss in step.values())
    still = [name for name, value in trainer.tasks.named_parameters() if torch.equal(value, before[name])]
    assert still == []


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    recipe = Recipe(steps=1000, learning_rate=1.0)
    assert learning_rate(recipe, 0) == pytest.approx(0.005)
    assert learning_rate(recipe, 999) < 0.003


def test_checkpoints_are_taken_up_and_numbered_copies_hold_backbones_only(trained: Path) -> None:
    folder = trained.parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.safetensors", "step-2.safetensors", "step-4.safetensors",
    ]  # fmt: skip
    assert all(".backbone." in name for name in load_file(folder / "step-4.safetensors"))
    said: list[str] = []
    train(replace(TOY, steps=5), folder, torch.device("cpu"), every=5, report=said.append)
    assert said[0] == "going on from step 4"
    trainer = Trainer(TOY, torch.device("cpu"))
    with pytest.raises(DataError, match="another recipe"):
        Trainer(replace(TOY, programs=6), torch.device("cpu")).resume(trained)
    trainer.resume(trained)
    assert trainer.step == 5


def test_the_export_is_what_the_package_loads(trained: Path, tmp_path: Path) -> None:
    files = export(trained, tmp_path / "weights")
    assert [file.stem for file in files] == list(bundled_names())
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    for file in files:
        tensors = load_file(file)
        assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
        module = build_bundled(file.stem)
        missing, unexpected = module.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
        assert unexpected == []
        assert all(name.endswith("num_batches_tracked") for name in missing)


def test_what_is_no_checkpoint_or_does_not_fit_float16_is_refused(tmp_path: Path, trained: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(1)}, foreign)
    with pytest.raises(DataError, match="holds no backbone"):
        backbone_weights(foreign, bundled_names()[0])
    tensors = load_file(trained)
    name = next(name for name in tensors if name.endswith("first.0.0.weight") and ".backbone." in name)
    save_file(tensors | {name: tensors[name] + 1e6}, foreign)
    with pytest.raises(DataError, match="float16"):
        export(foreign, tmp_path / "out")


def test_auroc_is_that_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    scores, defective = random.integers(0, 20, 200), random.random(200) < 0.4
    expected = roc_auc_score(defective, scores)
    assert auroc(torch.tensor(scores), torch.tensor(defective)) == pytest.approx(expected)


def test_the_probe_measures_a_folder_and_generated_surfaces(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for name, count in (("train/good", 4), ("test/good", 4), ("test/dent", 4)):
        (tmp_path / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), random.integers(0, 256, (40, 50), np.uint8))
    data = load_folder(tmp_path, side_px=32)
    assert data.train.shape == (4, 3, 32, 32)
    assert data.defective.tolist() == [True] * 4 + [False] * 4
    scores = nearest_neighbour(random_pair(0)[0], data)
    assert scores.shape == (8,)
    assert scores.isfinite().all()
    with pytest.raises(DataError, match="no train/good"):
        load_folder(tmp_path / "test")
    surface = generated_surface(1, seed=3, side_px=32, count=8)
    assert len(surface.train) == 8
    assert surface.defective.sum() >= 4


def test_the_command_line_trains_exports_and_explains_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--steps",
        "1",
        "--scenes",
        "2",
        "--side-px",
        "32",
        "--programs",
        "3",
        "--per-program",
        "1",
        "--bank-side-px",
        "32",
        "--device",
        "cpu",
    ]
    assert main(["train", str(tmp_path / "run"), *flags]) == 0
    assert main(["export", str(tmp_path / "run" / "checkpoint.safetensors"), str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert main(["probe", "random", "--data", str(tmp_path)]) == 65
    assert "no train/good" in capsys.readouterr().err


def test_the_model_card_names_the_files_that_ship() -> None:
    from importlib import resources

    folder = resources.files("inspector.models") / "bundled_weights"
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    from inspector.models.bundled import bundled_hash

    for name in bundled_names():
        assert bundled_hash(name) in card, "the card's hashes are those of the files"
    assert json.loads((folder / "training.json").read_text(encoding="utf-8"))["recipe"]
