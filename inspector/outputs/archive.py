"""The archive's folder: pictures and verdicts in files of their own, whole or not at all, within a quota.

An entry is ``YYYY-MM-DD/HHMMSS-STATION-RUN-PART-DECISION`` with the suffixes .png or .jpg (the frame), .map.jpg (the
anomaly map over it, where there is one) and .json (the verdict). Files are written under another name, flushed to the
disk (fsync) and renamed, the verdict last: an entry exists once its .json does. The folder itself is not flushed, so a
power cut may cost the last entries and never leaves half of one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import cv2

from inspector.domain.frame import Pixels
from inspector.outputs.archive_index import ArchiveIndex, Entry

log = logging.getLogger("inspector")

#: Name of the index within the folder.
INDEX = "index.sqlite"
_VERDICT = ".json"
_MAP = ".map.jpg"
_PARTIAL = ".partial"
#: Of an entry's files; the verdict is the first to go, and .map.jpg is told from .jpg.
_SUFFIXES = (_VERDICT, _MAP, ".png", ".jpg")
_DAYS = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def write_synced(path: Path, data: bytes) -> None:
    """Writes a new file and waits until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class ArchiveFolder:
    """An archive, open for one process. Nothing of it is on the line's way: every method may wait for the disk.

    Args:
        path: Made if it isn't there.
        quota_bytes: The files of all entries are kept below this; the oldest go first.
        quota_s: Older entries go.
        suffix: ".png" or ".jpg".
        clock_s: Seconds since 1970. Ages are measured with a clock of our own, which is this one at the opening and the
            monotonic one from then on: a wall clock that jumps must not empty an archive.
        monotonic_s: Monotonic clock.
        write: Writes a file.

    Attributes:
        entries: Number of entries.
        bytes: Sum of their files.

    Raises:
        OSError: The folder can't be used, or another process has it.
        sqlite3.Error: The index can't be used, and could not be made anew.
    """

    def __init__(
        self,
        path: Path,
        *,
        quota_bytes: int,
        quota_s: float,
        suffix: str = ".png",
        clock_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
        write: Callable[[Path, bytes], None] = write_synced,
    ) -> None:
        self.path = path
        self._quota_bytes = quota_bytes
        self._quota_s = quota_s
        self._suffix = suffix
        self._write = write
        self._monotonic_s = monotonic_s
        self._offset_s = clock_s() - monotonic_s()
        path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[bytes] = (path / ".lock").open("wb")
        try:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OSError(errno.EBUSY, "another station uses this folder; give each its own") from error
            self._index = self._open_index()
            try:
                self._reconcile()
                self.entries, self.bytes = self._index.totals()
            except BaseException:
                self._index.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def keep(self, record: dict[str, Any], pixels: Pixels, anomaly_map: Pixels | None = None) -> Entry:
        """Writes an entry.

        Args:
            record: The verdict, with "run", "station", "part", "decision" and "time".
            pixels: The frame, grey or RGB.
            anomaly_map: Drawn as a picture, RGB.

        Returns:
            The entry; its files are on the disk.

        Raises:
            OSError: The disk is full, read-only or gone; nothing of the entry is left.
            sqlite3.Error: The index can't take it; nothing of the entry is left.
        """
        label = time.localtime(record["time"])
        name = (
            f"{time.strftime('%Y-%m-%d/%H%M%S', label)}-{record['station']}-{record['run'][:8]}-{record['part']:06d}"
            f"-{record['decision']}"
        )
        files = {self._suffix: _encoded(self._suffix, pixels)}
        if anomaly_map is not None:
            files[_MAP] = _encoded(".jpg", anomaly_map)
        record = record | {"archived": self._now_s()}
        files[_VERDICT] = json.dumps(record, allow_nan=False).encode() + b"\n"
        entry = _entry(name, record, sum(map(len, files.values())))
        if entry.bytes > self._quota_bytes:
            raise OSError(errno.EDQUOT, "one entry is larger than the whole quota")
        self._make_room(entry.bytes)
        stem = self.path / name
        try:
            stem.parent.mkdir(exist_ok=True)
            for suffix, data in files.items():
                self._write(_with(stem, suffix + _PARTIAL), data)
            for suffix in files:
                _with(stem, suffix + _PARTIAL).rename(_with(stem, suffix))
            self._index.add(entry)
        except (OSError, sqlite3.Error):
            with contextlib.suppress(OSError):
                self._unlink(name)
            raise
        self.entries += 1
        self.bytes += entry.bytes
        return entry

    def trim(self) -> None:
        """Deletes what is older than the quota allows.

        Raises:
            OSError: A file can't be deleted.
            sqlite3.Error: The index can't be used.
        """
        while (oldest := self._index.oldest()) is not None and self._now_s() - oldest.archived_s > self._quota_s:
            self._delete(oldest)

    def oldest_age_s(self) -> float:
        """Age of the oldest entry; 0 without entries."""
        oldest = self._index.oldest()
        return 0.0 if oldest is None else max(0.0, self._now_s() - oldest.archived_s)

    def close(self) -> None:
        """Closes the index and lets go of the folder. Idempotent."""
        self._index.close()
        self._lock.close()

    def _now_s(self) -> float:
        return self._offset_s + self._monotonic_s()

    def _make_room(self, wanted_bytes: int) -> None:
        while self.bytes + wanted_bytes > self._quota_bytes and (oldest := self._index.oldest()) is not None:
            self._delete(oldest)

    def _delete(self, entry: Entry) -> None:
        self._unlink(entry.name)
        self._index.remove(entry.name)
        self.entries -= 1
        self.bytes -= entry.bytes
        with contextlib.suppress(OSError):  # not empty yet
            (self.path / entry.name).parent.rmdir()

    def _unlink(self, name: str) -> None:
        """Removes the files of an entry, whichever are there; the verdict first, so that no half is an entry."""
        stem = self.path / name
        for suffix in _SUFFIXES:
            for ending in (suffix, suffix + _PARTIAL):
                _with(stem, ending).unlink(missing_ok=True)

    def _open_index(self) -> ArchiveIndex:
        path = self.path / INDEX
        try:
            return ArchiveIndex(path)
        except sqlite3.OperationalError:  # locked, no space, no permission: it may well be whole
            raise
        except sqlite3.DatabaseError as error:
            log.error("archive: %s is damaged (%s), made anew from the files", path, error)
            for ending in ("", "-wal", "-shm"):
                path.with_name(path.name + ending).unlink(missing_ok=True)
            return ArchiveIndex(path)

    def _reconcile(self) -> None:
        """Makes the index say what the folder holds, whatever happened since; removes what is no whole entry."""
        known = self._index.names()
        there: dict[str, set[Path]] = {}
        for path in self.path.glob(f"{_DAYS}/*"):
            name = _entry_of(path)
            if name is not None:
                there.setdefault(name, set()).add(path)
        found = []
        for name, paths in there.items():
            if _with(self.path / name, _VERDICT) not in paths:
                self._unlink(name)
            elif name not in known:
                entry = _read(self.path, name, sum(path.stat().st_size for path in paths))
                found += [] if entry is None else [entry]
        for entry in sorted(found, key=lambda entry: entry.archived_s):
            self._index.add(entry)
        whole = {name for name, paths in there.items() if _with(self.path / name, _VERDICT) in paths}
        for name in known - whole:
            self._index.remove(name)


