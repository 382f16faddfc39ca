"""What waits to be refined: read from the archive's index, with a note of what the refiner died at."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Literal

from inspector.outputs.archive import INDEX
from inspector.outputs.archive_index import ArchiveIndex, Entry


class Backlog:
    """Fails by a recipe that have no outlines yet.

    The archive process writes to the index meanwhile and may make it anew, so it is opened for each look; while it
    can't be read nothing waits.

    Args:
        folder: Of the archive.
        recipe_hash: Content hash of the recipe.
    """

    def __init__(self, folder: Path, recipe_hash: str) -> None:
        self._path = folder / INDEX
        self._recipe_hash = recipe_hash

    def newest(self, skipped: Container[str] = ()) -> tuple[Entry | None, int]:
        """The entry that was kept last, those skipped left out by their names; and how many wait in all."""
        with contextlib.suppress(sqlite3.Error), self._opened() as index:
            found = (entry for entry in index.unrefined(self._recipe_hash) if entry.name not in skipped)
            return next(found, None), index.count_unrefined(self._recipe_hash)
        return None, 0

    def state(self, name: str) -> Literal["waiting", "done", "gone"]:
        """How an entry stands: has nothing yet, has its outlines or why there are none, or is no more."""
        with contextlib.suppress(sqlite3.Error), self._opened() as index:
            entry = index.get(name)
            if entry is None:
                return "gone"
            return "done" if entry.refined else "waiting"
        return "waiting"

    @contextlib.contextmanager
    def _opened(self) -> Iterator[ArchiveIndex]:
        index = ArchiveIndex(self._path, read_only=True, check=False)
        try:
            yield index
        finally:
            index.close()


class Attempts:
    """How often the refiner began with an entry and did not come to an end, over its own death.

    Args:
        path: File that keeps it; where it can't be written nothing is remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            counts = json.loads(path.read_text())
            self._counts = {str(name): int(count) for name, count in counts.items()}

    def begin(self, name: str) -> int:
        """Notes a beginning; returns how many came to no end before."""
        former = self._counts.get(name, 0)
        self._counts[name] = former + 1
        self._write()
        return former

    def end(self, name: str) -> None:
        """Strikes an entry off."""
        if self._counts.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        partial = self._path.with_name(self._path.name + ".partial")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps(self._counts))
            partial.replace(self._path)
