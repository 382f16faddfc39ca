"""A conveyor that exists only here: parts rendered from a seed, some with labelled defects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from inspector.cameras.conveyor.rendering import Batch, RenderedPart, render_part
from inspector.cameras.conveyor.scene import Scene, build_scene
from inspector.cameras.pacing import Player, Still
from inspector.config.cameras import SyntheticCamera
from inspector.domain.errors import DataError
from inspector.domain.frame import Capture, Pixels


class SyntheticConveyor:
    """Renders part after part; each depends on the seed and on its number only.

    So a camera process that starts again with `first_part` goes on exactly where the last one ended. At a rate,
    the next part is rendered before the wait for its trigger. The label of a frame is its class and number, such
    as "good/000017" or "scratch/000018".

    Args:
        config: Seed, size, rate, share of defects.
        first_part: Parts already delivered by earlier camera processes of this run.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        config: SyntheticCamera,
        first_part: int = 0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.on_demand = config.rate is None
        self._config = config
        self._first_part = first_part
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._next = 0
        self._scene: Scene | None = None
        self._player: Player | None = None

    def open(self) -> None:
        """Computes what all parts share: belt, textures, the part as designed."""
        self._scene = _scene(self._config)
        self._next = self._first_part
        self._player = Player(self._render, self._config.rate, self._clock_ns, self._sleep)

    def start(self) -> None:
        """Starts the schedule."""
        self._opened().start()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next part, or None where it is not due within `timeout_s` seconds.

        Raises:
            SourceEnded: All `parts` were delivered.
        """
        return self._opened().capture(timeout_s)

    def close(self) -> None:
        """Forgets the scene."""
        self._player = None
        self._scene = None

    def _opened(self) -> Player:
        if self._player is None:
            raise RuntimeError("the synthetic camera is not open")
        return self._player

    def _render(self) -> Still | None:
        parts = self._config.parts
        if self._scene is None or (parts is not None and self._next >= parts):
            return None
        part = _inspected(self._scene, self._config, self._next)
        self._next += 1
        return Still(part.pixels, part.label)


def good_parts(config: SyntheticCamera, count: int) -> Iterator[RenderedPart]:
    """Good parts to calibrate on.

    They come from a batch of their own: none of them is ever inspected, whatever the seed.

    Args:
        config: Seed, size and colour of the frames; its rate, parts and defects don't matter.
        count: How many.
    """
    scene = _scene(config)
    for number in range(count):
        yield render_part(scene, config.seed, number, defect_ratio=0.0, batch=Batch.CALIBRATION)


def inspected_parts(config: SyntheticCamera, count: int) -> Iterator[RenderedPart]:
    """The first parts that the conveyor of a configuration shows, some with defects.

    Args:
        config: Seed, size and colour of the frames, share and size of the defects.
        count: How many.
    """
    scene = _scene(config)
    for number in range(count):
        yield _inspected(scene, config, number)


def _inspected(scene: Scene, config: SyntheticCamera, number: int) -> RenderedPart:
    ratio, scale = config.defect_ratio, config.defect_scale
    return render_part(scene, config.seed, number, defect_ratio=ratio, defect_scale=scale)


def write_good_parts(
    folder: Path, config: SyntheticCamera, count: int, progress: Callable[[int], None] | None = None
) -> list[Path]:
    """Renders `good_parts` into a folder to calibrate on, as lossless PNG files.

    Args:
        folder: Where to write 000000.png, 000001.png and so on; made where it is missing.
        config: Seed, size and colour of the frames; its rate, parts and defects don't matter.
        count: Parts to write.
        progress: Called after each part with the number of parts written.

    Returns:
        The files in their order.

    Raises:
        DataError: The folder can't be written.
    """
    files = [folder / f"{number:06d}.png" for number in range(count)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (file, part) in enumerate(zip(files, good_parts(config, count), strict=True)):
            file.write_bytes(_png(part.pixels))
            if progress is not None:
                progress(number + 1)
    except OSError as error:
        raise DataError(
            f"can't write good parts to {folder}: {error.strerror or error}; choose a folder that can be written"
        ) from error
    return files


def _scene(config: SyntheticCamera) -> Scene:
    return build_scene(config.width_px, config.height_px, colour=config.colour)


def _png(pixels: Pixels) -> bytes:
    image = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", image)[1].tobytes()
