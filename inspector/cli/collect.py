"""`inspector collect`: pictures of good parts from the configured camera, ready for `calibrate train`."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from inspector.cameras.bayer import demosaiced
from inspector.cameras.picture_quality import Quality, difference, measure, thumbnail
from inspector.cli.snapshot import captures, running, write_picture
from inspector.config.cameras import CameraConfig
from inspector.domain.errors import DataError
from inspector.domain.frame import Capture, Pixels

#: A picture less sharp than this share of the others' median has moved or lost its focus.
_BLURRED = 0.5
#: Pictures before the median says something.
_ENOUGH = 5


@dataclass
class Collection:
    """What was collected.

    Attributes:
        saved: Pictures written.
        alike: Pictures left out because one like them is there already.
        unusable: Frames without a picture, by cause.
        warned: Warnings, by what is wrong.
    """

    saved: int = 0
    alike: int = 0
    unusable: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)

    def told(self, folder: Path, wanted: int) -> str:
        """The sums, for people."""
        lines = [f"{self.saved} of {wanted} pictures in {folder}, {self.alike} near-duplicates left out"]
        lines += [f"{count} frames could not be used: {cause}" for cause, count in self.unusable.most_common()]
        lines += [f"warning: {count} pictures {what}" for what, count in self.warned.most_common()]
        if self.saved:
            lines.append(
                "look through them: every picture must show a good part; then run: calibrate train " + str(folder)
            )
        return "\n".join(lines)


class Collector:
    """Takes captures and keeps the pictures that show something new.

    Args:
        folder: Where to write; pictures that lie there stay, their numbers are not used again.
        wanted: Pictures to write.
        least_difference: Mean difference of thumbnails, in grey levels, below which two pictures are the same.
        say: Told each warning.
    """

    def __init__(self, folder: Path, wanted: int, least_difference: float, say: Callable[[str], None]) -> None:
        self.result = Collection()
        self._folder = folder
        self._wanted = wanted
        self._least_difference = least_difference
        self._say = say
        self._thumbnails: list[Pixels] = []
        self._sharpness: list[float] = []
        self._next = _first_free_number(folder)

    @property
    def done(self) -> bool:
        """True once there are enough pictures."""
        return self.result.saved >= self._wanted

    def take(self, capture: Capture) -> None:
        """Keeps a picture, or counts why not."""
        if capture.pixels is None:
            self.result.unusable[capture.problem.value if capture.problem else "no picture"] += 1
            return
        pixels = demosaiced(capture.pixels)
        small = thumbnail(pixels)
        if any(difference(small, other) < self._least_difference for other in self._thumbnails):
            self.result.alike += 1
            return
        self._thumbnails.append(small)
        path = self._folder / f"{self._next:06d}.png"
        write_picture(path, pixels)
        self._next += 1
        self.result.saved += 1
        self._warn(path.name, measure(pixels))

    def _warn(self, name: str, quality: Quality) -> None:
        for warning in quality.warnings():
            self._note(name, warning.split(":")[0], warning)
        if len(self._sharpness) >= _ENOUGH:
            usual = statistics.median(self._sharpness)
            if quality.sharpness < _BLURRED * usual:
                self._note(name, "blurred", f"blurred: sharpness {quality.sharpness:.0f}, usually {usual:.0f}")
        self._sharpness.append(quality.sharpness)

    def _note(self, name: str, what: str, text: str) -> None:
        self.result.warned[what] += 1
        if self.result.warned[what] <= 3:  # the sums at the end tell of the rest
            self._say(f"{name}: {text}")


def collect(
    config: CameraConfig,
    folder: Path,
    wanted: int,
    *,
    least_difference: float,
    patience_s: float,
    say: Callable[[str], None],
    progress: Callable[[int], None],
) -> Collection:
    """Collects pictures until there are enough, or the source ends.

    Args:
        config: The camera.
        folder: Where to write 000000.png and so on; made where it is missing.
        wanted: Pictures to write.
        least_difference: As `Collector`.
        patience_s: Longest wait for a frame.
        say: Told each warning.
        progress: Told the pictures written so far.

    Raises:
        CameraError: The camera can't be used, is lost, or nothing comes.
        DataError: The folder can't be written.
    """
    collector = Collector(folder, wanted, least_difference, say)
    with running(config) as camera:
        _take_all(collector, captures(camera, patience_s), progress)
    return collector.result


def _take_all(collector: Collector, source: Iterable[Capture], progress: Callable[[int], None]) -> None:
    for capture in source:
        collector.take(capture)
        progress(collector.result.saved)
        if collector.done:
            return


def _first_free_number(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()]
    except OSError as error:
        raise DataError(f"can't use {folder}: {error.strerror}; choose a folder that can be written") from error
    return max(numbers, default=-1) + 1
