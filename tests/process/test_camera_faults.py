"""What plants do to cameras, done to a simulated one under a real daemon: every part has its verdict and cause."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..gentl_simulator.plant import Plant, PlantCamera
from ..recovery import Recovered
from .camera_events import events, settled_events
from .conftest import Daemon, StartDaemon, samples, wait_for

pytestmark = pytest.mark.process

#: A new camera process must deliver so long after the camera is back: its start, and the longest pause.
RECOVERY_S = 30.0


def causes(daemon: Daemon) -> Counter[str]:
    return Counter(record["cause"] for record in daemon.records())


def with_camera(start: StartDaemon, plant: Plant) -> Callable[..., Daemon]:
    """Starts a daemon on the plant's camera."""
    generator = np.random.default_rng(4)
    plant.write_parts(generator.integers(0, 256, (64, 64), np.uint8) for _ in range(8))

    def start_line(features: dict[str, Any], supervision: dict[str, Any] | None = None, **keys: Any) -> Daemon:
        camera = {
            "kind": "genicam",
            "producers": [str(plant.producer)],
            "serial": "SIM0001",
            "features": [{"name": name, "value": value} for name, value in features.items()],
            "lost_after_s": 1.0,
            "buffers": 64,
            **keys,
        }
        # Room for all that comes while a worker stands still: no frame is refused for want of it.
        room = {"queue_frames": 64}
        return start(camera=camera, line=room, supervision={"camera_pause_s": 0.5, **(supervision or {})})

    return start_line


@pytest.fixture
def line(start: StartDaemon, plant: Plant) -> Callable[..., Daemon]:
    """Starts a line whose worker computes the network."""
    return with_camera(start, plant)


@pytest.fixture
def quick_line(start_quick: StartDaemon, plant: Plant) -> Callable[..., Daemon]:
    """Starts a line whose worker needs no network."""
    return with_camera(start_quick, plant)


LINE_TRIGGER = {"TriggerMode": "On", "TriggerSource": "Line1"}
FREE_RUN = {"AcquisitionFrameRate": 20.0}


def pull(daemon: Daemon, plant: Plant, count: int) -> None:
    """So many pulses of the light barrier, and the verdicts of their parts."""
    before = len(daemon.records())
    plant.tell(f"trigger SIM0001 {count}")
    daemon.wait_for_verdicts(before + count)


def camera_is_up(daemon: Daemon) -> bool:
    return any(
        sample.labels["process"] == "camera" and sample.value == 1 for sample in samples(daemon, "inspector_process_up")
    )


def armed(daemon: Daemon, plant: Plant) -> None:
    wait_for(lambda: plant.state()["grabbing"], "the camera to be started\n" + daemon.errors())


def all_taken(plant: Plant, parts: int, buffers: int) -> None:
    """So many parts were exposed, and every buffer waits for the next one: nothing is under way in the camera."""
    wait_for(
        lambda: (now := plant.state())["parts"] == parts and now["queued"] == buffers,
        f"{parts} parts exposed and taken",
    )


def test_dropped_and_incomplete_frames_of_a_triggered_line_are_rejected_with_their_cause(
    line: Callable[..., Daemon], plant: Plant
) -> None:
    daemon = line(LINE_TRIGGER)
    armed(daemon, plant)
    pull(daemon, plant, 5)
    plant.tell("drop SIM0001 3")
    pull(daemon, plant, 6)
    plant.tell("incomplete SIM0001 2")
    pull(daemon, plant, 6)
    assert daemon.stop() == 0, daemon.errors()
    counted = daemon.check_ledger()
    assert len(daemon.records()) == 17
    assert (counted["frame_missing"], counted["frame_incomplete"]) == (3, 2)
    assert counted["score_within_threshold"] + counted["score_above_threshold"] == 12


def test_stalled_stream_and_crashed_producer_are_found_out_and_a_new_camera_process_goes_on(
    line: Callable[..., Daemon], plant: Plant, recovered: Recovered
) -> None:
    daemon = line(FREE_RUN, free_running=True)
    daemon.wait_for_verdicts(5)
    camera = daemon.wait_for_child("camera")
    plant.tell("stall SIM0001 3600000")
    stalled_ns = time.monotonic_ns()
    wait_for(lambda: causes(daemon)["camera_lost"] >= 1, "the loss among the verdicts\n" + daemon.errors())
    since = time.monotonic()
    camera = daemon.wait_for_child("camera", other_than=camera)
    daemon.wait_for_verdicts(len(daemon.records()) + 5)
    assert time.monotonic() - since < RECOVERY_S
    recovered(daemon, stalled_ns)
    plant.crash()
    crashed_ns = time.monotonic_ns()
    daemon.wait_for_child("camera", other_than=camera)
    assert recovered(daemon, crashed_ns) < RECOVERY_S
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    assert re.search(r"SIM0001 is lost: no frame for \d", daemon.errors())
    assert "camera: process gone (killed by signal 6), starting again" in daemon.errors()


