"""The verdicts' JSON-lines file, written by a thread so that a slow or full disk never holds a verdict up."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
from io import FileIO
from pathlib import Path
from typing import Any

from inspector.domain.errors import ConfigError

log = logging.getLogger("inspector")


class VerdictLog:
    """Appends records to a file, each whole on a line of its own.

    Args:
        path: The file; None writes nothing.
        capacity: Records that may wait.

    Raises:
        ConfigError: The file can't be opened.
    """

    def __init__(self, path: Path | None, capacity: int) -> None:
        self._refused = 0
        self._unwritten = 0
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(capacity)
        self._thread: threading.Thread | None = None
        self._file: FileIO | None = None
        self._path = path
        self._reopen = False
        if path is None:
            return
        try:
            self._file = _opened(path)
        except OSError as error:
            raise ConfigError(f"verdicts.log: {path} can't be written: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write, name="verdict-log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records not written yet."""
        return self._queue.qsize()

    @property
    def dropped(self) -> int:
        """Records that were not written: the queue was full, or the disk was."""
        return self._refused + self._unwritten

    def append(self, record: dict[str, Any]) -> None:
        """Takes a record; never waits."""
        if self._file is None:
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._refused += 1

    def reopen(self) -> None:
        """Goes on in a file of the same name: the one so far was renamed, by logrotate for example. Never waits."""
        self._reopen = True

    def close(self, timeout_s: float = 2.0) -> None:
        """Writes what is left, for at most `timeout_s` seconds. Idempotent."""
        if self._thread is None or self._file is None:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)
        if self._thread.is_alive():  # with a record in its hands, for which the last that waits, the end, is counted
            log.error("verdict log: %d records not written, the disk is too slow", self.waiting)
        else:
            self._file.close()
        self._thread = None

    def _write(self) -> None:
        assert self._file is not None
        failing = torn = False
        while (record := self._queue.get()) is not None:
            if self._reopen:
                self._reopen = False
                torn = self._follow() and torn
            line = rest = json.dumps(record, allow_nan=False).encode() + b"\n"
            try:
                if torn:
                    self._file.write(b"\n")
                    torn = False
                while rest:
                    rest = rest[self._file.write(rest) :]
                failing = False
            except OSError as error:
                self._unwritten += 1
                torn = torn or rest != line  # part of it is on the disk; the next record begins a new line
                if not failing:
                    log.error("verdict log: %s; records are dropped until it works again", error.strerror)
                failing = True

    def _follow(self) -> bool:
        """Opens the file anew; False if it could, True if the records go on to the one so far."""
        assert self._file is not None
        assert self._path is not None
        try:
            new = _opened(self._path)
        except OSError as error:
            log.error("verdict log: %s can't be opened anew: %s", self._path, error.strerror)
            return True
        self._file.close()
        self._file = new
        return False


def _opened(path: Path) -> FileIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab", buffering=0)  # a buffer would keep what a full disk refused
