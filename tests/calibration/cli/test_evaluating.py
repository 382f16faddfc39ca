"""`calibrate compare`, and `calibrate evaluate` in both of its forms."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from calibration.cli.evaluating import _options_of
from calibration.cli.main import cli, main
from calibration.schedule import SCHEDULES

QUICK = ["--weights", "random:1", "--size", "64", "--folds", "0", "--threads", "1", "--device", "cpu"]
PAIR = ["--source-network", "resnet_synth", "--target-network", "vovnet_synth", "--latents", "4,4,4"]

Outcome = tuple[int, str, list[str]]


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: Any
) -> Callable[..., Outcome]:
    """Exit code, standard output, and lines of the log."""
    monkeypatch.setitem(SCHEDULES, "fast", replace(SCHEDULES["fast"], batch=(64, 64, 64), steps=10))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Outcome:
        caplog.clear()
        code = main([str(argument) for argument in arguments])
        return code, capsys.readouterr().out, [record.getMessage() for record in caplog.records]

    return call


@pytest.fixture
def data(category: Path, tmp_path: Path) -> Path:
    """A folder of two categories, of which one can't be used."""
    folder = tmp_path / "data"
    shutil.copytree(category, folder / "stripes")
    (folder / "broken" / "train" / "good").mkdir(parents=True)
    return folder


def test_compare_writes_table_json_and_page_and_takes_the_recipes_again(run: Any, data: Path, tmp_path: Path) -> None:
    options = [data, "--detectors", "mb-pfm,padim", "--json", "out/all.json", "--html", "out/all.html", *QUICK, *PAIR]
    code, out, _ = run("compare", *options)
    assert code == 65  # the broken category's
    assert "failed: broken, padim: " in out
    record = json.loads((tmp_path / "out" / "all.json").read_text())
    assert record["run"]["command"].startswith(f"calibrate compare {data} --detectors mb-pfm,padim --json")
    broken, stripes = record["categories"]
    assert (broken["name"], stripes["name"]) == ("broken", "stripes")
    for detector in ("mb-pfm", "padim"):
        cell = stripes["detectors"][detector]
        assert f"{100 * cell['figures']['image_auroc']:.2f}" in out
        assert not cell["reused"]
    page = (tmp_path / "out" / "all.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "data:image/jpeg;base64," in page
    assert sorted(path.name for path in (tmp_path / "comparison").iterdir()) == ["stripes"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["all.html", "all.json"]

    # The form with `evaluate` is the same command: it takes over what is there.
    code, out, _ = run("evaluate", *options, "--categories", "stripes", "--gallery", 0)
    assert code == 0
    record = json.loads((tmp_path / "out" / "all.json").read_text())
    assert record["run"]["command"].startswith(f"calibrate evaluate {data} --detectors")
    assert [cell["reused"] for cell in record["categories"][0]["detectors"].values()] == [True, True]
    assert "data:image" not in (tmp_path / "out" / "all.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--detectors", "mb-pfm,padam"], "unknown detector 'padam'; known are mb-pfm"),
        (["--detectors", "padim", "--categories", "stripes,other"], "has no category other; it has broken, stripes"),
        (["--detectors", "padim", "--html", "data"], "data can't be written: Is a directory; .*--html"),
        (["--detectors=padim", "--json", "data/stripes/test/hole/000.png/a"], "can't be written: .*--json"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_what_can_t_be_is_told_before_any_work(
    run: Any, data: Path, tmp_path: Path, command: str, options: list[str], message: str
) -> None:
    code, out, log = run(command, data, *options, *QUICK)
    assert (code, out, len(log)) == (65, "", 1)
    assert re.search(message, log[0]), log[0]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_detectors_must_be_named(run: Any, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(data)]) == 2
    assert "Missing option '--detectors'" in capsys.readouterr().err
    assert main(["evaluate", str(data)]) == 2
    assert "Missing argument 'DATA'" in capsys.readouterr().err


def test_compare_has_the_options_of_train() -> None:
    names = {name: {parameter.name for parameter in command.params} for name, command in cli.commands.items()}
    own = {"recipe", "name", "version", "detector", "preset"}
    assert names["train"] - names["compare"] == own
    assert names["compare"] - names["train"] == {
        "detectors", "categories", "published", "work", "json_path", "html_path", "gallery", "refine"
    }  # fmt: skip


def test_options_that_mean_nothing_to_a_detector_are_left_out_for_it() -> None:
    options = {"target": "resnet18", "latents": (4,), "schedule": "fast", "rates": (1.0,), "channels": 9, "seed": 3}
    padim = _options_of("padim", options, published=True)
    assert (padim["channels"], padim["seed"], padim["preset"], padim["detector"]) == (9, 3, "padim", "padim")
    assert all(padim[name] is None for name in ("target", "latents", "schedule", "rates"))
    mapping = _options_of("mb-pfm", options, published=False)
    assert (mapping["target"], mapping["rates"], mapping["channels"]) == ("resnet18", (1.0,), None)
    assert (mapping["preset"], mapping["version"], mapping["name"]) == (None, 1, None)
