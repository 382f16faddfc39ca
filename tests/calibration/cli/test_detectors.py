"""`calibrate train --detector NAME`, and what the other commands make of such a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from calibration.cli.main import main

QUICK = ["--weights", "random:1", "--source-network", "squeezenet1_1", "--size", "64", "--folds", "0", "--threads", "1"]


@pytest.mark.parametrize(
    ("detector", "options", "words"),
    [
        ("padim", ["--channels", "12", "--levels", "2,3"], "padim, levels 2 3, channels 12"),
        ("patchcore", ["--coreset", "0.05"], "patchcore, levels 2 3, rows "),
    ],
)
def test_detector_with_one_backbone(
    detector: str,
    options: list[str],
    words: str,
    category: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "recipe"
    assert main(["train", str(category), "--recipe", str(recipe), "--detector", detector, *QUICK, *options]) == 0
    assert words in capsys.readouterr().out
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(recipe), str(category), "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["image_auroc"] > 0.6
    capsys.readouterr()
    assert main(["show", str(recipe), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["network"]["detector"] == detector


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detector", "spade"], "unknown detector 'spade'"),
        (["--preset", "spade"], "unknown preset 'spade'"),
        (["--detector", "padim", "--latents", "4,4,4"], "--latents means nothing to padim"),
        (["--detector", "padim", "--channels", "9999"], "take at most as many with --channels"),
    ],
)
def test_options_that_can_t_be(
    options: list[str], message: str, category: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(["train", str(category), "--recipe", str(tmp_path / "recipe"), *QUICK, *options]) == 65
    assert [message in record.getMessage() for record in caplog.records] == [True]
    assert list(tmp_path.iterdir()) == []


def test_rates_are_numbers(category: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(category), "--recipe", str(tmp_path / "recipe"), "--rates", "fast,slow"]) == 2
    assert "not a list of numbers such as 3e-3,3e-4,3e-4" in capsys.readouterr().err
