"""The archive's folder: pictures and verdicts in files of their own, whole or not at all, within a quota.

An entry is ``YYYY-MM-DD/HHMMSS-STATION-RUN-PART-DECISION`` with the suffixes .png or .jpg (the frame), .map.jpg (the
anomaly map over it, where there is one) and .json (the verdict). Files are written under another name, flushed to the
disk (fsync) and renamed, the verdict last: an entry exists once its .json does. The folder itself is not flushed, so a
power cut may cost the last entries and never leaves half of one.

Later a refinement may add .outlines.png (the frame with the outlines of its defects) and .outlines.json (the outlines,
or why there are none), in the same way, the picture first.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
_OUTLINES = ".outlines.json"
_OUTLINED = ".outlines.png"
_PARTIAL = ".partial"
_FRAMES = (".png", ".jpg")
#: Of an entry's files; the verdict is the first to go.
_SUFFIXES = (_VERDICT, _OUTLINES, _OUTLINED, _MAP, *_FRAMES)
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
                _unlink(stem)
            raise
        self.entries += 1
        self.bytes += entry.bytes
        return entry

    def outline(self, name: str, record: dict[str, Any], picture: bytes) -> bool:
        """Adds what a refinement found to an entry.

        Args:
            name: Of the entry.
            record: With "defects" (a list) and "area_px", or with "problem", why it can't be refined.
            picture: The frame with its outlines as a PNG file; empty writes none.

        Returns:
            False if there is no such entry, any more perhaps.

        Raises:
            OSError: The disk is full, read-only or gone, or the quota too small; the entry is as it was before.
            sqlite3.Error: The index can't take it; the entry is as it was before.
        """
        entry = self._index.get(name)
        if entry is None:
            return False
        if entry.refined:  # told twice
            return True
        files = {_OUTLINED: picture} if picture else {}
        files[_OUTLINES] = json.dumps(record, allow_nan=False).encode() + b"\n"
        stem = self.path / name
        wanted_bytes = sum(map(len, files.values()))
        if entry.bytes + wanted_bytes > self._quota_bytes:
            raise OSError(errno.EDQUOT, "one entry with its outlines is larger than the whole quota")
        self._make_room(wanted_bytes)
        if self._index.get(name) is None:  # it was the oldest itself
            return False
        try:
            for suffix, data in files.items():
                self._write(_with(stem, suffix + _PARTIAL), data)
            for suffix in files:
                _with(stem, suffix + _PARTIAL).rename(_with(stem, suffix))
            outlined = _outlined(replace(entry, bytes=_size(self.path, name)), record)
            self._index.update(outlined)
        except (OSError, sqlite3.Error):
            with contextlib.suppress(OSError):
                _unlink(stem, (_OUTLINES, _OUTLINED))
            raise
        self.bytes += outlined.bytes - entry.bytes
        return True

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
        _unlink(self.path / entry.name)
        self._index.remove(entry.name)
        self.entries -= 1
        self.bytes -= entry.bytes
        with contextlib.suppress(OSError):  # not empty yet
            (self.path / entry.name).parent.rmdir()

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
            stem = self.path / name
            if _with(stem, _VERDICT) not in paths:
                _unlink(stem)
                continue
            outlined = _with(stem, _OUTLINES) in paths
            for path in paths:
                if path.name.endswith(_PARTIAL) or (path == _with(stem, _OUTLINED) and not outlined):
                    path.unlink(missing_ok=True)
            if name not in known or (outlined and not known[name]):
                entry = _read(self.path, name)
                found += [] if entry is None else [entry]
        for entry in sorted(found, key=lambda entry: entry.archived_s):
            if entry.name in known:
                self._index.update(entry)
            else:
                self._index.add(entry)
        whole = {name for name, paths in there.items() if _with(self.path / name, _VERDICT) in paths}
        for name in known.keys() - whole:
            self._index.remove(name)


def stored_entries(path: Path) -> Iterator[Entry]:
    """All entries of an archive's folder by reading their files: for those who look at a copy without an index."""
    for verdict in sorted(path.glob(f"{_DAYS}/*{_VERDICT}"), reverse=True):
        if verdict.name.endswith(_OUTLINES):
            continue
        entry = _read(path, f"{verdict.parent.name}/{verdict.name.removesuffix(_VERDICT)}")
        if entry is not None:
            yield entry


def entry_files(path: Path, name: str) -> list[Path]:
    """The files of an entry that are there: verdict, outlines, map, frame."""
    stem = path / name
    files = (_with(stem, suffix) for suffix in _SUFFIXES)
    return [file for file in files if file.exists()]


def entry_frame(path: Path, name: str) -> bytes:
    """The file that holds the frame of an entry.

    Raises:
        OSError: It can't be read; FileNotFoundError where the entry is gone.
    """
    stem = path / name
    frames = (_with(stem, suffix) for suffix in _FRAMES)
    return next((frame for frame in frames if frame.exists()), _with(stem, _FRAMES[0])).read_bytes()


def _entry_of(path: Path) -> str | None:
    """Name of the entry that a file belongs to; None for a file that is none of ours."""
    name = path.name.removesuffix(_PARTIAL)
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):  # .outlines.json is told from .json, .map.jpg from .jpg
        if name.endswith(suffix):
            return f"{path.parent.name}/{name.removesuffix(suffix)}"
    return None


def _with(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _unlink(stem: Path, suffixes: Sequence[str] = _SUFFIXES) -> None:
    """Removes files of an entry, whichever are there; the verdict first, so that no half is an entry."""
    for suffix in suffixes:
        for ending in (suffix, suffix + _PARTIAL):
            _with(stem, ending).unlink(missing_ok=True)


def _size(folder: Path, name: str) -> int:
    return sum(file.stat().st_size for file in entry_files(folder, name))


def _read(folder: Path, name: str) -> Entry | None:
    """The entry that its files tell of; None if the verdict is none of ours."""
    path = _with(folder / name, _VERDICT)
    try:
        entry = _entry(name, json.loads(path.read_bytes()), _size(folder, name))
    except (ValueError, KeyError, TypeError) as error:
        log.warning("archive: %s is no verdict (%s: %s), left alone", path, type(error).__name__, error)
        return None
    path = _with(folder / name, _OUTLINES)
    try:
        return _outlined(entry, json.loads(path.read_bytes())) if path.exists() else entry
    except (ValueError, KeyError, TypeError) as error:
        log.warning("archive: %s holds no outlines (%s: %s)", path, type(error).__name__, error)
        return entry


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
        recipe_hash=str(record.get("recipe_hash", "")),
    )


def _outlined(entry: Entry, record: dict[str, Any]) -> Entry:
    """The entry with what a refinement says of it."""
    if "problem" in record:
        return replace(entry, problem=str(record["problem"]))
    return replace(entry, defects=len(record["defects"]), defects_px=int(record["area_px"]))


def _encoded(suffix: str, pixels: Pixels) -> bytes:
    image = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, image)[1].tobytes()
