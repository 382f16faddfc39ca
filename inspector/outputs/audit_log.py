"""The audit log: who changed what on the line, when and why; only ever added to, each record chained to the former."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from inspector.domain.errors import ConfigError, DataError

_FIRST = "0" * 64


def _now() -> datetime:
    return datetime.now(timezone.utc)


class AuditLog:
    """Appends records to a JSON-lines file and forces each to the disk.

    Each record holds the hash of the line before it, so that a line that was changed or taken out shows.

    Args:
        path: The file; None writes nothing.
        now: Wall time, for the label.

    Raises:
        ConfigError: The file can't be opened.
    """

    def __init__(self, path: Path | None, now: Callable[[], datetime] = _now) -> None:
        self._path = path
        self._now = now
        self._former = _FIRST
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o640, exist_ok=True)
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise ConfigError(f"audit_log: {path} can't be written: {error.strerror}") from error
        if lines:
            self._former = _hash(lines[-1])

    def append(self, what: str, *, who: str, why: str, **facts: Any) -> None:
        """Writes a record and waits until the disk has it.

        Raises:
            OSError: The disk is full or failing; what was to be done must not be done.
        """
        if self._path is None:
            return
        record = {"time": self._now().isoformat(), "what": what, "who": who, "why": why, **facts}
        line = json.dumps({**record, "former": self._former}, allow_nan=False).encode()
        with self._path.open("ab", buffering=0) as file:
            file.write(line + b"\n")
            os.fsync(file.fileno())
        self._former = _hash(line)


def read_audit(path: Path) -> list[dict[str, Any]]:
    """The records of an audit log, oldest first, their chain checked.

    Raises:
        DataError: It can't be read, or a line was changed, added in between or taken out.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from error
    records, former = [], _FIRST
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = {}
        if record.get("former") != former:
            raise DataError(f"{path}, line {number}: does not follow the line before it; the log was changed")
        records.append(record)
        former = _hash(line)
    return records


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
