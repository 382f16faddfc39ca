"""`inspector snapshot`: one picture from the configured camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from inspector.cameras.base import Camera, SourceEnded
from inspector.cameras.bayer import demosaiced
from inspector.cameras.factory import create_camera
from inspector.cameras.picture_quality import measure
from inspector.config.cameras import CameraConfig
from inspector.domain.errors import CameraError, DataError
from inspector.domain.frame import Capture, Pixels

#: Longest wait within a call, so that Ctrl-C is answered.
_TURN_S = 0.1


def take_snapshot(config: CameraConfig, path: Path, patience_s: float) -> str:
    """Writes the camera's next good frame as a lossless picture.

    Args:
        config: The camera.
        path: The picture; its suffix chooses the format, .png for example.
        patience_s: Longest wait for a frame.

    Returns:
        What was written, and what is wrong with the exposure.

    Raises:
        CameraError: The camera can't be used, or no good frame came in time.
        DataError: The picture can't be written.
    """
    check_suffix(path)
    problems = 0
    with running(config) as camera:
        for capture in captures(camera, patience_s):
            if capture.pixels is None:
                problems += 1
                if problems < 10:
                    continue
                raise CameraError(f"the last {problems} frames could not be used: {capture.problem}")
            pixels = demosaiced(capture.pixels)
            write_picture(path, pixels)
            return _told(path, capture, pixels)
    raise CameraError("the source ended without a frame")


def check_suffix(path: Path) -> None:
    """Raises DataError for a picture format that can't be written without loss."""
    if path.suffix.lower() not in (".png", ".bmp", ".tif", ".tiff"):
        raise DataError(f"{path}: give a name that ends in .png, .bmp, .tif or .tiff (formats without loss)")


@contextmanager
def running(config: CameraConfig) -> Iterator[Camera]:
    """The camera, started; closed at the end of the block."""
    camera = create_camera(config)
    try:
        camera.open()
        camera.start()
        yield camera
    finally:
        camera.close()


def captures(camera: Camera, patience_s: float, clock_s: Callable[[], float] = time.monotonic) -> Iterator[Capture]:
    """What the camera delivers, until its source ends.

    Raises:
        CameraError: Nothing came for `patience_s` seconds.
    """
    heard_s = clock_s()
    while True:
        try:
            capture = camera.capture(_TURN_S)
        except SourceEnded:
            return
        if capture is not None:
            yield capture
            heard_s = clock_s()
        elif clock_s() - heard_s > patience_s:
            raise CameraError(
                f"no frame came for {patience_s:g} s; a camera with TriggerMode On needs its trigger: is the line "
                "running and the cable connected?"
            )


def write_picture(path: Path, pixels: Pixels) -> None:
    """Writes grey or RGB pixels without loss; the file is there only once it is whole.

    Raises:
        DataError: It can't be written.
    """
    image = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
        partial.replace(path)
    except OSError as error:
        raise DataError(f"can't write {path}: {error.strerror or error}; choose a place that can be written") from error


def _told(path: Path, capture: Capture, pixels: Pixels) -> str:
    quality = measure(pixels)
    kind = "grey" if pixels.ndim == 2 else "RGB"
    lines = [
        f"{path}: {pixels.shape[1]} x {pixels.shape[0]} {kind}, {capture.source}",
        f"mean brightness {quality.mean:.0f} of 255, sharpness {quality.sharpness:.0f} "
        "(focus until it is largest for the same part)",
        *(f"warning: {warning}" for warning in quality.warnings()),
    ]
    return "\n".join(lines)
