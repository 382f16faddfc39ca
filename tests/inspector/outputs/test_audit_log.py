"""Every change of the line is on the disk before it is made, and can't be changed unseen."""

from __future__ import annotations

import errno
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from inspector.domain.errors import ConfigError, DataError
from inspector.outputs.audit_log import AuditLog, read_audit

NOON = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


def written(path: Path, count: int = 3) -> Path:
    for number in range(count):  # a new process each time
        AuditLog(path, lambda: NOON).append("activate", who="maier (uid 7)", why=f"batch {number}", recipe=f"r{number}")
    return path


def test_records_say_what_who_when_and_why(tmp_path: Path) -> None:
    records = read_audit(written(tmp_path / "deep" / "audit.jsonl"))
    assert [record["why"] for record in records] == ["batch 0", "batch 1", "batch 2"]
    assert records[1] | {"former": ""} == {
        "time": "2026-05-04T12:00:00+00:00",
        "what": "activate",
        "who": "maier (uid 7)",
        "why": "batch 1",
        "recipe": "r1",
        "former": "",
    }


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_line_that_was_changed_or_taken_out_shows(tmp_path: Path, number: int) -> None:
    path = written(tmp_path / "audit.jsonl", 4)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:number], lines[number].replace("maier", "huber"), *lines[number + 1 :]]))
    with pytest.raises(DataError, match=f"line {number + 2}: does not follow"):
        read_audit(path)
    path.write_text("".join([*lines[:number], *lines[number + 1 :]]))
    with pytest.raises(DataError, match=f"line {number + 1}: does not follow"):
        read_audit(path)


def test_a_torn_line_shows(tmp_path: Path) -> None:
    path = written(tmp_path / "audit.jsonl")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="line 3"):
        read_audit(path)


def test_none_writes_nothing_and_an_impossible_place_is_told(tmp_path: Path) -> None:
    AuditLog(None).append("pause", who="root", why="")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"audit_log: .*can't be written"):
        AuditLog(tmp_path / "file" / "audit.jsonl")


def test_a_full_disk_is_an_error_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    audit = AuditLog(tmp_path / "audit.jsonl")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        audit.append("activate", who="root", why="")
