"""A folder that is being watched: files that come while the line runs are parts."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inspector.cameras.decoding import IMAGE_SUFFIXES, decode_image
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError, PartError
from inspector.domain.frame import Capture, Pixels
from inspector.domain.verdict import Cause

#: Pause between two looks into the folder.
_LOOK_S = 0.05


@dataclass(frozen=True)
class _Sight:
    """A file as it was when it was seen to change last."""

    size_bytes: int
    changed_ns: int
    seen_ns: int


class HotFolderCamera:
    """The image files that come into a folder and its subfolders, in the order of their arrival.

    A file is taken when it has not changed for `complete_after_s`, and once only: the next camera process of the
    run goes on after the parts that were announced, and takes the files that came meanwhile. The names of files
    that are gone are forgotten, so a name may be used again.

    Args:
        config: Folder and time of rest.
        first_part: Parts already announced by earlier camera processes of this run.
        memory: Folder for the list of the files that were taken; None keeps it in this process only.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
    """

    #: Files wait on the disk until the worker has room: none of a sudden heap is refused.
    on_demand = True

    def __init__(
        self,
        config: settings.FolderCamera,
        first_part: int = 0,
        memory: Path | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._first_part = first_part
        self._journal = None if memory is None else memory / "files-taken.jsonl"
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._opened = False
        self._known: set[str] = set()
        self._changing: dict[str, _Sight] = {}
        self._ready: deque[str] = deque()
        self._looked_ns = 0

    def open(self) -> None:
        """Looks what lies in the folder already: that is no part, unless it came since the run began.

        Raises:
            CameraError: There is no such folder, or the list of files can't be kept.
        """
        self.close()
        folder = self._config.path
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise CameraError(f"camera.path: {folder} {what}; give the folder that the images come into")
        if self._journal is not None and self._journal.exists():
            self._known = _read_journal(self._journal, self._first_part)
        else:
            self._known = _image_files(folder)
        self._begin_journal()
        self._opened = True

    def start(self) -> None:
        """Nothing to do: files come by themselves."""
        self._check_open()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next complete file; one that can't be read or decoded is a part too, with its problem named."""
        self._check_open()
        until_ns = self._clock_ns() + round(timeout_s * 1e9)
        while not self._ready:
            self._look()
            rest_s = (until_ns - self._clock_ns()) / 1e9
            if self._ready or rest_s <= 0:
                break
            self._sleep(min(_LOOK_S, rest_s))
        if not self._ready:
            return None
        name = self._ready.popleft()
        triggered_ns = self._clock_ns()
        self._write_down(name)
        pixels, problem = _read(self._config.path / name)
        return Capture(pixels, triggered_ns, self._clock_ns(), name, problem)

    def close(self) -> None:
        """Forgets the files."""
        self._opened = False
        self._known = set()
        self._changing = {}
        self._ready.clear()

    def _check_open(self) -> None:
        if not self._opened:
            raise RuntimeError("the hot folder is not open")

    def _look(self) -> None:
        """Takes up what came, what changed, and what has come to rest."""
        now_ns = self._clock_ns()
        if now_ns - self._looked_ns < _LOOK_S * 0.5e9:
            return
        self._looked_ns = now_ns
        there = _image_files(self._config.path)
        self._known &= there
        rested: list[tuple[int, str]] = []
        changing = {}
        for name in there - self._known:
            try:
                status = (self._config.path / name).stat()
            except OSError:  # gone again
                continue
            sight = self._changing.get(name)
            # The change time moves with each write and with a rename into the folder.
            if sight is None or (sight.size_bytes, sight.changed_ns) != (status.st_size, status.st_ctime_ns):
                sight = _Sight(status.st_size, status.st_ctime_ns, now_ns)
            if now_ns - sight.seen_ns >= self._config.complete_after_s * 1e9:
                rested.append((sight.changed_ns, name))
            else:
                changing[name] = sight
        self._changing = changing
        for _, name in sorted(rested):
            self._known.add(name)
            self._ready.append(name)

    def _begin_journal(self) -> None:
        """A new list: how many parts the gate knows, and the files that are not to be taken."""
        if self._journal is None:
            return
        partial = self._journal.with_suffix(".partial")
        entries = [["parts", self._first_part], *(["known", name] for name in sorted(self._known))]
        try:
            partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
            partial.replace(self._journal)
        except OSError as error:
            raise CameraError(f"can't write {self._journal}: {error.strerror}; free some space") from error

    def _write_down(self, name: str) -> None:
        """Remembers a file that is taken, before the gate hears of it."""
        if self._journal is None:
            return
        try:
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(["part", name]) + "\n")
        except OSError as error:
            raise CameraError(f"can't write {self._journal}: {error.strerror}; free some space") from error


def _read_journal(path: Path, parts: int) -> set[str]:
    """The files that must not be taken again: the known ones, and as many further ones as the gate was told of."""
    before = 0
    known = set()
    taken = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            what, entry = json.loads(line)
        except ValueError:  # the process died while it wrote the last line
            continue
        if what == "parts":
            before = int(entry)
        elif what == "known":
            known.add(str(entry))
        else:
            taken.append(str(entry))
    told = max(0, parts - before)
    return (known | set(taken[:told])) - set(taken[told:])


def _image_files(folder: Path) -> set[str]:
    """Paths of the image files, relative to the folder, "/" between their parts; hidden ones are left out."""
    found = set()
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = Path(parent).relative_to(folder)
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                found.add((relative / name).as_posix())
    return found


def _read(path: Path) -> tuple[Pixels | None, Cause | None]:
    try:
        return decode_image(path.read_bytes()), None
    except PartError as error:
        return None, error.cause
    except OSError:  # deleted or made unreadable since it was seen
        return None, Cause.FRAME_MISSING
