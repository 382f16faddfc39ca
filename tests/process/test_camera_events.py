"""What happens to a camera is counted by kind in the daemon's metrics, over the processes that played it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from inspector.domain.camera_events import CameraEvent

from ..gentl_simulator.plant import Plant
from .camera_events import events, settled_events
from .conftest import StartDaemon, wait_for

pytestmark = pytest.mark.process

LINE_TRIGGER = [{"name": "TriggerMode", "value": "On"}, {"name": "TriggerSource", "value": "Line1"}]


def test_each_kind_has_its_counter(start: StartDaemon, plant: Plant) -> None:
    generator = np.random.default_rng(4)
    plant.write_parts(generator.integers(0, 256, (64, 64), np.uint8) for _ in range(8))
    camera = {"kind": "genicam", "producers": [str(plant.producer)], "serial": "SIM0001", "features": LINE_TRIGGER}
    daemon = start(camera={**camera, "lost_after_s": 0.5}, supervision={"camera_pause_s": 0.5})
    armed: Callable[[], object] = lambda: wait_for(  # noqa: E731
        lambda: plant.state()["grabbing"], "the camera to be started\n" + daemon.errors()
    )

    def pull(count: int) -> None:
        before = len(daemon.records())
        plant.tell(f"trigger SIM0001 {count}")
        daemon.wait_for_verdicts(before + count)

    armed()
    assert events(daemon) == dict.fromkeys((event.value for event in CameraEvent), 0)
    pull(2)
    plant.tell("drop SIM0001 2")
    pull(3)
    plant.tell("incomplete SIM0001 1")
    pull(2)
    plant.tell("duplicate SIM0001 1")
    pull(2)
    plant.unplug()
    causes: Callable[[], list[str]] = lambda: [record["cause"] for record in daemon.records()]  # noqa: E731
    wait_for(lambda: "camera_lost" in causes(), "the loss among the verdicts\n" + daemon.errors())
    wait_for(lambda: "no camera found" in daemon.errors(), "a try in vain\n" + daemon.errors())
    plant.plug()
    armed()
    plant.tell("drop SIM0001 1")  # before the first frame: whether one came before it, no id can tell
    plant.tell("trigger SIM0001 1")
    pull(1)
    plant.tell("drop SIM0001 1")
    pull(2)
    expected = {
        "frame_missing": 3,
        "frame_incomplete": 1,
        "frame_corrupt": 0,
        "camera_lost": 1,
        "id_gap": 3,
        "underrun": 0,
        "repeated": 1,
        "overtrigger": 0,
        "missed_trigger": 0,
        "late": 0,
    }
    counted = settled_events(daemon, retry=2, **expected)
    assert counted.pop("retry") >= 2
    assert counted == expected
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
