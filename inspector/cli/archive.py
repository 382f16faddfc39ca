"""`inspector archive`: look at what is kept, and copy some of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from itertools import islice
from pathlib import Path

from inspector.config.schema import InspectorConfig
from inspector.domain.errors import ConfigError, DataError
from inspector.outputs.archive import INDEX, entry_files, stored_entries
from inspector.outputs.archive_index import ArchiveIndex, Entry


def archive_folder(config: InspectorConfig) -> Path:
    """The archive's folder.

    Raises:
        ConfigError: No archive is configured.
        DataError: Nothing is there yet.
    """
    if config.archive is None:
        raise ConfigError("no archive is configured; add a section 'archive:' with a folder")
    if not config.archive.folder.is_dir():
        raise DataError(f"{config.archive.folder}: no such archive; the line makes it when it runs")
    return config.archive.folder


def archive_table(
    folder: Path, *, decision: str | None, since: datetime | None, limit: int, as_json: bool = False
) -> str:
    """What the archive holds, latest first.

    Args:
        folder: Of the archive; a running line may write to it.
        decision: Only these; None for all.
        since: Only parts judged then or later, in local time; None for all.
        limit: Entries at most.
        as_json: A JSON list in place of a table.
    """
    found = list(_entries(folder, decision, since, limit))
    if as_json:
        return json.dumps([asdict(entry) for entry in found], indent=2)
    if not found:
        return f"{folder}: no such entries"
    lines = [f"{'judged':19}  {'part':>8}  {'decision':13}  {'score':>10}  {'cause':24}  {'defects':16}  entry"]
    for entry in found:
        judged = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time_s))
        score = "" if entry.score is None else f"{entry.score:.6g}"
        lines.append(
            f"{judged:19}  {entry.part:>8}  {entry.decision:13}  {score:>10}  {entry.cause:24}  {_defects(entry):16}  "
            f"{entry.name}"
        )
    return "\n".join(lines)


def _defects(entry: Entry) -> str:
    """What a refinement found."""
    if entry.problem is not None:
        return "not refined"
    return "" if entry.defects is None else f"{entry.defects}, {entry.defects_px} px"


def export_entries(folder: Path, target: Path, *, decision: str | None, since: datetime | None, limit: int) -> str:
    """Copies entries into a folder, all files of each.

    Args:
        folder: Of the archive.
        target: Made if it isn't there; files in it are not overwritten by others.
        decision: As for `archive_table`.
        since: As for `archive_table`.
        limit: As for `archive_table`.

    Returns:
        What was copied.

    Raises:
        DataError: It can't be written.
    """
    copied = gone = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        for entry in _entries(folder, decision, since, limit):
            files = entry_files(folder, entry.name)
            try:
                for file in files:
                    shutil.copy2(file, target / f"{file.parent.name}-{file.name}")
            except FileNotFoundError:  # the quota took it just now
                files = []
            copied, gone = copied + bool(files), gone + (not files)
    except OSError as error:
        raise DataError(f"{target}: can't be written: {error.strerror or error}; choose another folder") from error
    lost = f"; {gone} more were deleted meanwhile" if gone else ""
    return f"{target}: {copied} entries copied{lost}"


def _entries(folder: Path, decision: str | None, since: datetime | None, limit: int) -> Iterator[Entry]:
    """From the index where it can be read, else from the files."""
    since_s = None if since is None else since.timestamp()
    try:
        index = ArchiveIndex(folder / INDEX, read_only=True)
    except sqlite3.Error:
        wanted = (
            entry
            for entry in stored_entries(folder)
            if decision in (None, entry.decision) and entry.time_s >= (since_s or 0.0)
        )
        yield from islice(wanted, limit)
        return
    try:
        yield from islice(index.find(decision=decision, since_s=since_s), limit)
    except sqlite3.Error as error:
        raise DataError(f"{folder / INDEX}: can't be read: {error}; it is made anew when the line starts") from error
    finally:
        index.close()
