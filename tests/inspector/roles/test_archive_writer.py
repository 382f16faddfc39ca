"""The thread behind the archive: a disk that fails, hangs or loses its index costs entries, each of them counted."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.domain.frame import Pixels
from inspector.outputs.archive import INDEX, ArchiveFolder, stored_entries
from inspector.roles import archive_writer as module
from inspector.roles.archive_writer import ArchiveWriter
from inspector.wire.archive_socket import ArchivedOutlines

PATIENCE_S = 20.0


def record(part: int) -> dict[str, Any]:
    return {
        "run": "0" * 32,
        "station": "s",
        "part": part,
        "trigger": part,
        "decision": "fail",
        "cause": "score_above_threshold",
        "score": 2.0,
        "source": "",
        "time": 1.7e9,
    }


PIXELS = np.zeros((4, 4), np.uint8)


def opener(path: Path, **changes: Any) -> Callable[[], ArchiveFolder]:
    return lambda: ArchiveFolder(path, quota_bytes=10_000_000, quota_s=1e9, **changes)


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_entries_are_written_and_told(tmp_path: Path) -> None:
    writer = ArchiveWriter(opener(tmp_path), 100)
    writer.start()
    for part in range(10):
        writer.offer(record(part), PIXELS)
    writer.stop(PATIENCE_S)
    counts = writer.counts()
    assert (counts["written"], counts["entries"], counts["waiting"]) == (10, 10, 0)
    assert counts["failed"] == counts["overrun"] == 0
    assert counts["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("20*/*"))


def test_a_disk_that_hangs_costs_what_does_not_fit_and_nobody_waits(tmp_path: Path) -> None:
    goes_on = threading.Event()

    def slow(path: Path, data: bytes) -> None:
        assert goes_on.wait(PATIENCE_S)
        path.write_bytes(data)

    writer = ArchiveWriter(opener(tmp_path, write=slow), 3)
    writer.start()
    writer.offer(record(0), PIXELS)
    wait_for(lambda: writer.counts()["waiting"] == 0)  # the thread has it, and hangs
    for part in range(1, 10):
        writer.offer(record(part), PIXELS)
    assert (writer.overrun, writer.written) == (6, 0)
    writer.stop(0.01)  # the end does not wait for such a disk either
    goes_on.set()
    wait_for(lambda: writer.written == 4)
    writer.stop(PATIENCE_S)


def test_a_full_disk_is_counted_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = True

    def write(path: Path, data: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    writer = ArchiveWriter(opener(tmp_path, write=write), 100)
    writer.start()
    for part in range(5):
        writer.offer(record(part), PIXELS)
    wait_for(lambda: writer.failed == 5)
    full = False
    writer.offer(record(5), PIXELS)
    writer.stop(PATIENCE_S)
    assert (writer.written, writer.failed) == (1, 5)
    assert caplog.text.count("No space left on device; entries are lost until it works again") == 1


def test_a_folder_that_is_not_there_yet_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REOPEN_S", 0.0)
    folder = tmp_path / "archive"
    folder.write_text("a file in its place")
    writer = ArchiveWriter(opener(folder), 100)
    writer.start()
    writer.offer(record(0), PIXELS)
    wait_for(lambda: writer.failed == 1)
    folder.unlink()
    writer.offer(record(1), PIXELS)
    writer.stop(PATIENCE_S)
    assert (writer.written, writer.failed) == (1, 1)


def test_an_index_damaged_while_it_runs_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REOPEN_S", 0.0)
    folders: list[ArchiveFolder] = []

    def remembered() -> ArchiveFolder:
        folders.append(opener(tmp_path)())
        return folders[-1]

    writer = ArchiveWriter(remembered, 100)
    writer.start()
    writer.offer(record(0), PIXELS)
    wait_for(lambda: writer.written == 1)

    def damaged(entry: Any) -> None:
        (tmp_path / INDEX).write_bytes(b"\xff" * 8192)
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(folders[0]._index, "add", damaged)
    writer.offer(record(1), PIXELS)
    writer.offer(record(2), PIXELS)
    writer.stop(PATIENCE_S)
    assert (writer.written, writer.failed, len(folders)) == (2, 1, 2)
    assert writer.counts()["entries"] == 2
    assert len(list(stored_entries(tmp_path))) == 2


def test_outlines_are_written_and_make_way_for_entries(tmp_path: Path) -> None:
    goes_on = threading.Event()
    waits = False

    def slow(path: Path, data: bytes) -> None:
        assert not waits or goes_on.wait(PATIENCE_S)
        path.write_bytes(data)

    writer = ArchiveWriter(opener(tmp_path, write=slow), 4)
    writer.start()
    for part in range(2):
        writer.offer(record(part), PIXELS)
    wait_for(lambda: writer.written == 2)
    first, second = (entry.name for entry in stored_entries(tmp_path))
    writer.outline(ArchivedOutlines(first, {"defects": [], "area_px": 0}, b"picture"))
    writer.outline(ArchivedOutlines("somebody else's", {"problem": ""}, b""))
    wait_for(lambda: next(stored_entries(tmp_path)).defects == 0)
    waits = True
    writer.offer(record(2), PIXELS)
    wait_for(lambda: writer.counts()["waiting"] == 0)  # the thread has it, and waits for the disk
    for part in range(3, 6):
        writer.offer(record(part), PIXELS)
    writer.outline(ArchivedOutlines(second, {"problem": "too late"}, b""))
    goes_on.set()
    writer.stop(PATIENCE_S)
    assert (writer.written, writer.failed, writer.overrun) == (6, 0, 0)
    assert sum(entry.refined for entry in stored_entries(tmp_path)) == 1
    assert writer.counts()["bytes"] == sum(path.stat().st_size for path in tmp_path.glob("20*/*"))


def test_outlines_that_the_disk_does_not_take_are_no_lost_entry(tmp_path: Path) -> None:
    full = False

    def write(path: Path, data: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    writer = ArchiveWriter(opener(tmp_path, write=write), 10)
    writer.start()
    writer.offer(record(0), PIXELS)
    wait_for(lambda: writer.written == 1)
    full = True
    (entry,) = stored_entries(tmp_path)
    writer.outline(ArchivedOutlines(entry.name, {"problem": "x"}, b""))
    writer.stop(PATIENCE_S)
    assert (writer.written, writer.failed) == (1, 0)
    assert list(stored_entries(tmp_path)) == [entry]


def test_maps_are_drawn_while_there_is_time_and_a_map_that_fails_costs_only_itself(tmp_path: Path) -> None:
    goes_on = threading.Event()
    drawn: list[int] = []

    def draw(pixels: Pixels) -> Pixels:
        drawn.append(int(pixels[0, 0]))
        assert goes_on.wait(PATIENCE_S)
        if pixels[0, 0] == 0:
            raise ValueError("no map of this one")
        return np.zeros((4, 4, 3), np.uint8)

    writer = ArchiveWriter(opener(tmp_path), 4, lambda: draw)
    writer.start()
    wait_for(lambda: writer._draw_map is not None)
    writer.offer(record(0), PIXELS)
    wait_for(lambda: drawn == [0])
    for part in range(1, 5):
        writer.offer(record(part), PIXELS + np.uint8(part))
    goes_on.set()
    wait_for(lambda: writer.written == 5)
    writer.stop(PATIENCE_S)
    assert drawn == [0, 2, 3, 4]  # part 1 went without: three others waited
    maps = sorted(path.name for path in tmp_path.glob("20*/*.map.jpg"))
    assert [name.split("-")[-2] for name in maps] == ["000002", "000003", "000004"]
