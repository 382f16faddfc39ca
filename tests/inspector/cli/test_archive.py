"""What is kept can be listed and copied, from the index or from the files alone, while the line writes or not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from inspector.cli.main import cli
from inspector.domain.errors import ConfigError, DataError
from inspector.outputs.archive import INDEX, ArchiveFolder

#: 2026-03-01 12:00:00 by the clock of any place.
NOON_S = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))


@pytest.fixture
def folder(tmp_path: Path) -> ArchiveFolder:
    """Six entries an hour apart, every second one a fail; still open."""
    archive = ArchiveFolder(tmp_path / "kept", quota_bytes=10_000_000, quota_s=1e9)
    for part in range(6):
        archive.keep(
            {
                "run": "0123456789",
                "station": "press",
                "part": part,
                "trigger": part,
                "decision": "fail" if part % 2 else "not_inspected",
                "cause": "score_above_threshold" if part % 2 else "engine_error",
                "score": 2.5 if part % 2 else None,
                "source": "",
                "time": NOON_S + 3600 * part,
            },
            np.zeros((4, 4), np.uint8),
        )
    return archive


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "inspector.yaml"
    settings = {"station": "s", "recipe": "r", "camera": {"kind": "synthetic"}, "archive": {"folder": "kept"}}
    path.write_text(yaml.safe_dump(settings))
    return path


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, ["archive", *words], catch_exceptions=False, standalone_mode=False)
    return done.output


@pytest.mark.parametrize("index", [True, False])
def test_entries_are_listed_latest_first_with_or_without_the_index(
    folder: ArchiveFolder, config: Path, index: bool
) -> None:
    if not index:
        folder.close()
        for path in folder.path.glob(f"{INDEX}*"):
            path.unlink()
    found = json.loads(run("list", "-c", str(config), "--json"))
    assert [entry["part"] for entry in found] == [5, 4, 3, 2, 1, 0]
    assert found[0]["score"] == 2.5
    assert found[1]["score"] is None
    few = json.loads(run("list", "-c", str(config), "--json", "--decision", "fail", "--since", "2026-03-01 14:00:00"))
    assert [entry["part"] for entry in few] == [5, 3]
    assert len(json.loads(run("list", "-c", str(config), "--json", "--limit", "2"))) == 2
    folder.close()


def test_a_table_for_people(folder: ArchiveFolder, config: Path) -> None:
    lines = run("list", "-c", str(config), "--decision", "fail").splitlines()
    assert len(lines) == 4
    assert lines[1].split() == [
        *("2026-03-01", "17:00:00", "5", "fail", "2.5", "score_above_threshold"),
        "2026-03-01/170000-press-01234567-000005-fail",
    ]
    assert "no such entries" in run("list", "-c", str(config), "--decision", "pass")
    folder.close()


def test_outlines_are_listed_and_copied(folder: ArchiveFolder, config: Path, tmp_path: Path) -> None:
    name = "2026-03-01/{}0000-press-01234567-{:06d}-fail"
    folder.outline(name.format(17, 5), {"defects": [{}, {}], "area_px": 153}, b"picture")
    folder.outline(name.format(15, 3), {"problem": "the frame is too small"}, b"")
    lines = run("list", "-c", str(config), "--decision", "fail").splitlines()
    assert "defects" in lines[0].split()
    assert "  2, 153 px  " in lines[1]
    assert "  not refined  " in lines[2]
    assert lines[3].split()[-2:] == ["score_above_threshold", name.format(13, 1)]
    found = json.loads(run("list", "-c", str(config), "--json", "--decision", "fail"))
    assert [(entry["defects"], entry["defects_px"], entry["problem"]) for entry in found] == [
        (2, 153, None),
        (None, None, "the frame is too small"),
        (None, None, None),
    ]
    run("export", str(tmp_path / "copies"), "-c", str(config), "--decision", "fail", "--limit", "1")
    suffixes = sorted(path.name.split("fail", 1)[1] for path in (tmp_path / "copies").iterdir())
    assert suffixes == [".json", ".outlines.json", ".outlines.png", ".png"]
    folder.close()


def test_export_copies_all_files_of_an_entry(folder: ArchiveFolder, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "copies"
    assert "3 entries copied" in run("export", str(target), "-c", str(config), "--decision", "fail")
    assert sorted(path.name for path in target.iterdir()) == [
        f"2026-03-01-{hour}0000-press-01234567-{part:06d}-fail.{suffix}"
        for hour, part in ((13, 1), (15, 3), (17, 5))
        for suffix in ("json", "png")
    ]
    folder.close()


def test_an_entry_that_the_quota_took_meanwhile_is_told(folder: ArchiveFolder, config: Path, tmp_path: Path) -> None:
    for path in folder.path.glob("20*/*000003*"):
        path.unlink()
    told = run("export", str(tmp_path / "copies"), "-c", str(config), "--decision", "fail")
    assert "2 entries copied; 1 more were deleted meanwhile" in told
    folder.close()


def test_a_place_that_can_not_be_written_is_told(folder: ArchiveFolder, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        run("export", str(tmp_path / "file"), "-c", str(config))
    folder.close()


def test_without_an_archive_the_message_says_how_to_have_one(config: Path) -> None:
    with pytest.raises(DataError, match="no such archive"):
        run("list", "-c", str(config))
    settings = yaml.safe_load(config.read_text())
    del settings["archive"]
    config.write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match="add a section 'archive:'"):
        run("list", "-c", str(config))