def test_unplugged_camera_is_waited_for_and_another_model_is_refused(line: Callable[..., Daemon], plant: Plant) -> None:
    """It stays away for more tries than the restart budget allows: a cable that is out must not end the daemon."""
    daemon = line(LINE_TRIGGER, {"restarts": 1})
    armed(daemon, plant)
    pull(daemon, plant, 3)
    plant.unplug()
    wait_for(lambda: causes(daemon)["camera_lost"] == 1, "the loss among the verdicts\n" + daemon.errors())
    wait_for(lambda: daemon.errors().count("no camera found") >= 2, "two tries in vain\n" + daemon.errors())
    plant.plug(model="Simulator-2")
    wait_for(lambda: "another camera is in its place" in daemon.errors(), "the refusal\n" + daemon.errors())
    before = len(daemon.records())
    plant.plug(model="Simulator-1")
    since = time.monotonic()
    armed(daemon, plant)
    assert time.monotonic() - since < RECOVERY_S
    pull(daemon, plant, 3)
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    assert [record["source"].split(" at ")[0] for record in daemon.records()[before:]] == [
        "frame 1",
        "frame 2",
        "frame 3",
    ]


def test_parts_that_come_faster_than_the_exposure_allows_are_rejected_and_none_is_lost(
    line: Callable[..., Daemon], plant: Plant
) -> None:
    """A pulse during an exposure makes no frame and leaves no gap in the ids: only the camera's counter tells of it."""
    daemon = line(
        {
            **LINE_TRIGGER,
            "ExposureTime": 30_000.0,
            "TriggerOverlap": "Off",
            "CounterSelector": "Counter0",
            "CounterEventSource": "FrameTriggerMissed",
        },
        missed_triggers={"node": "CounterValue"},
    )
    armed(daemon, plant)
    pulses = 40
    for _ in range(pulses - 2):
        plant.tell("trigger SIM0001 1")
        time.sleep(0.007)
    plant.tell("trigger SIM0001 2")  # one of them comes too soon, however busy this machine is
    daemon.wait_for_verdicts(pulses)
    camera = plant.state()
    assert camera["missed"] > 0
    assert camera["parts"] + camera["missed"] == pulses
    counted_events = settled_events(daemon, overtrigger=camera["missed"], frame_missing=camera["missed"])
    assert counted_events["overtrigger"] == counted_events["frame_missing"] == camera["missed"]
    assert daemon.stop() == 0, daemon.errors()
    counted = daemon.check_ledger()
    assert len(daemon.records()) == pulses
    assert counted["frame_missing"] == camera["missed"]
    assert counted["score_within_threshold"] + counted["score_above_threshold"] == camera["parts"]


def test_frames_that_find_no_buffer_are_rejected_and_named(line: Callable[..., Daemon], plant: Plant) -> None:
    """A burst of pulses, faster than this machine takes frames out of two buffers."""
    daemon = line({**LINE_TRIGGER, "ExposureTime": 20.0}, buffers=2)
    armed(daemon, plant)
    pull(daemon, plant, 1)
    pulses, buffers = 1, plant.state()["queued"]
    while not (underruns := plant.state()["underruns"]):
        plant.tell("trigger SIM0001 300")
        pulses += 300
        assert pulses < 3000, "every frame found a buffer\n" + daemon.errors()
        all_taken(plant, pulses, buffers)
    plant.tell("trigger SIM0001 1")  # it finds a buffer, and its id tells of the frames that did not
    pulses += 1
    daemon.wait_for_verdicts(pulses)
    happened = settled_events(daemon, underrun=underruns, id_gap=underruns, frame_missing=underruns)
    assert happened["underrun"] == happened["id_gap"] == happened["frame_missing"] == underruns
    assert plant.state()["underruns"] == underruns
    assert daemon.stop() == 0, daemon.errors()
    counted = daemon.check_ledger()
    assert len(daemon.records()) == pulses
    assert counted["frame_missing"] == underruns > 0


