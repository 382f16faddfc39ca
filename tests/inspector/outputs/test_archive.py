"""Entries are whole or not there, the quota holds, and the index can be lost."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.domain.frame import Pixels
from inspector.outputs.archive import (
    INDEX,
    ArchiveFolder,
    entry_files,
    entry_frame,
    stored_entries,
    write_synced,
)
from inspector.outputs.archive_index import ArchiveIndex, Entry

#: 2026-03-01 12:00:00 by the clock of any place.
NOON_S = time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))


class Clock:
    """A wall clock that can jump and a monotonic clock that can't."""

    def __init__(self) -> None:
        self.wall_s = NOON_S
        self.monotonic_s = 1000.0

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


Open = Callable[..., ArchiveFolder]


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Open:
    def open_folder(**changes: Any) -> ArchiveFolder:
        settings: dict[str, Any] = {"quota_bytes": 10_000_000, "quota_s": 1e6}
        return ArchiveFolder(
            tmp_path / "archive",
            clock_s=lambda: clock.wall_s,
            monotonic_s=lambda: clock.monotonic_s,
            **(settings | changes),
        )

    return open_folder


def record(part: int, decision: str = "fail", *, time_s: float = NOON_S, **changes: Any) -> dict[str, Any]:
    return {
        "run": "0123456789abcdef",
        "station": "press.1",
        "part": part,
        "trigger": 1 << 32 | part,
        "decision": decision,
        "cause": "score_above_threshold",
        "score": 2.5,
        "source": f"part/{part}",
        "time": time_s,
    } | changes


def picture(seed: int = 0, shape: tuple[int, ...] = (20, 30)) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def files(folder: ArchiveFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.glob("20*/*"))


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in stored_entries(path))


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_an_entry_is_the_picture_as_it_was_and_the_whole_verdict(opened: Open, shape: tuple[int, ...]) -> None:
    folder = opened()
    entry = folder.keep(record(7), picture(1, shape), picture(2, (8, 9, 3)))
    assert entry.name == "2026-03-01/120000-press.1-01234567-000007-fail"
    assert files(folder) == [f"{entry.name}{suffix}" for suffix in (".json", ".map.jpg", ".png")]
    stored = cv2.imread(str(folder.path / f"{entry.name}.png"), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    stored = stored if stored.ndim == 2 else stored[..., ::-1]
    assert np.array_equal(stored, picture(1, shape))
    assert json.loads((folder.path / f"{entry.name}.json").read_text()) == record(7) | {"archived": NOON_S}
    assert folder.entries == 1
    assert folder.bytes == entry.bytes == sum(path.stat().st_size for path in entry_files(folder.path, entry.name))
    folder.close()
    folder.close()


def test_pictures_can_be_jpg(opened: Open) -> None:
    folder = opened(suffix=".jpg")
    entry = folder.keep(record(1), picture())
    assert files(folder) == [f"{entry.name}.jpg", f"{entry.name}.json"]
    folder.close()


def test_the_oldest_go_first_when_bytes_run_out(opened: Open) -> None:
    folder = opened(quota_bytes=4000)
    sizes = [folder.keep(record(part), picture(part)).bytes for part in range(12)]
    assert folder.bytes <= 4000
    assert folder.bytes == sum(path.stat().st_size for path in folder.path.glob("20*/*"))
    kept = [int(name.split("-")[-2]) for name in names(folder.path)]
    assert kept == list(range(12 - len(kept), 12))
    assert folder.bytes + max(sizes) > 4000, "no more were deleted than had to be"
    folder.close()


def test_an_entry_larger_than_the_quota_costs_no_other(opened: Open) -> None:
    folder = opened(quota_bytes=4000)
    folder.keep(record(1), picture())
    with pytest.raises(OSError, match="larger than the whole quota"):
        folder.keep(record(2), picture(0, (100, 100)))
    assert folder.entries == 1
    folder.close()


def test_old_entries_go_and_empty_days_with_them(opened: Open, clock: Clock) -> None:
    folder = opened(quota_s=100.0)
    folder.keep(record(1, time_s=NOON_S - 86400), picture())
    clock.pass_s(60)
    folder.keep(record(2), picture())
    assert folder.oldest_age_s() == 60
    folder.trim()
    assert folder.entries == 2
    clock.pass_s(41)
    folder.trim()
    assert [name.split("-")[-2] for name in names(folder.path)] == ["000002"]
    assert [path.name for path in folder.path.glob("20*")] == ["2026-03-01"]
    clock.pass_s(100)
    folder.trim()
    assert (folder.entries, folder.bytes, folder.oldest_age_s()) == (0, 0, 0.0)
    folder.close()


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0, 400 * 86400.0, -400 * 86400.0])
def test_a_wall_clock_that_jumps_deletes_nothing(opened: Open, clock: Clock, jump_s: float) -> None:
    folder = opened(quota_s=86400.0)
    folder.keep(record(1), picture())
    clock.wall_s += jump_s
    clock.pass_s(5)
    folder.trim()
    folder.keep(record(2, time_s=clock.wall_s), picture())
    folder.trim()
    assert folder.entries == 2
    assert folder.oldest_age_s() == 5
    folder.close()


