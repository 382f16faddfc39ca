"""GenICam cameras: finding and choosing them, and the simulated ones of the genicam package as a real source."""

from __future__ import annotations

import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.cameras.genicam import GenicamCamera
from inspector.cameras.genicam_discovery import FoundCamera, choose, find_producers, list_cameras
from inspector.cli.cameras import camera_table
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause


def found(index: int, **keys: str) -> FoundCamera:
    names = {"vendor": "Maker", "model": "M5", "serial": f"S{index}", "user_id": "", "access": "free"}
    return FoundCamera(index=index, transport="GEV", producer="/maker.cti", **{**names, **keys})


def config(**keys: Any) -> settings.GenicamCamera:
    features = tuple(settings.Feature(name=name, value=value) for name, value in keys.pop("features", {}).items())
    return settings.GenicamCamera(kind="genicam", features=features, **keys)


LINE = [found(0, user_id="left"), found(1, user_id="right"), found(2, model="M9", user_id="left")]


@pytest.mark.parametrize(
    ("keys", "index"),
    [
        ({"serial": "S1"}, 1),
        ({"user_id": "right"}, 1),
        ({"model": "M9"}, 2),
        ({"user_id": "left", "model": "M5"}, 0),
        ({"index": 2}, 2),
    ],
)
def test_choice_that_fits_one_camera(keys: dict[str, Any], index: int) -> None:
    assert choose(LINE, config(**keys)).index == index


