"""GenICam cameras against the simulated producer: pixel formats, triggers, chunks, and one fault after the other."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.cameras.genicam import GenicamCamera
from inspector.cameras.genicam_discovery import list_cameras
from inspector.cameras.genicam_frames import SUPPORTED_FORMATS
from inspector.config import cameras as settings
from inspector.domain.camera_events import CameraEvent
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture
from inspector.domain.verdict import Cause

from ...gentl_simulator.plant import Plant, PlantCamera

TRIGGERED: list[tuple[str, Any]] = [("TriggerMode", "On"), ("TriggerSource", "Line1"), ("ExposureTime", 5000.0)]


def grey_parts(count: int = 4) -> list[np.ndarray]:
    generator = np.random.default_rng(3)
    return [generator.integers(0, 256, (24, 32), np.uint8) for _ in range(count)]


def colour_part() -> np.ndarray:
    """A field of one colour: neither demosaicing nor halved chroma changes it."""
    return np.broadcast_to(np.array([200, 120, 40], np.uint8), (24, 32, 3)).copy()


OpenCamera = Callable[..., GenicamCamera]


@pytest.fixture
def open_camera(plant: Plant) -> Iterator[OpenCamera]:
    """Opens the plant's camera with features, the line trigger first; other keys go to the configuration."""
    opened: list[GenicamCamera] = []

    def open_one(features: list[tuple[str, Any]] = (), memory: Path | None = None, **keys: Any) -> GenicamCamera:  # type: ignore[assignment]
        config = settings.GenicamCamera(
            kind="genicam",
            producers=(plant.producer,),
            features=tuple(settings.Feature(name=name, value=value) for name, value in features),
            **{"serial": "SIM0001", **keys},
        )
        camera = GenicamCamera(config, memory=memory)
        opened.append(camera)
        camera.open()
        return camera

    yield open_one
    for camera in opened:
        camera.close()


def take(camera: GenicamCamera, count: int) -> list[Capture]:
    captures: list[Capture] = []
    for _ in range(100):
        capture = camera.capture(0.1)
        if capture is not None:
            captures.append(capture)
        if len(captures) == count:
            return captures
    pytest.fail(f"only {captures} of {count} captures came")


def pull(plant: Plant, camera: GenicamCamera, count: int) -> list[Capture]:
    """So many triggers and what becomes of them."""
    plant.tell(f"trigger SIM0001 {count}")
    return take(camera, count)


def names(captures: list[Capture]) -> list[str]:
    return [capture.problem.value if capture.problem else capture.source.split(" at ")[0] for capture in captures]


def started(open_camera: OpenCamera, features: list[tuple[str, Any]] = TRIGGERED, **keys: Any) -> GenicamCamera:
    camera = open_camera(features, **keys)
    camera.start()
    return camera


@pytest.mark.parametrize("pixel_format", [name for name in SUPPORTED_FORMATS if name.startswith("Mono")])
def test_grey_formats_give_the_picture_back(plant: Plant, open_camera: OpenCamera, pixel_format: str) -> None:
    parts = grey_parts()
    plant.write_parts(parts)
    camera = started(open_camera, [*TRIGGERED, ("PixelFormat", pixel_format)])
    for capture, part in zip(pull(plant, camera, 4), parts, strict=True):
        assert np.array_equal(np.asarray(capture.pixels), part)


