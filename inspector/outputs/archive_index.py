"""The archive's index: one SQLite file (WAL) that can be made anew from the archive's own files at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    archived_s REAL NOT NULL,
    bytes INTEGER NOT NULL,
    time_s REAL NOT NULL,
    part INTEGER NOT NULL,
    decision TEXT NOT NULL,
    cause TEXT NOT NULL,
    score REAL,
    source TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_time ON entry (time_s);
"""
_COLUMNS = "name, archived_s, bytes, time_s, part, decision, cause, score, source"


@dataclass(frozen=True)
class Entry:
    """What the index knows of an entry.

    Attributes:
        name: Path of its files within the archive, without their suffixes.
        archived_s: When it was kept, seconds since 1970 by the archive's own clock; its age counts from here.
        bytes: Sum of its files.
        time_s: When it was judged, seconds since 1970 by the wall clock; a label.
        part: Number of the part in its run.
        decision: "pass", "fail" or "not_inspected".
        cause: Of the verdict.
        score: None where there is none.
        source: Label of the frame.
    """

    name: str
    archived_s: float
    bytes: int
    time_s: float
    part: int
    decision: str
    cause: str
    score: float | None
    source: str

    def row(self) -> tuple[str | float | None, ...]:
        """Its values in the order of the columns."""
        return tuple(vars(self).values())


class ArchiveIndex:
    """The index, open.

    WAL with ``synchronous=NORMAL``: a power cut may cost the last rows, never the file's consistency; the rows come
    back from the files at the next start.

    Args:
        path: The file.
        read_only: For those who only look.

    Raises:
        sqlite3.Error: It can't be opened, or is damaged.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        mode = "ro" if read_only else "rwc"
        self._link = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=2.0)
        try:
            if not read_only:
                self._link.execute("PRAGMA journal_mode=WAL")
                self._link.execute("PRAGMA synchronous=NORMAL")
                self._link.executescript(_SCHEMA)
            (verdict,) = self._link.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(str(verdict))
        except sqlite3.Error:
            self._link.close()
            raise

    def add(self, entry: Entry) -> None:
        """Puts an entry at the end."""
        marks = ", ".join("?" * len(entry.row()))
        with self._link:
            self._link.execute(f"INSERT OR REPLACE INTO entry ({_COLUMNS}) VALUES ({marks})", entry.row())

    def remove(self, name: str) -> None:
        """Takes an entry out."""
        with self._link:
            self._link.execute("DELETE FROM entry WHERE name = ?", (name,))

    def oldest(self) -> Entry | None:
        """The entry that was kept first."""
        row = self._link.execute(f"SELECT {_COLUMNS} FROM entry ORDER BY id LIMIT 1").fetchone()
        return None if row is None else Entry(*row)

    def names(self) -> set[str]:
        """All entries' names."""
        return {name for (name,) in self._link.execute("SELECT name FROM entry")}

    def totals(self) -> tuple[int, int]:
        """Number of entries and sum of their bytes."""
        count, size = self._link.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM entry").fetchone()
        return int(count), int(size)

    def find(self, *, decision: str | None, since_s: float | None) -> Iterator[Entry]:
        """Entries by time, latest first.

        Args:
            decision: Only these; None takes all.
            since_s: Only those judged then or later; None takes all.
        """
        query = f"SELECT {_COLUMNS} FROM entry WHERE time_s >= ? AND decision LIKE ? ORDER BY time_s DESC, id DESC"
        for row in self._link.execute(query, (since_s or 0.0, decision or "%")):
            yield Entry(*row)

    def close(self) -> None:
        """Closes the file. Idempotent."""
        self._link.close()
