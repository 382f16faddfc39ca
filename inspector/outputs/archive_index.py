"""The archive's index: one SQLite file (WAL) that can be made anew from the archive's own files at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Version of the index; one of another version is made anew from the files.
_VERSION = 2
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
    source TEXT NOT NULL,
    recipe_hash TEXT NOT NULL DEFAULT '',
    defects INTEGER,
    defects_px INTEGER,
    problem TEXT
);
CREATE INDEX IF NOT EXISTS by_time ON entry (time_s);
CREATE INDEX IF NOT EXISTS unrefined ON entry (recipe_hash, id)
    WHERE decision = 'fail' AND defects IS NULL AND problem IS NULL;
"""
_COLUMNS = (
    "name, archived_s, bytes, time_s, part, decision, cause, score, source, recipe_hash, defects, defects_px, problem"
)
_UNREFINED = "decision = 'fail' AND recipe_hash = ? AND defects IS NULL AND problem IS NULL"


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
        recipe_hash: Content hash of the recipe that judged.
        defects: Number of outlined defects; None where the frame was not refined.
        defects_px: Area of all of them in pixels of the frame.
        problem: Why the frame can't be refined; None where it can, or where nobody has tried.
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
    recipe_hash: str = ""
    defects: int | None = None
    defects_px: int | None = None
    problem: str | None = None

    @property
    def refined(self) -> bool:
        """True once there is nothing left to refine: it has its outlines, or can't have any."""
        return self.defects is not None or self.problem is not None

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
        check: Look for damage, which reads the whole file; False for those who look often.

    Raises:
        sqlite3.Error: It can't be opened, is damaged, or of another version.
    """

    def __init__(self, path: Path, *, read_only: bool = False, check: bool = True) -> None:
        mode = "ro" if read_only else "rwc"
        self._link = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=2.0)
        try:
            if not read_only:
                self._link.execute("PRAGMA journal_mode=WAL")
                self._link.execute("PRAGMA synchronous=NORMAL")
                if self._link.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                    self._link.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
            (version,) = self._link.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                raise sqlite3.DatabaseError(f"of version {version}, this program writes version {_VERSION}")
            if check:
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

    def update(self, entry: Entry) -> None:
        """Puts other values in the place of an entry's; it keeps its place."""
        marks = ", ".join(f"{column.strip()} = ?" for column in _COLUMNS.split(","))
        with self._link:
            self._link.execute(f"UPDATE entry SET {marks} WHERE name = ?", (*entry.row(), entry.name))

    def get(self, name: str) -> Entry | None:
        """An entry; None if it isn't there."""
        row = self._link.execute(f"SELECT {_COLUMNS} FROM entry WHERE name = ?", (name,)).fetchone()
        return None if row is None else Entry(*row)

    def unrefined(self, recipe_hash: str) -> Iterator[Entry]:
        """Fails by a recipe that have no outlines yet, the last kept first."""
        query = f"SELECT {_COLUMNS} FROM entry WHERE {_UNREFINED} ORDER BY id DESC"
        for row in self._link.execute(query, (recipe_hash,)):
            yield Entry(*row)

    def count_unrefined(self, recipe_hash: str) -> int:
        """Number of `unrefined`."""
        query = f"SELECT count(*) FROM entry WHERE {_UNREFINED}"
        return int(self._link.execute(query, (recipe_hash,)).fetchone()[0])

    def remove(self, name: str) -> None:
        """Takes an entry out."""
        with self._link:
            self._link.execute("DELETE FROM entry WHERE name = ?", (name,))

    def oldest(self) -> Entry | None:
        """The entry that was kept first."""
        row = self._link.execute(f"SELECT {_COLUMNS} FROM entry ORDER BY id LIMIT 1").fetchone()
        return None if row is None else Entry(*row)

    def names(self) -> dict[str, bool]:
        """All entries' names, each with whether it is `Entry.refined`."""
        query = "SELECT name, defects IS NOT NULL OR problem IS NOT NULL FROM entry"
        return {name: bool(refined) for name, refined in self._link.execute(query)}

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
