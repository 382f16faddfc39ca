from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inspector.cli.check import check_station, resolved
from inspector.config.load import load_config, parse_config
from inspector.domain.errors import CameraError, ConfigError, RecipeError

REPOSITORY = Path(__file__).resolve().parents[3]


def configuration(recipe: Path, camera: str) -> str:
    return f"station: s\nrecipe: {recipe}\ncamera: {camera}\nworker: {{allow_random_weights: true}}\n"


def test_what_would_run_is_said_and_the_resolved_configuration_can_be_used(random_recipe: Path, tmp_path: Path) -> None:
    config = parse_config(configuration(random_recipe, "{kind: synthetic}"), tmp_path / "inspector.yaml")
    text = check_station(config, open_camera=True)
    assert "# camera synthetic: opened and closed" in text
    assert "content hash" in text
    assert parse_config(text, tmp_path / "other.yaml") == config
    assert yaml.safe_load(text)["line"]["deadline_ms"] == 500


def test_a_missing_folder_is_found_out_only_where_the_camera_is_asked(random_recipe: Path, tmp_path: Path) -> None:
    config = parse_config(configuration(random_recipe, "{kind: folder, path: nowhere}"), tmp_path / "i.yaml")
    check_station(config, open_camera=False)
    with pytest.raises(CameraError, match="nowhere"):
        check_station(config, open_camera=True)


def test_random_weights_are_refused_unless_asked_for(random_recipe: Path, tmp_path: Path) -> None:
    text = configuration(random_recipe, "{kind: synthetic}").replace("true", "false")
    with pytest.raises(RecipeError, match="random weights"):
        check_station(parse_config(text, tmp_path / "i.yaml"), open_camera=False)


def test_an_archive_that_can_not_be_written_is_found_out(random_recipe: Path, tmp_path: Path) -> None:
    text = configuration(random_recipe, "{kind: synthetic}") + "archive: {folder: kept/here}\n"
    config = parse_config(text, tmp_path / "i.yaml")
    assert f"# archive in {tmp_path}/kept/here: quota 20 GB" in check_station(config, open_camera=False)
    assert not (tmp_path / "kept").exists(), "nothing is made"
    (tmp_path / "kept").write_text("a file in its place")
    with pytest.raises(ConfigError, match=r"archive\.folder: .*kept can't be written"):
        check_station(config, open_camera=False)


def test_passwords_are_not_printed(random_recipe: Path, tmp_path: Path) -> None:
    text = configuration(random_recipe, "{kind: video, source: 'rtsp://admin:secret@10.0.0.7/live'}")
    shown = resolved(parse_config(text, tmp_path / "i.yaml"))
    assert "secret" not in shown
    assert "rtsp://***@10.0.0.7/live" in shown


def test_the_configuration_that_ships_is_valid() -> None:
    config = load_config(REPOSITORY / "inspector.yaml")
    assert config.recipe == REPOSITORY / "recipes" / "part"