def test_an_hour_that_comes_twice_overwrites_nothing(opened: Open) -> None:
    folder = opened()
    for part, run in ((1, "a" * 32), (2, "a" * 32), (1, "b" * 32)):
        folder.keep(record(part, run=run), picture())
    assert folder.entries == len(names(folder.path)) == 3
    folder.close()


class Disk:
    """Fails at the n-th file, after half of it was written."""

    def __init__(self, fails_at: int, number: int) -> None:
        self.countdown = fails_at
        self.number = number

    def __call__(self, path: Path, data: bytes) -> None:
        self.countdown -= 1
        if self.countdown == 0:
            path.write_bytes(data[: len(data) // 2])
            raise OSError(self.number, os.strerror(self.number))
        write_synced(path, data)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_leaves_no_half_entry(opened: Open, fails_at: int, number: int) -> None:
    folder = opened(write=Disk(3 + fails_at, number))
    folder.keep(record(1), picture(), picture(1, (8, 9, 3)))
    before = files(folder)
    with pytest.raises(OSError, match=os.strerror(number)):
        folder.keep(record(2), picture(), picture(1, (8, 9, 3)))
    assert files(folder) == before
    assert folder.entries == 1
    folder.keep(record(3), picture())  # there is room again
    assert folder.entries == 2
    folder.close()


def test_a_process_killed_in_the_middle_leaves_nothing_that_counts(opened: Open) -> None:
    folder = opened()
    folder.keep(record(1), picture())
    folder.close()
    day = folder.path / "2026-03-01"
    for name in ("120001-s-r-000002-fail.png.partial", "120002-s-r-000003-fail.png", "120002-s-r-000003-fail.map.jpg"):
        (day / name).write_bytes(b"half")
    (day / "notes.txt").write_text("somebody's own file")
    folder = opened()
    assert folder.entries == 1
    assert files(folder) == [
        "2026-03-01/120000-press.1-01234567-000001-fail.json",
        "2026-03-01/120000-press.1-01234567-000001-fail.png",
        "2026-03-01/notes.txt",
    ]
    folder.close()


@pytest.mark.parametrize("damage", ["garbage", "missing", "empty", "half"])
def test_a_lost_index_is_made_anew_from_the_files(opened: Open, clock: Clock, damage: str) -> None:
    folder = opened()
    for part in range(5):
        clock.pass_s(1)
        # Judged in the other order than kept: the clock was set back. What was kept first still goes first.
        folder.keep(record(part, time_s=NOON_S - 10 * part), picture(part))
    entries, size = folder.entries, folder.bytes
    folder.close()
    index = folder.path / INDEX
    for path in folder.path.glob(f"{INDEX}-*"):
        path.unlink()
    if damage == "missing":
        index.unlink()
    elif damage == "empty":
        index.write_bytes(b"")
    else:
        data = bytearray(index.read_bytes())
        data[: len(data) if damage == "garbage" else len(data) // 2] = os.urandom(
            len(data) if damage == "garbage" else len(data) // 2
        )
        index.write_bytes(data)
    again = opened(quota_s=4.5)
    assert (again.entries, again.bytes) == (entries, size)
    clock.pass_s(1)
    again.trim()
    assert sorted(name.split("-")[-2] for name in names(again.path)) == ["000001", "000002", "000003", "000004"]
    again.close()


def test_files_that_somebody_deleted_or_brought_back_are_noticed_at_the_next_start(opened: Open) -> None:
    folder = opened()
    for part in range(3):
        folder.keep(record(part), picture(part))
    saved = {path: path.read_bytes() for path in entry_files(folder.path, names(folder.path)[0])}
    folder.close()
    for path in (*saved, *entry_files(folder.path, names(folder.path)[1])):
        path.unlink()
    folder = opened()
    assert folder.entries == 1
    folder.close()
    for path, data in saved.items():
        path.write_bytes(data)
    folder = opened()
    assert folder.entries == 2
    folder.close()


def test_a_verdict_that_is_none_is_left_alone(opened: Open) -> None:
    folder = opened()
    folder.close()
    day = folder.path / "2026-03-01"
    day.mkdir()
    (day / "120000-s-r-000001-fail.json").write_text("[1, 2]")
    folder = opened()
    assert folder.entries == 0
    assert len(files(folder)) == 1
    folder.close()


def test_one_folder_serves_one_station(opened: Open) -> None:
    folder = opened()
    with pytest.raises(OSError, match="give each its own"):
        opened()
    folder.close()
    opened().close()


def test_a_file_in_the_folders_place_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("")
    with pytest.raises(OSError, match="exists"):
        ArchiveFolder(tmp_path / "archive", quota_bytes=1, quota_s=1.0)


def test_an_index_that_does_not_take_the_row_leaves_no_entry(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened()

    def full(entry: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(folder._index, "add", full)
    with pytest.raises(sqlite3.OperationalError):
        folder.keep(record(1), picture())
    assert files(folder) == []
    folder.close()


OUTLINES = {"image": "a", "defects": [{"area_px": 30}, {"area_px": 12}], "area_px": 42}
PICTURE = b"a picture of 60 bytes" + bytes(39)


def suffixes(folder: ArchiveFolder, part: int) -> set[str]:
    return {name.split("fail", 1)[1] for name in files(folder) if f"-{part:06d}-fail" in name}


def indexed(folder: ArchiveFolder, name: str) -> Entry:
    entry = folder._index.get(name)
    assert entry is not None
    return entry


def on_disk(folder: ArchiveFolder) -> int:
    return sum(path.stat().st_size for path in folder.path.glob("20*/*"))


def test_outlines_are_a_part_of_their_entry(opened: Open) -> None:
    folder = opened()
    entry = folder.keep(record(1, recipe_hash="ab12"), picture(), picture(1, (8, 9, 3)))
    assert folder.outline(entry.name, OUTLINES, PICTURE)
    assert suffixes(folder, 1) == {".json", ".png", ".map.jpg", ".outlines.json", ".outlines.png"}
    stored = indexed(folder, entry.name)
    assert (stored.defects, stored.defects_px, stored.problem, stored.refined) == (2, 42, None, True)
    assert stored.recipe_hash == "ab12"
    assert folder.bytes == stored.bytes == on_disk(folder)
    assert list(stored_entries(folder.path)) == [stored]
    assert (folder.path / f"{entry.name}.outlines.png").read_bytes() == PICTURE
    assert entry_frame(folder.path, entry.name) == (folder.path / f"{entry.name}.png").read_bytes()
    assert folder.outline(entry.name, OUTLINES | {"area_px": 1}, b""), "told twice"
    assert indexed(folder, entry.name) == stored
    folder.close()


def test_why_there_are_no_outlines_is_kept_without_a_picture(opened: Open) -> None:
    folder = opened()
    entry = folder.keep(record(1), picture())
    folder.outline(entry.name, {"problem": "too small"}, b"")
    assert suffixes(folder, 1) == {".json", ".png", ".outlines.json"}
    stored = indexed(folder, entry.name)
    assert (stored.defects, stored.problem, stored.refined) == (None, "too small", True)
    assert not folder.outline("2026-03-01/120000-press.1-01234567-000099-fail", OUTLINES, PICTURE)
    folder.close()


def test_outlines_count_in_the_quota_and_go_with_their_entry(opened: Open) -> None:
    folder = opened()
    entries = [folder.keep(record(part), picture(part)) for part in range(3)]
    quota_bytes = folder.bytes + 500
    folder.close()
    folder = opened(quota_bytes=quota_bytes)
    assert folder.outline(entries[2].name, OUTLINES, bytes(1000))
    assert suffixes(folder, 0) == set(), "it made room"
    assert folder.bytes == on_disk(folder) <= quota_bytes
    assert not folder.outline(entries[1].name, OUTLINES, bytes(quota_bytes - entries[1].bytes - 200))
    assert suffixes(folder, 1) == set(), "it was the oldest itself"
    with pytest.raises(OSError, match="larger than the whole quota"):
        folder.outline(folder.keep(record(4), picture()).name, OUTLINES, bytes(quota_bytes))
    for part in range(5, 12):
        folder.keep(record(part), picture(part))
    assert suffixes(folder, 2) == set()
    assert folder.bytes == on_disk(folder)
    folder.close()


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_disk_that_fails_leaves_the_entry_as_it_was(opened: Open, fails_at: int) -> None:
    folder = opened(write=Disk(2 + fails_at, errno.ENOSPC))
    entry = folder.keep(record(1), picture())
    before = files(folder)
    with pytest.raises(OSError, match="No space left"):
        folder.outline(entry.name, OUTLINES, PICTURE)
    assert files(folder) == before
    assert indexed(folder, entry.name) == entry
    assert folder.bytes == on_disk(folder)
    assert folder.outline(entry.name, OUTLINES, PICTURE)  # there is room again
    folder.close()


def test_an_index_that_does_not_take_outlines_leaves_none(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = opened()
    entry = folder.keep(record(1), picture())

    def full(entry: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(folder._index, "update", full)
    with pytest.raises(sqlite3.OperationalError):
        folder.outline(entry.name, OUTLINES, PICTURE)
    assert suffixes(folder, 1) == {".json", ".png"}
    folder.close()


def test_a_process_killed_while_it_wrote_outlines_leaves_whole_ones_or_none(opened: Open) -> None:
    folder = opened()
    entries = [folder.keep(record(part), picture(part)) for part in range(3)]
    folder.close()
    for part, names in ((0, (".outlines.png.partial", ".outlines.json.partial")), (1, (".outlines.png",))):
        for name in names:
            (folder.path / f"{entries[part].name}{name}").write_bytes(b"half")
    # Both renamed, the index not told.
    (folder.path / f"{entries[2].name}.outlines.png").write_bytes(PICTURE)
    (folder.path / f"{entries[2].name}.outlines.json").write_text(json.dumps(OUTLINES))
    folder = opened()
    assert [suffixes(folder, part) for part in range(2)] == [{".json", ".png"}] * 2
    assert [indexed(folder, entry.name).defects for entry in entries] == [None, None, 2]
    assert folder.bytes == on_disk(folder)
    oldest = folder._index.oldest()
    assert oldest is not None
    assert oldest.name == entries[0].name, "entries keep their places"
    folder.close()


def test_outlines_that_can_not_be_read_are_made_again(opened: Open) -> None:
    folder = opened()
    entry = folder.keep(record(1), picture())
    folder.outline(entry.name, OUTLINES, PICTURE)
    folder.close()
    (folder.path / f"{entry.name}.outlines.json").write_text("[]")
    (folder.path / INDEX).unlink()
    folder = opened()
    assert not indexed(folder, entry.name).refined
    assert folder.outline(entry.name, OUTLINES, PICTURE)
    assert folder.bytes == on_disk(folder)
    folder.close()


def test_an_index_of_the_former_version_is_made_anew(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    # Of the first release: it knows neither recipes nor outlines.
    folder = opened()
    entries = [folder.keep(record(part, recipe_hash="ab12"), picture(part)) for part in range(3)]
    folder.outline(entries[1].name, OUTLINES, PICTURE)
    expected = [indexed(folder, entry.name) for entry in entries]
    folder.close()
    index = folder.path / INDEX
    for path in folder.path.glob(f"{INDEX}*"):
        path.unlink()
    with sqlite3.connect(index) as link:
        link.execute(
            "CREATE TABLE entry (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, archived_s REAL, "
            "bytes INTEGER, time_s REAL, part INTEGER, decision TEXT, cause TEXT, score REAL, source TEXT)"
        )
        link.execute("INSERT INTO entry (name) VALUES ('2026-03-01/120000-s-r-000001-fail')")
    link.close()
    with pytest.raises(sqlite3.DatabaseError, match="of version 0"):
        ArchiveIndex(index, read_only=True)
    folder = opened()
    assert "made anew from the files" in caplog.text
    assert [indexed(folder, entry.name) for entry in entries] == expected
    assert folder.entries == 3
    assert [entry.part for entry in folder._index.unrefined("ab12")] == [2, 0]
    assert folder._index.count_unrefined("ab12") == 2
    assert folder._index.count_unrefined("cd34") == 0
    folder.close()
