"""The synthetic conveyor keeps its schedule, goes on where it stopped, and tells the truth in its labels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from inspector.cameras.base import SourceEnded
from inspector.cameras.conveyor.defects import DEFECT_CLASSES
from inspector.cameras.conveyor.rendering import render_part
from inspector.cameras.conveyor.scene import build_scene
from inspector.cameras.decoding import decode_image
from inspector.cameras.synthetic import SyntheticConveyor, write_good_parts
from inspector.config.cameras import SyntheticCamera
from inspector.domain.errors import DataError
from inspector.domain.frame import Capture, PixelFormat, Pixels

OTHER_PROCESS = """
import hashlib, sys
from inspector.cameras.synthetic import SyntheticConveyor
from inspector.config.cameras import SyntheticCamera

camera = SyntheticConveyor(SyntheticCamera(kind="synthetic", seed=9, defect_ratio=0.5), first_part=3)
camera.open()
camera.start()
for _ in range(5):
    capture = camera.capture(1.0)
    print(capture.source, hashlib.sha256(capture.pixels).hexdigest())
print(sorted({"torch", "torchvision"} & set(sys.modules)))
"""


class Clock(Protocol):
    now_ns: int

    def __call__(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...


def small(**changes: object) -> SyntheticCamera:
    return SyntheticCamera.model_validate({"kind": "synthetic", "width_px": 64, "height_px": 64, **changes})


def started(config: SyntheticCamera, first_part: int = 0) -> SyntheticConveyor:
    camera = SyntheticConveyor(config, first_part)
    camera.open()
    camera.start()
    return camera


def take(camera: SyntheticConveyor, parts: int) -> list[Capture]:
    captures = [camera.capture(1.0) for _ in range(parts)]
    return [capture for capture in captures if capture is not None]


def pixels_of(capture: Capture) -> Pixels:
    assert capture.pixels is not None
    return capture.pixels


def test_on_demand_only_without_rate() -> None:
    assert SyntheticConveyor(small()).on_demand
    assert not SyntheticConveyor(small(rate=50.0)).on_demand


def test_waits_for_its_trigger_and_gives_the_time_that_was_due(clock: Clock) -> None:
    camera = SyntheticConveyor(small(rate=10.0), 0, clock, clock.sleep)
    camera.open()
    camera.start()
    start_ns = clock.now_ns
    first = camera.capture(0.05)
    assert first is not None
    assert first.triggered_ns == start_ns
    assert camera.capture(0.05) is None
    assert clock.now_ns == start_ns + 50_000_000
    second = camera.capture(0.06)
    assert second is not None
    assert second.triggered_ns == start_ns + 100_000_000


def test_late_loop_skips_no_trigger(clock: Clock) -> None:
    camera = SyntheticConveyor(small(rate=10.0), 0, clock, clock.sleep)
    camera.open()
    camera.start()
    start_ns = clock.now_ns
    clock.now_ns += 450_000_000
    captures = take(camera, 5)
    assert [capture.triggered_ns - start_ns for capture in captures] == [n * 100_000_000 for n in range(5)]
    assert [int(capture.source.split("/")[1]) for capture in captures] == [0, 1, 2, 3, 4]
    assert camera.capture(0.01) is None


def test_ends_after_its_parts() -> None:
    camera = started(small(parts=3))
    assert len(take(camera, 3)) == 3
    for _ in range(2):
        with pytest.raises(SourceEnded):
            camera.capture(0.01)


def test_goes_on_exactly_after_a_restart() -> None:
    """The camera process was killed after 5 parts; the next one delivers what the first would have delivered."""
    whole = take(started(small(parts=8, defect_ratio=0.5)), 8)
    rest = take(started(small(parts=8, defect_ratio=0.5), first_part=5), 3)
    for again, once in zip(rest, whole[5:], strict=True):
        assert again.source == once.source
        assert np.array_equal(pixels_of(again), pixels_of(once))


def test_refuses_to_work_before_it_is_open() -> None:
    camera = SyntheticConveyor(small())
    with pytest.raises(RuntimeError, match="not open"):
        camera.start()
    with pytest.raises(RuntimeError, match="not open"):
        camera.capture(0.0)


def test_another_process_renders_the_same_bytes_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", OTHER_PROCESS], capture_output=True, text=True, timeout=60, check=True)
    *lines, torch_modules = done.stdout.splitlines()
    camera = started(SyntheticCamera(kind="synthetic", seed=9, defect_ratio=0.5), first_part=3)
    assert lines == [f"{one.source} {hashlib.sha256(pixels_of(one).tobytes()).hexdigest()}" for one in take(camera, 5)]
    assert torch_modules == "[]"


def test_labels_are_true() -> None:
    config = small(seed=4, defect_ratio=0.4)
    scene = build_scene(64, 64)
    seen = set()
    for number, capture in enumerate(take(started(config), 60)):
        defect_class, digits = capture.source.split("/")
        assert digits == f"{number:06d}"
        good = render_part(scene, 4, number, defect_ratio=0.0)
        assert np.array_equal(pixels_of(capture), good.pixels) is (defect_class == "good")
        seen.add(defect_class)
    assert seen == {"good", *DEFECT_CLASSES}


@pytest.mark.parametrize("colour", [False, True])
def test_frames_have_the_configured_shape(colour: bool) -> None:
    (capture,) = take(started(small(width_px=96, height_px=70, colour=colour)), 1)
    assert pixels_of(capture).shape == ((70, 96, 3) if colour else (70, 96))
    assert PixelFormat.of(pixels_of(capture)) is (PixelFormat.RGB8 if colour else PixelFormat.MONO8)


@pytest.mark.parametrize("colour", [False, True])
def test_good_parts_to_calibrate_on(tmp_path: Path, colour: bool) -> None:
    """The files decode to what the camera would see, but to none of the parts that it will see."""
    config = small(seed=3, defect_ratio=1.0, colour=colour)
    progress: list[int] = []
    files = write_good_parts(tmp_path / "train" / "good", config, 5, progress.append)
    assert [file.name for file in files] == [f"{number:06d}.png" for number in range(5)]
    assert sorted((tmp_path / "train" / "good").iterdir()) == files
    assert progress == [1, 2, 3, 4, 5]
    written = [decode_image(file.read_bytes()) for file in files]
    inspected = take(started(config.model_copy(update={"defect_ratio": 0.0})), 20)
    for image in written:
        assert image.shape == ((64, 64, 3) if colour else (64, 64))
        assert not any(np.array_equal(image, pixels_of(capture)) for capture in inspected)
    if colour:
        # The belt is green: red and blue would be exchanged otherwise, or the paint yellow.
        corner = np.mean([image[:8, :8].mean(axis=(0, 1)) for image in written], axis=0)
        assert corner[1] > corner[2] > corner[0]


def test_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file"):
        write_good_parts(tmp_path / "file" / "good", small(), 1)