@pytest.mark.parametrize("pixel_format", ["Mono8", "Mono10", "Mono10p", "Mono12p", "Mono10Packed", "Mono12Packed"])
def test_low_bits_of_grey_formats_stay_with_their_pixels(
    plant: Plant, open_camera: OpenCamera, pixel_format: str
) -> None:
    """At 5300 us a pixel counts 1.06 times its brightness, in bits below the 8 that are kept."""
    (part,) = parts = grey_parts(1)
    plant.write_parts(parts)
    camera = started(open_camera, [*TRIGGERED, ("ExposureTime", 5300.0), ("PixelFormat", pixel_format)])
    (capture,) = pull(plant, camera, 1)
    assert np.array_equal(np.asarray(capture.pixels), np.minimum(255, part.astype(int) * 106 // 100))


@pytest.mark.parametrize("pixel_format", [name for name in SUPPORTED_FORMATS if not name.startswith("Mono")])
def test_colour_formats_give_the_colour_back(plant: Plant, open_camera: OpenCamera, pixel_format: str) -> None:
    part = colour_part()
    plant.write_parts([part])
    camera = started(open_camera, [*TRIGGERED, ("PixelFormat", pixel_format)])
    (capture,) = pull(plant, camera, 1)
    pixels = np.asarray(capture.pixels)
    assert pixels.shape == part.shape
    difference = np.abs(pixels.astype(int) - part)[2:-2, 2:-2]
    assert difference.max() <= (2 if pixel_format.startswith("YUV") else 0)


def test_exposure_and_gain_change_the_image(plant: Plant, open_camera: OpenCamera) -> None:
    plant.write_parts([np.full((24, 32), 40, np.uint8)])
    camera = started(open_camera, [("TriggerMode", "On"), ("TriggerSource", "Line1"), ("ExposureTime", 10000.0)])
    assert np.asarray(pull(plant, camera, 1)[0].pixels).mean() == 80
    camera.close()
    camera = started(open_camera, [*TRIGGERED, ("Gain", 20.0)])
    assert np.asarray(pull(plant, camera, 1)[0].pixels).mean() == 255  # ten times 40 is more than white


def test_region_of_interest_is_cut_out(plant: Plant, open_camera: OpenCamera) -> None:
    (part,) = parts = grey_parts(1)
    plant.write_parts(parts)
    region = [("OffsetX", 0), ("OffsetY", 0), ("Width", 16), ("Height", 10), ("OffsetX", 8), ("OffsetY", 6)]
    camera = started(open_camera, [*TRIGGERED, *region])
    assert np.array_equal(np.asarray(pull(plant, camera, 1)[0].pixels), part[6:16, 8:24])


def test_region_in_the_wrong_order_names_the_limits(open_camera: OpenCamera) -> None:
    with pytest.raises(CameraError, match=r"features\[0\] OffsetX = 8: .*; it takes 0 to 0 in steps of 2"):
        open_camera([("OffsetX", 8), ("Width", 16)])


def test_line_trigger_gives_one_frame_for_each_pulse_and_none_between(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera)
    assert camera.capture(0.1) is None
    assert names(pull(plant, camera, 3)) == ["frame 1", "frame 2", "frame 3"]
    assert camera.capture(0.1) is None


def test_encoder_gives_a_frame_every_so_many_counts(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera, [("TriggerMode", "On"), ("TriggerSource", "Encoder0"), ("EncoderDivider", 40)])
    plant.tell("encoder SIM0001 39")
    assert camera.capture(0.05) is None
    plant.tell("encoder SIM0001 81")
    assert names(take(camera, 2)) == ["frame 1", "frame 2"]
    plant.tell("encoder SIM0001 1")
    assert names(take(camera, 1)) == ["frame 3"]


def test_free_run_delivers_by_itself(open_camera: OpenCamera) -> None:
    camera = started(open_camera, [("AcquisitionFrameRate", 200.0)], free_running=True, buffers=256)
    assert names(take(camera, 5)) == [f"frame {number}" for number in range(1, 6)]


SOFTWARE: list[tuple[str, Any]] = [("TriggerMode", "On"), ("TriggerSource", "Software")]


def test_software_trigger_gives_a_frame_for_each_trigger_at_its_time(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera, SOFTWARE, software_trigger_rate=50.0)
    captures = take(camera, 4)
    assert names(captures) == [f"frame {number}" for number in range(1, 5)]
    times = [capture.triggered_ns for capture in captures]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [20_000_000] * 3


def test_frame_of_a_software_trigger_that_is_lost_is_one_missing_part(plant: Plant, open_camera: OpenCamera) -> None:
    """Neither the wait for it nor the gap that it leaves in the ids may count it again."""
    camera = started(open_camera, SOFTWARE, software_trigger_rate=50.0)
    take(camera, 1)
    plant.tell("drop SIM0001 1")
    captures = []
    while "frame_missing" not in names(captures) or len(captures) < 6:
        captures += take(camera, 1)
    ids = [int(name.split()[1]) for name in names(captures) if name != "frame_missing"]
    assert names(captures).count("frame_missing") == 1
    assert ids[-1] - 1 == len(captures)  # every id from the second on is one part
    times = [capture.triggered_ns for capture in captures]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [20_000_000] * (len(times) - 1)


def test_frame_that_comes_too_late_is_not_taken_for_the_next_one(
    plant: Plant, open_camera: OpenCamera, caplog: pytest.LogCaptureFixture
) -> None:
    camera = started(open_camera, SOFTWARE, software_trigger_rate=0.8)
    captures = take(camera, 1)
    plant.tell("slow SIM0001 1500")
    while captures[-1].problem is None:
        captures += take(camera, 1)
    plant.tell("slow SIM0001 0")
    late = len(captures)
    captures += take(camera, 1)
    assert names(captures) == [*(f"frame {number}" for number in range(1, late)), "frame_missing", f"frame {late + 1}"]
    assert camera.events()[CameraEvent.MISSED_TRIGGER] == camera.events()[CameraEvent.LATE] == 1
    assert f"frame {late} at" in caplog.text
    assert "came too late for its trigger" in caplog.text


def test_late_frame_is_not_taken_for_the_trigger_that_was_fired_meanwhile(
    plant: Plant, open_camera: OpenCamera
) -> None:
    """It comes 0.5 s after its own trigger was given up; once all later frames were taken for the next trigger's."""
    camera = started(open_camera, SOFTWARE, software_trigger_rate=10.0)
    captures = take(camera, 2)
    plant.tell("slow SIM0001 1500")
    while captures[-1].problem is None:
        captures += take(camera, 1)
    plant.tell("slow SIM0001 0")
    captures += take(camera, 12)
    assert camera.events()[CameraEvent.LATE] == camera.events()[CameraEvent.MISSED_TRIGGER] >= 1
    for place, capture in enumerate(captures, start=1):
        assert capture.problem or capture.source.startswith(f"frame {place} at ")


def test_software_triggers_go_on_after_the_camera_ignored_one(plant: Plant, open_camera: OpenCamera) -> None:
    """It leaves no gap in the ids, and the next trigger's frame must not be taken for its late one."""
    camera = started(open_camera, SOFTWARE, software_trigger_rate=10.0)
    take(camera, 2)
    plant.tell("stall SIM0001 3600000")
    captures = take(camera, 1)
    plant.tell("stall SIM0001 0")
    captures += take(camera, 4)
    assert names(captures)[-1] == f"frame {2 + len(captures) - names(captures).count('frame_missing')}"
    assert names(captures).count("frame_missing") == camera.events()[CameraEvent.MISSED_TRIGGER] == 1
    assert camera.events()[CameraEvent.LATE] == 0


def test_software_trigger_of_a_lost_camera_tells_of_the_loss(plant: Plant, open_camera: OpenCamera) -> None:
    features = [*SOFTWARE, ("ExposureTime", 5000.0)]
    camera = started(open_camera, features, software_trigger_rate=20.0, check_features_s=0.05)
    take(camera, 2)
    plant.tell("exposure SIM0001 9000")
    captures = take(camera, 1)
    while captures[-1].problem is None:
        captures += take(camera, 1)
    assert captures[-1].problem is Cause.CAMERA_LOST


def test_software_trigger_needs_a_camera_that_listens_to_it(open_camera: OpenCamera) -> None:
    with pytest.raises(CameraError, match="has TriggerMode On and TriggerSource Line1; set TriggerMode to On and"):
        open_camera(TRIGGERED, software_trigger_rate=5.0)


def test_device_time_is_named(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera)
    times = [int(re.fullmatch(r"frame \d+ at (\d+) ns", one.source)[1]) for one in pull(plant, camera, 3)]  # type: ignore[index]
    assert times == sorted(set(times))


def test_chunks_tell_id_and_time_where_the_buffer_does_not(plant: Plant, open_camera: OpenCamera) -> None:
    camera = open_camera([*TRIGGERED, ("ChunkModeActive", True)])
    plant.tell("bufferinfo SIM0001 0")
    camera.start()
    before = pull(plant, camera, 2)
    plant.tell("drop SIM0001 1")
    after = pull(plant, camera, 2)
    assert names(before + after) == ["frame 1", "frame 2", "frame_missing", "frame 4"]
    assert re.fullmatch(r"frame 4 at \d{18,} ns", after[-1].source)


def test_without_any_id_frames_are_still_delivered(plant: Plant, open_camera: OpenCamera) -> None:
    camera = open_camera(TRIGGERED)
    plant.tell("bufferinfo SIM0001 0")
    camera.start()
    assert names(pull(plant, camera, 2)) == ["frame", "frame"]


def test_dropped_frames_are_missing_parts(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera)
    pull(plant, camera, 1)
    plant.tell("drop SIM0001 2")
    assert names(pull(plant, camera, 3)) == ["frame_missing", "frame_missing", "frame 4"]
    assert camera.events()[CameraEvent.ID_GAP] == 2


def test_incomplete_frames_are_parts_of_their_own(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera)
    pull(plant, camera, 1)
    plant.tell("incomplete SIM0001 2")
    assert names(pull(plant, camera, 4)) == ["frame_incomplete", "frame_incomplete", "frame 4", "frame 5"]


def test_frame_that_comes_twice_is_one_part(
    plant: Plant, open_camera: OpenCamera, caplog: pytest.LogCaptureFixture
) -> None:
    camera = started(open_camera)
    pull(plant, camera, 2)
    plant.tell("duplicate SIM0001 1")
    assert names(pull(plant, camera, 3)) == ["frame 3", "frame 4", "frame 5"]
    assert camera.capture(0.1) is None
    assert "frame 3 came again, 1 such so far" in caplog.text
    assert camera.events() == {CameraEvent.REPEATED: 1, CameraEvent.ID_GAP: 0, CameraEvent.UNDERRUN: 0}
    camera.close()
    assert camera.events() == {}


@pytest.mark.parametrize(("transport", "after"), [("GEV", 1), ("Custom", 0)])
def test_ids_of_16_bits_wrap_without_a_loss(plant: Plant, open_camera: OpenCamera, transport: str, after: int) -> None:
    plant.list_cameras(PlantCamera("SIM0001", transport=transport))
    camera = open_camera(TRIGGERED)
    plant.tell("id SIM0001 65534")
    camera.start()
    assert names(pull(plant, camera, 4)) == ["frame 65534", "frame 65535", f"frame {after}", f"frame {after + 1}"]
    plant.tell("id SIM0001 65535")
    pull(plant, camera, 1)
    plant.tell("drop SIM0001 1")
    assert names(pull(plant, camera, 2)) == ["frame_missing", f"frame {after + 1}"]


def test_line_padding_is_cut_off(plant: Plant, open_camera: OpenCamera) -> None:
    parts = grey_parts()
    plant.write_parts(parts)
    for pixel_format in ("Mono8", "Mono12p", "Mono10Packed"):
        camera = open_camera([*TRIGGERED, ("PixelFormat", pixel_format)])
        plant.tell("padding SIM0001 5")
        camera.start()
        for capture, part in zip(pull(plant, camera, 2), parts[:2], strict=True):
            assert np.array_equal(np.asarray(capture.pixels), part)
        camera.close()


def test_short_line_scan_frames_are_cropped(plant: Plant, open_camera: OpenCamera) -> None:
    parts = grey_parts()
    plant.write_parts(parts)
    camera = started(open_camera)
    plant.tell("short SIM0001 7 1")
    short, whole = pull(plant, camera, 2)
    assert np.array_equal(np.asarray(short.pixels), parts[0][:7])
    assert np.array_equal(np.asarray(whole.pixels), parts[1])


def test_slow_frames_come_late_and_complete(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera)
    plant.tell("slow SIM0001 500")
    since_s = time.monotonic()
    plant.tell("trigger SIM0001 1")
    assert names(take(camera, 1)) == ["frame 1"]
    assert time.monotonic() - since_s > 0.45


def test_frames_that_find_no_buffer_are_missing_parts(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera, buffers=2)
    pull(plant, camera, 1)
    plant.tell("trigger SIM0001 6")
    while plant.state()["parts"] < 7:
        pass
    captures = take(camera, 2)
    plant.tell("trigger SIM0001 1")
    captures += take(camera, 5)
    assert names(captures) == ["frame 2", "frame 3", *["frame_missing"] * 4, "frame 8"]
    assert camera.events() == {CameraEvent.ID_GAP: 4, CameraEvent.UNDERRUN: 4}


def test_burst_before_the_first_frame_is_taken_is_counted_once(plant: Plant, open_camera: OpenCamera) -> None:
    """The frames that found no buffer once were told with the first frame and again by the gap in the ids."""
    camera = started(open_camera, buffers=2)
    plant.tell("trigger SIM0001 6")
    while plant.state()["parts"] < 6:
        pass
    captures = take(camera, 2)
    plant.tell("trigger SIM0001 1")
    captures += take(camera, 5)
    assert names(captures) == ["frame 1", "frame 2", *["frame_missing"] * 4, "frame 7"]
    assert camera.capture(0.1) is None
    assert camera.events() == {CameraEvent.ID_GAP: 4, CameraEvent.UNDERRUN: 4}


#: One exposure after the other: a pulse that comes during one is lost.
NO_OVERLAP: list[tuple[str, Any]] = [
    *TRIGGERED,
    ("TriggerOverlap", "Off"),
    ("CounterSelector", "Counter1"),
    ("CounterEventSource", "FrameTriggerMissed"),
]


def pull_at_once(plant: Plant, count: int) -> None:
    """So many pulses at once: the camera takes the first; waits until it can take another."""
    before = plant.state()["delivered"]
    plant.tell(f"trigger SIM0001 {count}")
    while plant.state()["delivered"] == before:
        pass


def test_triggers_that_the_camera_could_not_take_are_missing_parts(plant: Plant, open_camera: OpenCamera) -> None:
    """They make no frame and leave no gap in the ids: only the counter knows of them."""
    camera = started(open_camera, NO_OVERLAP, missed_triggers={"node": "CounterValue", "check_s": 0.05})
    pull_at_once(plant, 3)
    captures = take(camera, 3)
    assert sorted(names(captures)) == ["frame 1", "frame_missing", "frame_missing"]
    pull_at_once(plant, 2)
    plant.tell("drop SIM0001 1")
    plant.tell("trigger SIM0001 1")
    while plant.state()["parts"] < 3:
        pass
    pull_at_once(plant, 1)
    captures += take(camera, 4)
    assert camera.capture(0.2) is None
    assert sorted(names(captures))[:3] == ["frame 1", "frame 2", "frame 4"]
    assert names(captures).count("frame_missing") == 4
    assert {one.source.split(" at ")[0] for one in captures if one.problem} == {
        "a trigger that the camera could not take",
        "a frame lost before frame 4",
    }
    assert camera.events()[CameraEvent.OVERTRIGGER] == 3
    assert camera.events()[CameraEvent.ID_GAP] == 1


def test_missed_triggers_that_leave_gaps_too_are_counted_once(plant: Plant, open_camera: OpenCamera) -> None:
    counter = {"node": "CounterValue", "check_s": 0.05, "skip_ids": True}
    camera = started(open_camera, NO_OVERLAP, missed_triggers=counter)
    plant.tell("missedids SIM0001 1")
    captures = []
    pulses = 0
    for count in (1, 4, 1, 2, 3, 1):
        pull_at_once(plant, count)
        pulses += count
        captures += [one for one in (camera.capture(0.03) for _ in range(count)) if one is not None]
    captures += [one for one in (camera.capture(0.06) for _ in range(12)) if one is not None]
    assert len(captures) == pulses
    assert names(captures).count("frame_missing") == plant.state()["missed"] == 6


def test_counter_set_to_0_by_a_feature_is_no_lost_setting(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(
        open_camera,
        [*NO_OVERLAP, ("CounterValue", 65534)],
        missed_triggers={"node": "CounterValue", "check_s": 0.05},
        check_features_s=0.1,
    )
    pull_at_once(plant, 5)
    captures = take(camera, 5)
    assert sorted(names(captures)) == ["frame 1", *["frame_missing"] * 4]  # the counter began anew at 65536
    assert camera.capture(0.2) is None
    assert names(pull(plant, camera, 1)) == ["frame 2"]


#: Each pulse is counted, and the count comes with each frame; it begins anew after the second one.
PULSES_IN_CHUNK: list[tuple[str, Any]] = [
    *TRIGGERED,
    ("TriggerOverlap", "Off"),
    ("CounterSelector", "Counter1"),
    ("CounterEventSource", "Line1"),
    ("CounterValue", 65533),
    ("ChunkModeActive", True),
    ("ChunkCounterSelector", "Counter1"),
]


def test_pulses_that_made_no_frame_are_missing_parts_before_the_next_frame(
    plant: Plant, open_camera: OpenCamera
) -> None:
    """Pulses missed, a frame lost on its way, one incomplete: each is one part, before the frame that shows it."""
    camera = started(
        open_camera, PULSES_IN_CHUNK, missed_triggers={"chunk": "ChunkCounterValue"}, check_features_s=0.05
    )
    captures: list[Capture] = []
    for count, fault in ((1, ""), (3, ""), (1, ""), (1, "drop"), (2, "incomplete"), (1, ""), (1, "")):
        before = plant.state()
        if fault:
            plant.tell(f"{fault} SIM0001 1")
        plant.tell(f"trigger SIM0001 {count}")
        while plant.state()["parts"] == before["parts"] or plant.state()["triggers"]:
            pass
        captures += [one for one in (camera.capture(0.06) for _ in range(4)) if one is not None]
    assert names(captures) == [
        "frame 1",
        "frame 2",
        *["frame_missing"] * 2,
        "frame 3",
        "frame_incomplete",
        *["frame_missing"] * 2,
        "frame 6",
        "frame 7",
    ]
    assert [one.source.split(" at ")[0] for one in captures if one.problem is Cause.FRAME_MISSING] == [
        *["a trigger that the camera could not take before frame 3"] * 2,
        "a frame lost before frame 6",
        "a trigger that the camera could not take before frame 6",
    ]
    assert camera.events() == {CameraEvent.OVERTRIGGER: 3, CameraEvent.ID_GAP: 1, CameraEvent.UNDERRUN: 0}


def test_missed_triggers_that_leave_gaps_too_are_told_once_by_pulses(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera, PULSES_IN_CHUNK, missed_triggers={"chunk": "ChunkCounterValue"})
    plant.tell("missedids SIM0001 1")
    captures = []
    for count in (2, 3, 1):
        pull_at_once(plant, count)
        captures += [one for one in (camera.capture(0.05) for _ in range(count + 1)) if one is not None]
    assert len(captures) == 6
    assert names(captures).count("frame_missing") == plant.state()["missed"] == 3


def test_pulses_that_come_with_no_frame_are_an_error(plant: Plant, open_camera: OpenCamera) -> None:
    features = [*PULSES_IN_CHUNK, ("ChunkSelector", "CounterValue"), ("ChunkEnable", False)]
    camera = started(open_camera, features, missed_triggers={"chunk": "ChunkCounterValue"})
    for number in range(1, 33):
        pull_at_once(plant, 1)
        assert names(take(camera, 1)) == [f"frame {number}"]
    pull_at_once(plant, 1)
    assert take(camera, 1)[0].problem is Cause.CAMERA_LOST
    with pytest.raises(CameraError, match="frames bring no ChunkCounterValue; choose it with ChunkSelector"):
        camera.capture(0.1)


def test_chunk_that_the_camera_has_not_is_an_error(open_camera: OpenCamera) -> None:
    for features, chunk, message in (
        (PULSES_IN_CHUNK, "ChunkCounterVal", r"no node ChunkCounterVal; did you mean ChunkCounterValue\?"),
        (PULSES_IN_CHUNK, "ChunkExposureTime", "ChunkExposureTime holds no whole number"),
        (TRIGGERED, "ChunkCounterValue", "set ChunkModeActive to true"),
    ):
        with pytest.raises(CameraError, match=rf"camera\.missed_triggers\.chunk: .*{message}"):
            open_camera(features, missed_triggers={"chunk": chunk})


def test_counter_that_the_camera_has_not_is_an_error(open_camera: OpenCamera) -> None:
    with pytest.raises(CameraError, match=r"camera\.missed_triggers\.node: the camera has no node MissedTriggerCount"):
        open_camera(TRIGGERED, missed_triggers={"node": "MissedTriggerCount"})


def test_stalled_stream_of_a_free_running_camera_is_a_loss(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera, [("AcquisitionFrameRate", 50.0)], free_running=True, lost_after_s=0.5, buffers=256)
    take(camera, 2)
    plant.tell("stall SIM0001 60000")
    lost = next(one for one in iter(lambda: camera.capture(0.1), ...) if one is not None and one.problem)
    assert lost.problem is Cause.CAMERA_LOST
    with pytest.raises(CameraError, match=r"camera Simulator-1 SIM0001 is lost: no frame for \d\.\d s"):
        camera.capture(0.1)


def test_camera_whose_exposure_was_changed_is_opened_anew(plant: Plant, open_camera: OpenCamera) -> None:
    """Somebody turned a knob in the maker's viewer: the threshold holds for the exposure of the calibration only."""
    camera = started(open_camera, check_features_s=0.1)
    pull(plant, camera, 1)
    plant.tell("exposure SIM0001 9000")
    assert take(camera, 1)[0].problem is Cause.CAMERA_LOST
    with pytest.raises(CameraError, match=r"lost its settings: ExposureTime is 9000\.0 and was set to 5000\.0"):
        camera.capture(0.1)
    camera.close()
    camera = started(open_camera, check_features_s=0.1)
    assert [camera.capture(0.1) for _ in range(3)] == [None] * 3
    assert names(pull(plant, camera, 1)) == ["frame 1"]


def test_unplugged_camera_is_found_out_and_found_again(plant: Plant, open_camera: OpenCamera) -> None:
    camera = started(open_camera, lost_after_s=0.2)
    pull(plant, camera, 1)
    plant.unplug()
    lost = take(camera, 1)[0]
    assert (lost.problem, lost.source) == (Cause.CAMERA_LOST, "the loss of camera Simulator-1 SIM0001")
    with pytest.raises(CameraError, match="SIM0001 is lost: its access status is 'no access'"):
        camera.capture(0.1)
    camera.close()
    with pytest.raises(CameraError, match="no camera found"):
        open_camera(TRIGGERED)
    plant.plug()
    camera = started(open_camera)
    assert names(pull(plant, camera, 1)) == ["frame 1"]


def test_another_model_in_its_place_is_refused(plant: Plant, open_camera: OpenCamera, tmp_path: Path) -> None:
    open_camera(TRIGGERED, tmp_path).close()
    plant.plug(model="Simulator-2")
    with pytest.raises(CameraError, match=r"another camera is in its place: .*Simulator-2.*began with .*Simulator-1"):
        open_camera(TRIGGERED, tmp_path)
    plant.plug(model="Simulator-1")
    open_camera(TRIGGERED, tmp_path)


def test_list_of_devices_changes(plant: Plant) -> None:
    plant.list_cameras(
        PlantCamera("A1", user_id="left"), PlantCamera("A2", model="Big"), PlantCamera("A3", plugged=False)
    )
    found = list_cameras((plant.producer,))
    assert [(one.serial, one.model, one.user_id, one.access) for one in found] == [
        ("A1", "Simulator-1", "left", "free"),
        ("A2", "Big", "", "free"),
    ]
    plant.plug("A3")
    plant.unplug("A1")
    assert [one.serial for one in list_cameras((plant.producer,))] == ["A2", "A3"]


def test_user_set_is_loaded_by_a_command(plant: Plant, open_camera: OpenCamera) -> None:
    """The value of a feature that a command changes must not come from the cache."""
    camera = open_camera([("Gain", 6.0), ("UserSetSelector", "Default"), ("UserSetLoad", True)])
    assert camera.node_map.get_node("Gain").value == 0.0


def test_older_name_of_a_feature_is_tolerated(open_camera: OpenCamera) -> None:
    camera = open_camera([("ExposureTimeAbs", 700.0)])
    assert camera.node_map.get_node("ExposureTime").value == 700.0