def test_only_camera_needs_no_choice() -> None:
    assert choose(LINE[1:2], config()) is LINE[1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"serial": "S7"}, "no camera has .serial 'S7'."),
        ({"index": 1, "serial": "S0"}, "no camera has .serial 'S0' and index 1."),
        ({"user_id": "left"}, "2 cameras fit .user_id 'left'."),
        ({}, "3 cameras fit .nothing to choose by."),
    ],
)
def test_choice_that_fits_none_or_several_lists_what_is_there(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(CameraError, match=message) as caught:
        choose(LINE, config(**keys))
    for camera in LINE:
        assert f"index {camera.index}: model {camera.model!r}, serial {camera.serial!r}" in str(caught.value)


def test_no_camera_at_all_says_what_to_look_at() -> None:
    with pytest.raises(CameraError, match="no camera found; is it powered"):
        choose([], config(serial="S1"))


def test_producers_come_from_the_configuration_else_from_the_environment(tmp_path: Path) -> None:
    for name in ("b/two.cti", "a/one.cti", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    environ = {"GENICAM_GENTL64_PATH": f"{tmp_path / 'b'}::{tmp_path / 'a'}:{tmp_path / 'none'}"}
    assert find_producers((), environ) == (tmp_path / "b/two.cti", tmp_path / "a/one.cti")
    named = tmp_path / "c.cti"
    assert find_producers((named, named), environ) == (named,)


@pytest.mark.parametrize(
    ("environ", "message"), [({}, "is not set"), ({"GENICAM_GENTL64_PATH": "/nowhere"}, "no .cti file in /nowhere")]
)
def test_no_producer_says_how_to_name_one(environ: dict[str, str], message: str) -> None:
    with pytest.raises(CameraError, match=rf"no GenTL producer: .*{message}.*camera\.producers \(or with --producer\)"):
        list_cameras((), environ)


def test_unusable_producers_are_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "text.cti"
    text.write_text("no library")
    import _ctypes

    with pytest.raises(CameraError, match=r"there is no GenTL producer .*missing\.cti"):
        list_cameras((tmp_path / "missing.cti",))
    with pytest.raises(CameraError, match=r"text\.cti can't be loaded: "):
        list_cameras((text,))
    with pytest.raises(CameraError, match="is a library, but no GenTL producer"):
        list_cameras((Path(_ctypes.__file__),))


def test_without_harvesters_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspector.cameras

    monkeypatch.delitem(sys.modules, "inspector.cameras.genicam_driver", raising=False)
    monkeypatch.delattr(inspector.cameras, "genicam_driver", raising=False)
    monkeypatch.setitem(sys.modules, "harvesters.core", None)
    with pytest.raises(CameraError, match=r"pip install harvesters==1\.4\.3"):
        list_cameras(())


def test_lists_the_cameras_of_a_producer(viky: Path) -> None:
    for _ in range(2):  # a Harvester left open would hide the devices from the next one
        cameras = list_cameras((viky,))
        assert [(camera.index, camera.model, camera.serial, camera.access) for camera in cameras] == [
            (0, "Viky", "0", "free"),
            (1, "Viky", "1", "free"),
            (2, "Viky", "2", "free"),
        ]
        assert {camera.producer for camera in cameras} == {str(viky)}


def test_table_and_json_name_every_camera(viky: Path) -> None:
    table = camera_table([viky], as_json=False).splitlines()
    assert table[0].split() == [
        "kind",
        "index",
        "vendor",
        "model",
        "serial",
        "user",
        "id",
        "access",
        "transport",
        "producer",
    ]
    listed = [line.split() for line in table[1:] if line.startswith("genicam")]
    assert [(words[1], words[-1]) for words in listed] == [(index, str(viky)) for index in "012"]
    assert '"serial": "2"' in camera_table([viky], as_json=True)


def open_viky(viky: Path, **keys: Any) -> GenicamCamera:
    camera = GenicamCamera(config(producers=(viky,), **{"serial": "1", **keys}))
    camera.open()
    return camera


def take(camera: GenicamCamera) -> Capture:
    for _ in range(50):
        capture = camera.capture(0.1)
        if capture is not None:
            return capture
    pytest.fail("no frame came")


SMALL = {"Width": 100, "Height": 120, "PixelFormat": "Mono8", "AcquisitionFrameRate": 200.0}


def test_features_are_written_in_their_order_before_the_start(viky: Path) -> None:
    camera = open_viky(viky, features=SMALL)
    camera.start()
    pixels = take(camera).pixels
    camera.close()
    assert pixels is not None
    assert pixels.shape == (120, 100)
    assert pixels.max() > pixels.min()  # a ball on a field


def test_colour_with_alpha_becomes_rgb(viky: Path) -> None:
    camera = open_viky(viky, features={**SMALL, "PixelFormat": "RGBa8"})
    camera.start()
    pixels = take(camera).pixels
    camera.close()
    assert pixels is not None
    assert pixels.shape == (120, 100, 3)
    assert pixels.flags.c_contiguous


def test_two_buffers_are_written_again_and_earlier_frames_stay(viky: Path) -> None:
    """harvesters hands out the producer's memory: without a copy the ball of frame 1 would move."""
    camera = open_viky(viky, features=SMALL, buffers=2)
    camera.start()
    first = take(camera).pixels
    assert first is not None
    copy = first.copy()
    moved = 0
    for _ in range(1000):  # on a busy machine many of them find no buffer
        later = take(camera).pixels
        moved += later is not None and not np.array_equal(later, copy)
        if moved == 4:
            break
    camera.close()
    assert moved == 4
    assert np.array_equal(first, copy)


def test_frames_that_found_no_buffer_are_parts(viky: Path) -> None:
    """The process was away for longer than the buffers last: the producer drops frames, their ids tell."""
    camera = open_viky(viky, features=SMALL, buffers=2)
    camera.start()
    first = take(camera)
    parts: list[Capture] = []
    while Cause.FRAME_MISSING not in {part.problem for part in parts}:
        time.sleep(0.2)  # unless the machine has stood still meanwhile, camera and all
        parts.append(take(camera))
    while parts[-1].pixels is None:
        parts.append(take(camera))
    camera.close()
    first_id, last_id = (int(part.source.removeprefix("frame ")) for part in (first, parts[-1]))
    assert len(parts) == last_id - first_id


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"Width": 50}, r"features\[0\] Width = 50: .*; it takes 100 to 800 in steps of 1"),
        ({"AcquisitionFrameRate": 1000}, r"AcquisitionFrameRate = 1000: .*; it takes 1 to 200 Hz"),
        ({"Height": 200, "PixelFormat": "Mono12"}, r"features\[1\] PixelFormat: there is no value 'Mono12'; .*RGBa8"),
        ({"Widht": 200}, r"features\[0\] Widht: the camera has no such node; did you mean Width\?"),
        ({"PayloadSize": 1}, r"PayloadSize: can't be written now \(read only\)"),
    ],
)
def test_refused_feature_names_the_node_and_its_limits(viky: Path, features: dict[str, Any], message: str) -> None:
    with pytest.raises(CameraError, match=message):
        open_viky(viky, features=features)
    open_viky(viky).close()  # nothing of the failed opening is left behind


def test_camera_that_is_in_use_says_so(viky: Path) -> None:
    first = open_viky(viky)
    with pytest.raises(CameraError):
        open_viky(viky)
    first.close()
    open_viky(viky).close()


def test_ctrl_c_and_warning_filters_stay_as_they_were(viky: Path) -> None:
    """harvesters takes over SIGINT with each acquirer, and sets the filters to "once" when it is imported."""

    def own(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, own)
    try:
        filters = list(warnings.filters)
        camera = open_viky(viky)
        assert signal.getsignal(signal.SIGINT) is own
        assert warnings.filters == filters
        camera.close()
    finally:
        signal.signal(signal.SIGINT, before)
