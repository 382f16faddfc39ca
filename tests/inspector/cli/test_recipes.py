"""The list of recipes tells sound ones from damaged ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from inspector.cli.main import main


@pytest.fixture
def shelf(random_recipe: Path, tmp_path: Path) -> Path:
    shelf = tmp_path / "recipes"
    shutil.copytree(random_recipe, shelf / "part-1")
    shutil.copytree(random_recipe, shelf / "part-2")
    with (shelf / "part-2" / "recipe.yaml").open("a") as file:
        file.write("# changed\n")
    (shelf / "current").symlink_to(shelf / "part-1")
    (shelf / "notes").mkdir()
    return shelf


def test_recipes_are_listed_with_their_promise_and_damage(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list", str(shelf), "--json"]) == 0
    link, sound, damaged = json.loads(capsys.readouterr().out)
    assert sound["folder"] == "part-1"
    assert (sound["name"], sound["version"], sound["detector"], sound["promise"]) == ("random", 1, "mb-pfm", "20.00%")
    assert link == sound | {"folder": "current (link)"}
    assert damaged["folder"] == "part-2"
    assert "recipe.yaml" in damaged["problem"]


def test_the_table_names_them(shelf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["recipe", "list", str(shelf)]) == 0
    told = capsys.readouterr().out
    assert "part-1" in told
    assert "20.00%" in told


def test_a_folder_without_recipes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "list", str(tmp_path)]) == 65
    assert main(["recipe", "list", str(tmp_path / "nowhere")]) == 65
