"""The command `calibrate`: what it prints, how it ends, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calibration.cli.main import main
from calibration.schedule import SCHEDULES
from inspector.recipe.store import load_recipe

PAIR = ["--source-network", "squeezenet1_1", "--target-network", "resnet18", "--latents", "4,4,4"]
QUICK = ["--weights", "random:1", "--size", "64", "--folds", "0", "--threads", "1", *PAIR]

Outcome = tuple[int, str, list[str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[..., Outcome]:
    """Exit code, standard output, and lines of the log."""

    def call(*arguments: object) -> Outcome:
        caplog.clear()
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().out, [record.getMessage() for record in caplog.records]

    return call


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULES, "fast", replace(SCHEDULES["fast"], batch=(64, 64, 64), steps=10))


@pytest.mark.usefixtures("short")
def test_train_evaluate_show_and_sheet(run: Any, category: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipes" / "stripes"
    code, out, log = run("train", category, "--recipe", recipe, *QUICK)
    assert (code, log) == (0, [])
    assert "recipe stripes v1" in out
    assert "EXTRAPOLATED" in out
    assert "RANDOM WEIGHTS" in out
    assert load_recipe(recipe).content_hash in out

    code, out, _ = run("evaluate", recipe, category, "--json", tmp_path / "figures.json")
    assert code == 0
    for words in ("image AUROC", "AUPRO (FPR 0.3)", "at 64x64 px, without 4 defective images", "of 4 rejected"):
        assert words in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert f"{figures['image_auroc']:.4f}" in out

    code, out, _ = run("show", recipe)
    assert (code, "threshold" in out) == (0, True)
    code, out, _ = run("show", recipe, "--json")
    assert code == 0
    assert json.loads(out)["content_hash"] == load_recipe(recipe).content_hash

    image = category / "test" / "hole" / "000.png"
    code, _, _ = run("sheet", recipe, tmp_path / "sheet.png", image)
    assert code == 0
    assert (tmp_path / "sheet.png").stat().st_size > 1000


@pytest.mark.usefixtures("short")
def test_choice_of_the_bundled_pair_is_told(
    run: Any, category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("inspector.models.bundled._WEIGHTS_FOLDER", "absent")
    code = main(["train", str(category), "--recipe", str(tmp_path / "recipe"), "--size", "64"])
    err = capsys.readouterr().err
    assert code == 65
    assert "weights: bundled (no GPU here, so the light pair that ships with the package" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--source-network", "resnet19"], 65, r"unknown backbone 'resnet19'; known are"),
        (["--weights", "imagnet"], 65, r"unknown weights 'imagnet'"),
        (["--weights", "imagenet", "--weights-dir", "/absent"], 65, r"/absent: no such folder of weights"),
        (["--schedule", "slow"], 65, r"unknown schedule 'slow'; known are fast, stable, published"),
        (["--size", "16"], 65, r"the input size must lie between 32 and 4096 px a side, not 16 x 16 px"),
        (["--size", "64,64,64"], 65, r"--size takes SIDE or HEIGHT,WIDTH"),
        (["--tile", "32,32,32"], 65, r"--tile takes SIDE or HEIGHT,WIDTH"),
        (["--tile", "32", "--overlap", "32"], 65, r"overlap"),
        (["--region", "1,2,3"], 65, r"--region takes LEFT,TOP,WIDTH,HEIGHT in pixels of the frame, such as 100,0,800"),
        (["--region", "0,0,64,0"], 65, r"--region takes LEFT,TOP,WIDTH,HEIGHT"),
        (["--region", "0,0,640,64"], 65, r"region"),
        (["--ignore", "/absent.png"], 65, r"/absent\.png"),
        (["--levels", "3,1"], 65, r"levels must be an ascending subset of 1,2,3"),
        (["--latents", "4"], 65, r"give one positive latent width for each of the 3 levels"),
        (["--folds", "1"], 65, r"1 folds of 18 parts can't be made; take 0 for a hold-out"),
        (["--false-rejects", "2"], 65, r"lie between 0 and 1"),
        (["--name", "a b"], 65, r"'a b' can't be the name of a recipe"),
        (["--scratch", "/absent", "--memory-gib", "0"], 65, r"/absent can't hold them .*--scratch"),
    ],
)
def test_options_that_can_t_be(
    run: Any, category: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    ended, out, log = run("train", category, "--recipe", tmp_path / "recipe", *QUICK, *options)
    assert (ended, out, len(log)) == (code, "", 1)
    assert re.search(message, log[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [["--size", "big"], ["--region", "0,0,a,4"], ["--folds", "two"], ["--nonsense"], ["--memory-gib", "-1"]]
)
def test_options_that_can_t_be_read(
    run: Any, category: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(category), "--recipe", str(tmp_path / "recipe"), *options]) == 2
    assert "Usage: calibrate train" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_data_that_can_t_be_used(run: Any, category: Path, tmp_path: Path, save: Any) -> None:
    recipe = tmp_path / "recipe"
    (tmp_path / "empty").mkdir()
    few = tmp_path / "few"
    few.mkdir()
    for number in range(9):
        shutil.copy(category / "train" / "good" / f"{number:03d}.png", few)
    for data, message in (
        (tmp_path / "absent", "does not exist; give a folder of good images or a category"),
        (tmp_path / "empty", "holds no images; these are read: .bmp, .jpeg"),
        (few, "has 9 good images to calibrate on; at least 10 are needed"),
    ):
        code, out, log = run("train", data, "--recipe", recipe, *QUICK)
        assert (code, out, len(log)) == (65, "", 1)
        assert log[0].startswith(str(data))
        assert message in log[0]
    assert not recipe.exists()


def test_existing_recipe_and_unwritable_folder(run: Any, category: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    code, _, log = run("train", category, "--recipe", tmp_path / "recipe", *QUICK)
    assert (code, len(log)) == (65, 1)
    assert log[0].endswith("exists; recipes are immutable, choose another folder")
    (tmp_path / "file").write_text("in the way")
    code, _, log = run("train", category, "--recipe", tmp_path / "file" / "recipe", *QUICK)
    assert (code, len(log)) == (65, 1)
    assert "file can't be written" in log[0]
    assert {path.name for path in tmp_path.iterdir()} == {"recipe", "file"}


def test_recipe_that_can_t_be_used(run: Any, category: Path, random_recipe: Path, tmp_path: Path) -> None:
    code, _, log = run("evaluate", tmp_path / "absent", category)
    assert (code, len(log)) == (65, 1)
    assert "no such recipe; make one with 'calibrate train" in log[0]
    broken = tmp_path / "broken"
    shutil.copytree(random_recipe, broken)
    with (broken / "recipe.yaml").open("a") as manifest:
        manifest.write("# edited\n")
    code, _, log = run("show", broken)
    assert (code, len(log)) == (65, 1)
    assert "recipe.yaml is not what the calibration wrote" in log[0]


def test_ctrl_c_ends_with_one_line_wherever_it_comes(
    run: Any, category: Path, random_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("calibration.evaluate.evaluate_recipe", stopped)
    assert run("evaluate", random_recipe, category) == (130, "", ["stopped"])


def test_help_and_version(run: Any) -> None:
    for arguments, words in (
        (["--help"], "Makes recipes"),
        (["train", "-h"], "--recipe"),
        (["--version"], "calibrate"),
    ):
        code, out, _ = run(*arguments)
        assert code == 0
        assert words in out


def test_torch_is_not_loaded_before_it_is_told_how_to_wait() -> None:
    program = "import calibration.cli.main, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False, timeout=60).returncode == 0


def test_defect_of_the_program_is_no_traceback_to_the_shell(
    run: Any, category: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("calibration.train.calibrate", broken)
    code, _, log = run("train", category, "--recipe", tmp_path / "recipe", *QUICK)
    assert (code, log) == (70, ["defect of the program"])


#: `calibrate` that gets its Ctrl-C in the first steps: from outside it may come too late.
STOPPED = """
import os, signal, sys
from calibration.cli.main import main
from calibration.cli.progress import ConsoleReporter

report = ConsoleReporter.training

def training(self, name, number, trainings, step):
    report(self, name, number, trainings, step)
    if step.done > 0:
        os.kill(os.getpid(), signal.SIGINT)

ConsoleReporter.training = training
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.process
def test_ctrl_c_ends_with_one_line_and_the_same_command_goes_on(run: Any, category: Path, tmp_path: Path) -> None:
    options = ["train", str(category), *QUICK, "--levels", "1", "--latents", "4", "--recipe"]
    command = [sys.executable, "-c", STOPPED, *options, str(tmp_path / "recipe")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
    out, err = process.stdout, process.stderr
    assert "training 1 of 1: 0 of" in err
    assert process.returncode == 130, err
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith(("features", "training"))]
    assert lines == ["WARNING: stopped; the same command goes on from here"]
    assert [path.name for path in tmp_path.iterdir()] == [".recipe.training"]

    assert run(*options, tmp_path / "recipe")[0] == 0
    assert run(*options, tmp_path / "whole")[0] == 0
    resumed, whole = (load_recipe(tmp_path / name).weights_path.read_bytes() for name in ("recipe", "whole"))
    assert resumed == whole
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "recipe"}