def stored_entries(path: Path) -> Iterator[Entry]:
    """All entries of an archive's folder by reading their files: for those who look at a copy without an index."""
    for verdict in sorted(path.glob(f"{_DAYS}/*{_VERDICT}"), reverse=True):
        name = f"{verdict.parent.name}/{verdict.name.removesuffix(_VERDICT)}"
        size = sum(file.stat().st_size for file in entry_files(path, name))
        entry = _read(path, name, size)
        if entry is not None:
            yield entry


def entry_files(path: Path, name: str) -> list[Path]:
    """The files of an entry that are there: verdict, picture, map."""
    stem = path / name
    files = (_with(stem, suffix) for suffix in _SUFFIXES)
    return [file for file in files if file.exists()]


def _entry_of(path: Path) -> str | None:
    """Name of the entry that a file belongs to; None for a file that is none of ours."""
    name = path.name.removesuffix(_PARTIAL)
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return f"{path.parent.name}/{name.removesuffix(suffix)}"
    return None


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _read(folder: Path, name: str, size_bytes: int) -> Entry | None:
    """The entry that its verdict's file tells of; None if the file is none of ours."""
    path = _with(folder / name, _VERDICT)
    try:
        return _entry(name, json.loads(path.read_bytes()), size_bytes)
    except (ValueError, KeyError, TypeError) as error:
        log.warning("archive: %s is no verdict (%s: %s), left alone", path, type(error).__name__, error)
        return None


def _entry(name: str, record: dict[str, Any], size_bytes: int) -> Entry:
    score = record["score"]
    return Entry(
        name=name,
        archived_s=float(record["archived"]),
        bytes=size_bytes,
        time_s=float(record["time"]),
        part=int(record["part"]),
        decision=str(record["decision"]),
        cause=str(record["cause"]),
        score=None if score is None else float(score),
        source=str(record["source"]),
    )


def _encoded(suffix: str, pixels: Pixels) -> bytes:
    image = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, image)[1].tobytes()
