"""Plays a folder of images as if a conveyor brought them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from inspector.cameras.decoding import IMAGE_SUFFIXES, decode_image
from inspector.cameras.pacing import Player, Still
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError, PartError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause


class FolderCamera:
    """The images of a folder, subfolders included, in the order of their relative paths.

    Args:
        config: Folder, rate, loop.
        first_part: Parts already played by earlier camera processes of this run; opening goes on after them.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        config: settings.FolderCamera,
        first_part: int = 0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.on_demand = config.rate is None
        self._config = config
        self._first_part = first_part
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._images: list[str] = []
        self._next = 0
        self._player: Player | None = None

    def open(self) -> None:
        """Lists the images.

        Raises:
            CameraError: There is no such folder, or no image in it.
        """
        self._images = list_images(self._config.path)
        self._next = self._first_part
        self._player = Player(self._read, self._config.rate, self._clock_ns, self._sleep)

    def start(self) -> None:
        """Starts the schedule."""
        self._opened().start()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next image; one that can't be read or decoded is a part too, with its problem named."""
        return self._opened().capture(timeout_s)

    def close(self) -> None:
        """Forgets the images."""
        self._player = None
        self._images = []

    def _opened(self) -> Player:
        if self._player is None:
            raise RuntimeError("the folder camera is not open")
        return self._player

    def _read(self) -> Still | None:
        if self._next >= len(self._images) and not self._config.loop:
            return None
        name = self._images[self._next % len(self._images)]
        self._next += 1
        try:
            return Still(decode_image((self._config.path / name).read_bytes()), name)
        except PartError as error:
            return Still(None, name, error.cause)
        except OSError:  # deleted or made unreadable since the folder was listed
            return Still(None, name, Cause.FRAME_MISSING)


def list_images(folder: Path) -> list[str]:
    """The images of a folder and its subfolders.

    Returns:
        Paths relative to the folder, with "/" between their parts, sorted; at least one.

    Raises:
        CameraError: There is no such folder, it can't be read, or no image is in it.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise CameraError(f"camera.path: {folder} {what}; give the folder that holds the images")
    try:
        files = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    except OSError as error:
        raise CameraError(f"camera.path: can't list {folder}: {error.strerror}") from error
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise CameraError(f"camera.path: {folder} holds no images; put files of these kinds there: {kinds}")
    return sorted(path.relative_to(folder).as_posix() for path in files)