def test_software_triggers_without_a_frame_in_time_are_rejected_once(line: Callable[..., Daemon], plant: Plant) -> None:
    """One frame is lost, others come after they were given up: none of them is another part, or another one's."""
    daemon = line({"TriggerMode": "On", "TriggerSource": "Software"}, software_trigger_rate=5.0)
    daemon.wait_for_verdicts(3)
    plant.tell("drop SIM0001 1")
    wait_for(lambda: causes(daemon)["frame_missing"] >= 1, "the missed trigger\n" + daemon.errors())
    daemon.wait_for_verdicts(len(daemon.records()) + 2)
    late = events(daemon)["late"]
    plant.tell("slow SIM0001 1500")
    wait_for(lambda: events(daemon)["late"] > late, "the late frame\n" + daemon.errors())
    plant.tell("slow SIM0001 0")
    daemon.wait_for_verdicts(len(daemon.records()) + 5)

    def all_counted() -> bool:
        """A machine that stands still makes frames late too, at any time: one is told, and counted when it comes."""
        missed, now = causes(daemon)["frame_missing"], events(daemon)
        return now["late"] + 1 == now["missed_trigger"] == now["frame_missing"] == missed

    wait_for(all_counted, "each trigger without a frame counted, and all their frames but one\n" + daemon.errors())
    assert daemon.stop() == 0, daemon.errors()
    counted = daemon.check_ledger()
    assert counted["frame_missing"] >= 2
    frames = [one for one in daemon.records() if one["cause"] != "frame_missing"]
    assert all(one["source"].startswith(f"frame {one['part']} at ") for one in frames), "a frame of another trigger"


def test_frames_that_are_padded_late_short_or_counted_anew_are_parts_like_others(
    quick_line: Callable[..., Daemon], plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    monkeypatch.setenv("QUICK_WORKER_HOLD", str(hold))  # the camera is opened, and not started before a worker is ready
    daemon = quick_line(LINE_TRIGGER)
    wait_for(lambda: camera_is_up(daemon), "the camera to be open\n" + daemon.errors())
    plant.tell("padding SIM0001 5")
    plant.tell("id SIM0001 65534")
    hold.unlink()
    armed(daemon, plant)
    pull(daemon, plant, 4)
    plant.tell("slow SIM0001 150")
    pull(daemon, plant, 2)
    plant.tell("slow SIM0001 0")
    plant.tell("short SIM0001 40 1")
    pull(daemon, plant, 2)
    assert daemon.stop() == 0, daemon.errors()
    counted = daemon.check_ledger()
    assert counted["score_within_threshold"] + counted["score_above_threshold"] == len(daemon.records()) == 8
    frames = [record["source"].split(" at ")[0] for record in daemon.records()]
    assert sorted(frames) == sorted(f"frame {number}" for number in (65534, 65535, *range(6)))


def recovered(daemon: Daemon, plant: Plant) -> None:
    """The next part that is judged; the first ones may come before the worker knows of the new camera process."""
    since = time.monotonic()
    armed(daemon, plant)
    while True:
        before = len(daemon.records())
        pull(daemon, plant, 1)
        if any(record["score"] is not None for record in daemon.records()[before:]):
            break
    assert time.monotonic() - since < RECOVERY_S


def test_changed_exposure_and_a_camera_that_leaves_the_list_are_set_right_again(
    line: Callable[..., Daemon], plant: Plant
) -> None:
    daemon = line({**LINE_TRIGGER, "ExposureTime": 5000.0}, check_features_s=0.3)
    armed(daemon, plant)
    pull(daemon, plant, 2)
    camera = daemon.wait_for_child("camera")
    plant.tell("exposure SIM0001 9000")
    wait_for(lambda: causes(daemon)["camera_lost"] == 1, "the loss among the verdicts\n" + daemon.errors())
    daemon.wait_for_child("camera", other_than=camera)  # the one that lost it still grabs, and would take the pulse
    recovered(daemon, plant)
    plant.list_cameras(PlantCamera("SIM0001"), PlantCamera("SIM0002"))
    pull(daemon, plant, 2)  # another camera beside it changes nothing
    plant.list_cameras(PlantCamera("SIM0002"))
    wait_for(lambda: causes(daemon)["camera_lost"] == 2, "the loss among the verdicts\n" + daemon.errors())
    wait_for(lambda: "no camera has (serial 'SIM0001')" in daemon.errors(), "a try in vain\n" + daemon.errors())
    plant.list_cameras(PlantCamera("SIM0001"), PlantCamera("SIM0002"))
    recovered(daemon, plant)
    lost = {one.labels["cause"]: one.value for one in samples(daemon, "inspector_parts_total")}["camera_lost"]
    assert daemon.stop() == 0, daemon.errors()
    counted = daemon.check_ledger()
    assert counted.pop("camera_lost") == lost == 2  # both verdicts were long out when the metrics were asked
    assert counted["score_within_threshold"] + counted["score_above_threshold"] >= 6
    assert set(counted) <= {"score_within_threshold", "score_above_threshold", "worker_not_ready"}
    assert "lost its settings: ExposureTime is 9000.0 and was set to 5000.0" in daemon.errors()
