"""From recipe and image files to masks, pictures and outlines; bad input gives one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from calibration.cli.main import cli, main
from calibration.images import read_image, read_mask
from calibration.refinement.__main__ import main as measure_main
from inspector.recipe.store import load_recipe


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(0)
    for index in range(10):
        pixels = np.clip(100 + 30 * np.sin(np.arange(80) / 5)[None] + rng.normal(0, 5, (70, 80)), 0, 255)
        cv2.imwrite(str(folder / f"{index}.png"), pixels.astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def prior(good: Path, random_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prior's file, written by a refinement."""
    folder = tmp_path_factory.mktemp("prior")
    arguments = ["refine", str(random_recipe), str(good / "0.png"), "--output", str(folder / "out")]
    assert main([*arguments, "--good", str(good), "--prior", str(folder / "p"), "--iterations", "1"]) == 0
    return folder / "p"


@pytest.fixture
def damaged(good: Path, tmp_path: Path) -> Path:
    pixels = read_image(good / "0.png").copy()
    pixels[20:44, 30:50] = 250
    path = tmp_path / "damaged.png"
    cv2.imwrite(str(path), pixels)
    return path


def test_writes_mask_image_picture_and_outlines(random_recipe: Path, damaged: Path, prior: Path) -> None:
    output = damaged.parent / "out"
    arguments = ["refine", str(random_recipe), str(damaged), "--output", str(output), "--prior", str(prior)]
    result = CliRunner().invoke(cli, [*arguments, "--iterations", "4", "--threads", "1"])
    assert result.exit_code == 0, result.output
    assert f"{damaged}: " in result.output
    record = json.loads((output / "damaged_outlines.json").read_text())
    mask = read_mask(output / "damaged_mask.png")
    clean = read_image(output / "damaged_recovered.png")
    assert mask.shape == clean.shape == (70, 80)
    assert record["frame_px"] == [80, 70]
    assert record["area_px"] == mask.sum() == sum(defect["area_px"] for defect in record["defects"])
    assert record["recipe_hash"] == load_recipe(random_recipe).content_hash
    assert record["decision"] in ("pass", "fail")
    assert read_image(output / "damaged_overlay.png").ndim == 3
    assert len(list(output.iterdir())) == 4


def test_images_of_one_name_are_kept_apart(random_recipe: Path, good: Path, damaged: Path, prior: Path) -> None:
    other = damaged.parent / "other"
    other.mkdir()
    (other / "damaged.png").write_bytes(damaged.read_bytes())
    output = damaged.parent / "out"
    images = [str(damaged), str(other / "damaged.png")]
    options = ["--output", str(output), "--prior", str(prior), "--iterations", "1"]
    assert main(["refine", str(random_recipe), *images, *options]) == 0
    names = {path.name for path in output.glob("*.json")}
    assert names == {f"{damaged.parent.name}-damaged_outlines.json", "other-damaged_outlines.json"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["{recipe}", "nowhere.png"], "nowhere.png can't be read: No such file"),
        (["nowhere", "{image}"], "nowhere: no such recipe"),
        (["{recipe}", "{image}", "{image}"], "two of the images would both be written as"),
        (["{recipe}", "{image}", "--prior", "{image}"], "can't be read as a refinement's prior"),
        (["{recipe}", "{image}", "--prior", "none", "--good", "nowhere"], "nowhere does not exist"),
        (["{recipe}", "{image}", "--prior", "none"], "name good images with --good"),
    ],
)
def test_bad_input_is_told_in_one_line(
    random_recipe: Path,
    damaged: Path,
    prior: Path,
    change: list[str],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = [word.format(recipe=random_recipe, image=damaged) for word in change]
    if "--prior" not in words:
        words += ["--prior", str(prior)]
    assert main(["refine", *words, "--output", str(damaged.parent / "out"), "--iterations", "1"]) == 65
    assert [message in record.message for record in caplog.records] == [True]
    assert not (damaged.parent / "out").exists()


def test_prior_of_another_recipe_is_refused(
    random_recipe: Path, damaged: Path, prior: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import load_file, save_file

    other = damaged.parent / "other.safetensors"
    save_file(load_file(prior), other, metadata={"recipe_hash": "0" * 64})
    arguments = ["refine", str(random_recipe), str(damaged), "--output", str(damaged.parent), "--prior", str(other)]
    assert main(arguments) == 65
    assert "was learnt with another recipe" in caplog.text


def test_synthesise_and_measure(
    random_recipe: Path, good: Path, prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = CliRunner().invoke(cli, ["synthesise", str(good), "--output", str(tmp_path / "made"), "--count", "3"])
    assert made.exit_code == 0, made.output
    assert "7 good images to train on, 3 to test, defects: 3 colour" in made.output
    arguments = [str(random_recipe), str(tmp_path / "made"), "--output", str(tmp_path / "table"), "--images", "2"]
    options = ["--prior", str(prior), "--variants", "f2pad,without sparsity", "--set", "iterations=2"]
    assert measure_main([*arguments, *options]) == 0
    assert "without sparsity" in capsys.readouterr().out
    rows = json.loads((tmp_path / "table" / "table.json").read_text())["rows"]
    assert set(rows) == {"map", "map, best threshold", "initialisation only", "f2pad", "without sparsity"}
    assert all(len(row["iou"]) == 2 and 0 <= row["mean_iou"] <= 1 for row in rows.values())
    assert read_image(tmp_path / "table" / "gallery.png").shape == (400, 1200, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "colour=1"], "no number of the settings"),
        (["--set", "step=fast"], "'fast' is no number"),
        (["--variants", "best"], "unknown variant best"),
    ],
)
def test_measurement_refuses_what_it_does_not_know(
    random_recipe: Path,
    good: Path,
    prior: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(random_recipe), str(good), "--output", str(tmp_path), "--prior", str(prior)]
    assert measure_main([*arguments, *options]) == 65
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kinds", ["", "scratch", "colour,scratch"])
def test_unknown_kinds_of_defects_are_refused(good: Path, tmp_path: Path, kinds: str) -> None:
    result = CliRunner().invoke(cli, ["synthesise", str(good), "--output", str(tmp_path / "out"), "--kinds", kinds])
    assert result.exit_code == 2
    assert "known kinds are colour, structural" in result.output
