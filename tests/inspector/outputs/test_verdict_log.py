"""Every verdict gets its line, and a disk that is slow or full costs records, never the line's time."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.domain.errors import ConfigError
from inspector.outputs.verdict_log import VerdictLog


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.002)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Disk:
    """Stands for the file: writes in pieces, refuses, or holds on, as it is told."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.piece = 1 << 20
        self.room = 1 << 60
        self.open = threading.Event()
        self.open.set()

    def write(self, data: bytes) -> int:
        self.open.wait(20)
        length = min(len(data), self.piece, self.room)
        if length == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= length
        return int(self.file.write(data[:length]))

    def close(self) -> None:
        self.file.close()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Disk]:
    """The disk under the log that is opened next."""
    disks: list[Disk] = []
    whole = Path.open

    def opened(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        file = whole(path, mode, *arguments, **options)
        if mode != "ab":
            return file
        disks.append(Disk(file))
        return disks[-1]

    monkeypatch.setattr(Path, "open", opened)
    return lambda: disks[-1]


def test_records_are_lines_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "made" / "verdicts.jsonl"
    log = VerdictLog(path, 10_000)
    records = [{"part": part, "source": "Straße\n", "score": None} for part in range(2000)]
    for record in records:
        log.append(record)
    log.close()
    assert lines(path) == records
    assert (log.dropped, log.waiting) == (0, 0)


def test_former_runs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    for part in range(2):
        log = VerdictLog(path, 10)
        log.append({"part": part})
        log.close()
        log.close()
    assert lines(path) == [{"part": 0}, {"part": 1}]


def test_record_is_on_the_disk_soon_without_a_close(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    log = VerdictLog(path, 10)
    log.append({"part": 1})
    until(lambda: path.read_text() == '{"part": 1}\n')
    log.close()


def test_slow_disk_costs_the_records_beyond_the_bound(tmp_path: Path, disk: Callable[[], Disk]) -> None:
    path = tmp_path / "verdicts.jsonl"
    log = VerdictLog(path, 3)
    disk().open.clear()
    log.append({"part": 0})
    until(lambda: log.waiting == 0)  # the writer holds it
    for part in range(1, 8):
        log.append({"part": part})
    assert (log.waiting, log.dropped) == (3, 4)
    disk().open.set()
    log.close()
    assert lines(path) == [{"part": part} for part in range(4)]
    assert log.dropped == 4


@pytest.mark.parametrize(("room", "told"), [(2, 2), (10, 3)], ids=["full", "with room"])
def test_disk_that_hangs_does_not_hold_the_end_up_and_what_it_has_not_taken_is_told(
    tmp_path: Path, disk: Callable[[], Disk], caplog: pytest.LogCaptureFixture, room: int, told: int
) -> None:
    """With room in the queue the records were once lost without a word."""
    log = VerdictLog(tmp_path / "verdicts.jsonl", room)
    disk().open.clear()
    for part in range(3):
        log.append({"part": part})
        until(lambda part=part: log.waiting <= part)  # type: ignore[misc]
    log.close(timeout_s=0.05)
    assert f"{told} records not written, the disk is too slow" in caplog.text
    disk().open.set()
    until(lambda: log.waiting == 0)
    disk().close()


def test_writes_that_take_a_part_only_make_whole_lines(tmp_path: Path, disk: Callable[[], Disk]) -> None:
    path = tmp_path / "verdicts.jsonl"
    log = VerdictLog(path, 100)
    disk().piece = 3
    for part in range(50):
        log.append({"part": part})
    log.close()
    assert lines(path) == [{"part": part} for part in range(50)]


@pytest.mark.parametrize("room", range(0, 40, 3))
def test_full_disk_costs_records_and_leaves_the_others_whole(
    tmp_path: Path, disk: Callable[[], Disk], caplog: pytest.LogCaptureFixture, room: int
) -> None:
    # A buffer kept what the disk had refused: refused records came out later although they were counted as dropped,
    # and the end of the log raised an error.
    path = tmp_path / "verdicts.jsonl"
    log = VerdictLog(path, 100)
    disk().room = room
    for part in range(10):
        log.append({"part": part})
    until(lambda: log.waiting == 0 and log.dropped == 10 - room // 12)
    disk().room = 1 << 60
    log.append({"part": 10})
    log.append({"part": 11})
    log.close()
    assert log.dropped == 10 - room // 12
    torn = [line for line in path.read_text().splitlines() if not line.endswith("}")]
    assert [len(line) for line in torn] == ([room % 12] if room % 12 else [])
    whole = [json.loads(line)["part"] for line in path.read_text().splitlines() if line.endswith("}")]
    assert whole == [*range(room // 12), 10, 11]
    assert caplog.text.count("records are dropped until it works again") == 1


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Sets how large a file of this process may grow, and undoes it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_file_that_cannot_grow_is_told_once_and_used_again(
    tmp_path: Path, small_files: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    # The real thing: the kernel takes the part of a record that still fits, and refuses the rest.
    caplog.set_level(logging.ERROR)
    path = tmp_path / "verdicts.jsonl"
    log = VerdictLog(path, 100)
    small_files(30)
    for part in range(10):
        log.append({"part": part})
    until(lambda: log.waiting == 0 and log.dropped == 8)
    small_files(1 << 30)
    log.append({"part": 10})
    log.close()
    assert path.read_text() == '{"part": 0}\n{"part": 1}\n{"part\n{"part": 10}\n'
    assert caplog.text.count("File too large") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_that_stays_full_to_the_end_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    log = VerdictLog(Path("/dev/full"), 100)
    for part in range(5):
        log.append({"part": part})
    log.close()
    assert log.dropped == 5
    assert "No space left" in caplog.text


def test_no_path_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = VerdictLog(None, 1)
    for _ in range(3):
        log.append({"part": 1})
    log.close()
    assert (log.dropped, log.waiting) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_place_that_cannot_be_written_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "verdicts.jsonl"):
        with pytest.raises(ConfigError, match=r"verdicts\.log: .* can't be written"):
            VerdictLog(path, 10)


def test_a_renamed_file_is_left_and_no_record_is_lost_between(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    log = VerdictLog(path, 100)
    log.append({"part": 1})
    until(lambda: path.stat().st_size > 0)
    path.rename(tmp_path / "verdicts.jsonl.1")
    log.append({"part": 2})
    until(lambda: len(lines(tmp_path / "verdicts.jsonl.1")) == 2)
    log.reopen()
    log.append({"part": 3})
    log.close()
    assert lines(tmp_path / "verdicts.jsonl.1") == [{"part": 1}, {"part": 2}]
    assert lines(path) == [{"part": 3}]
    assert log.dropped == 0


def test_where_no_new_file_can_be_made_the_records_go_on_into_the_one_so_far(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    path = folder / "verdicts.jsonl"
    log = VerdictLog(path, 100)
    moved = tmp_path / "moved"
    folder.rename(moved)
    folder.write_text("in the way")
    log.reopen()
    log.append({"part": 1})
    log.close()
    assert lines(moved / "verdicts.jsonl") == [{"part": 1}]
    assert "can't be opened anew" in caplog.text
