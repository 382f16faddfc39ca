"""The thread of the archive process that waits for the disk, so that its main loop never does."""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from inspector.domain.frame import Pixels
from inspector.outputs.archive import ArchiveFolder
from inspector.wire.archive_socket import ArchivedOutlines

log = logging.getLogger("inspector")

#: Draws the anomaly map of a frame as a picture.
DrawMap = Callable[[Pixels], Pixels]

#: What is written: a verdict's record with its frame, or outlines for an entry that is there.
Work = tuple[dict[str, Any], Pixels] | ArchivedOutlines

#: Old entries are looked for so often.
_TRIM_S = 30.0
#: After a folder could not be opened it is tried again so much later; until then entries fail at once.
_REOPEN_S = 5.0


class ArchiveWriter:
    """Writes entries, one after the other.

    Args:
        open_folder: Opens the archive's folder; called again where its index was lost.
        capacity: Entries that may wait.
        load_drawer: Loads what draws anomaly maps, on a thread of its own: until it is there entries go without, and so
            they do while more than half of the capacity waits, and at the end. None draws none.
        clock_s: Monotonic clock.

    Attributes:
        written: Entries written.
        failed: Entries that the disk did not take.
        overrun: Entries refused because too many waited.
    """

    def __init__(
        self,
        open_folder: Callable[[], ArchiveFolder],
        capacity: int,
        load_drawer: Callable[[], DrawMap | None] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.written = 0
        self.failed = 0
        self.overrun = 0
        self._open_folder = open_folder
        self._capacity = capacity
        self._load_drawer = load_drawer
        self._draw_map: DrawMap | None = None
        self._stopping = False
        self._clock_s = clock_s
        self._queue: queue.Queue[Work | None] = queue.Queue(capacity)
        self._folder: ArchiveFolder | None = None
        self._figures = {"entries": 0.0, "bytes": 0.0, "oldest_s": 0.0}
        self._opened_s = -_REOPEN_S
        self._trimmed_s = 0.0
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="archive-writer", daemon=True)

    def start(self) -> None:
        """Starts the threads."""
        self._thread.start()
        if self._load_drawer is not None:
            threading.Thread(target=self._load, args=(self._load_drawer,), name="archive-maps", daemon=True).start()

    def _load(self, load_drawer: Callable[[], DrawMap | None]) -> None:
        self._draw_map = load_drawer()

    def offer(self, record: dict[str, Any], pixels: Pixels) -> None:
        """Takes an entry, or counts it as overrun; never waits."""
        try:
            self._queue.put_nowait((record, pixels))
        except queue.Full:
            self.overrun += 1

    def outline(self, found: ArchivedOutlines) -> None:
        """Takes outlines while few entries wait; else they are dropped, and the refiner sends them again."""
        if self._queue.qsize() <= self._capacity // 2:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(found)

    def counts(self) -> dict[str, float]:
        """What the gate's metrics show, by name."""
        return self._figures | {
            "written": self.written,
            "failed": self.failed,
            "overrun": self.overrun,
            "waiting": self._queue.qsize(),
        }

    def stop(self, timeout_s: float) -> None:
        """Writes what waits, for at most so long; what is left then is lost with the process."""
        self._stopping = True
        until_s = self._clock_s() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            log.error("archive: %d entries not written, the disk is too slow", self._queue.qsize())
            return
        self._thread.join(max(0.0, until_s - self._clock_s()))

    def _run(self) -> None:
        self._attempt(None)
        while True:
            try:
                entry = self._queue.get(timeout=_TRIM_S)
            except queue.Empty:
                self._attempt(None)
                continue
            if entry is None:
                break
            self._attempt(entry)
        self._close()

    def _attempt(self, work: Work | None) -> None:
        """Writes, deletes old entries when it is time, takes the figures; an entry that the disk fails is counted."""
        lost = isinstance(work, tuple)
        try:
            folder = self._opened()
            if isinstance(work, ArchivedOutlines):
                folder.outline(work.entry, work.record, work.picture)
            elif work is not None:
                record, pixels = work
                folder.keep(record, pixels, self._map_of(pixels))
                self.written += 1
                lost = False
            if self._clock_s() - self._trimmed_s >= _TRIM_S:
                self._trimmed_s = self._clock_s()
                folder.trim()
            self._figures = {
                "entries": float(folder.entries),
                "bytes": float(folder.bytes),
                "oldest_s": folder.oldest_age_s(),
            }
            self._failing = False
        except (OSError, sqlite3.Error) as error:
            self.failed += lost
            if not self._failing:
                log.error("archive: %s; entries are lost until it works again", error)
            self._failing = True
            if isinstance(error, sqlite3.Error):  # a new index, perhaps made anew from the files
                self._close()

    def _opened(self) -> ArchiveFolder:
        if self._folder is None:
            now_s = self._clock_s()
            if now_s - self._opened_s < _REOPEN_S:
                raise OSError("the folder can't be used yet")
            self._opened_s = now_s
            self._folder = self._open_folder()
        return self._folder

    def _close(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _map_of(self, pixels: Pixels) -> Pixels | None:
        if self._draw_map is None or self._stopping or self._queue.qsize() > self._capacity // 2:
            return None
        try:
            return self._draw_map(pixels)
        except Exception as error:  # noqa: BLE001  the one catch around a part
            log.warning("archive: no anomaly map: %s: %s", type(error).__name__, error)
            return None
