"""GenICam cameras of any maker, through the maker's GenTL producer (.cti file) and harvesters.

harvesters holds the interpreter while it waits for a frame and leaks a little with each opening, so a camera
process opens one camera, once, and leaves when it is lost: the gate starts a new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from inspector.cameras.genicam_discovery import FoundCamera, choose, describe, find_producers, load_driver
from inspector.cameras.genicam_frames import SUPPORTED_FORMATS
from inspector.cameras.genicam_stream import FrameStream
from inspector.cameras.genicam_trigger import SoftwareTrigger
from inspector.config import cameras as settings
from inspector.domain.camera_events import CameraEvent
from inspector.domain.errors import CameraError
from inspector.domain.frame import Allocate, Capture, new_pixels


class GenicamCamera:
    """A GenICam camera; the arrival of a frame at this machine is its trigger.

    Exposure, read-out and transfer lie before it: the clock of the device is not compared with the clock here.

    Args:
        config: Producers, choice, features, buffers, time limit.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
        environ: Environment.
        memory: Folder in which the camera's model is kept for the next camera process of the run.
        allocate: Memory for the frames.
        raw_bayer: Give frames of Bayer formats as a `Mosaic`.
    """

    on_demand = False

    def __init__(
        self,
        config: settings.GenicamCamera,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
        environ: Mapping[str, str] = os.environ,
        memory: Path | None = None,
        allocate: Allocate = new_pixels,
        raw_bayer: bool = False,
    ) -> None:
        self._config = config
        self._allocate = allocate
        self._raw_bayer = raw_bayer
        self._memory = memory
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._environ = environ
        self._driver: Any = None
        self._harvester: Any = None
        self._stream: FrameStream | None = None
        self._trigger: SoftwareTrigger | None = None
        self._acquirer: Any = None

    def open(self) -> None:
        """Opens the chosen camera and writes its features.

        Raises:
            CameraError: No or several cameras fit, it is in use, a feature is refused, or its frames can't be
                used; the message says what to change.
        """
        self.close()
        self._driver = driver = load_driver()
        self._harvester = driver.open_harvester(find_producers(self._config.producers, self._environ))
        try:
            chosen = choose(describe(self._harvester, driver), self._config)
            _check_model(chosen, self._memory)
            self._open_chosen(chosen)
        except BaseException:
            self.close()
            raise

    def _open_chosen(self, chosen: FoundCamera) -> None:
        from inspector.cameras.genicam_features import load_feature_file, write_features
        from inspector.cameras.genicam_guard import FeatureGuard
        from inspector.cameras.genicam_missed import MissedTriggerCounter
        from inspector.cameras.genicam_pulses import PulseCounter

        name = f"{chosen.model} {chosen.serial}".strip()
        try:
            self._acquirer = self._driver.create_acquirer(self._harvester, chosen.index)
            self._acquirer.num_buffers = max(self._config.buffers, self._acquirer.min_num_buffers)
            if len(self._acquirer.data_streams) != 1:
                raise CameraError(
                    f"camera {name} has {len(self._acquirer.data_streams)} data streams; cameras with one are supported"
                )
            nodes = self._acquirer.remote_device.node_map
            file = self._config.features_file
            names = [] if file is None else load_feature_file(nodes, file)
            names += write_features(nodes, self._config.features)
            _check_use(nodes)
            counter = self._config.missed_triggers
            missed = pulses = None
            if counter is not None and counter.node is not None:
                missed = MissedTriggerCounter(nodes, counter.node, counter, self._clock_ns)
            if counter is not None and counter.chunk is not None:
                pulses = PulseCounter(nodes, counter.chunk)
            # A counter may be set to 0 by a feature, and then counts.
            counts = None if counter is None else counter.node or (counter.chunk or "").removeprefix("Chunk")
            guard = FeatureGuard(nodes, (name for name in names if name != counts))
        except self._driver.GENICAM_ERRORS as error:
            raise CameraError(f"camera {name} ({chosen.access}) can't be opened: {error}") from error
        self._stream = FrameStream(
            self._acquirer,
            self._driver,
            name=name,
            gige=chosen.transport == "GEV",
            buffers=self._acquirer.num_buffers,
            silence_ns=round(self._config.lost_after_s * 1e9),
            free_running=self._config.free_running,
            guard=guard,
            guard_ns=None if self._config.check_features_s is None else round(self._config.check_features_s * 1e9),
            missed=missed,
            pulses=pulses,
            allocate=self._allocate,
            raw_bayer=self._raw_bayer,
            clock_ns=self._clock_ns,
            sleep=self._sleep,
        )

        if self._config.software_trigger_rate is not None:
            self._trigger = SoftwareTrigger(
                self._stream,
                self._trigger_node(nodes, name),
                self._config.software_trigger_rate,
                self._clock_ns,
                self._sleep,
            )

    def _trigger_node(self, nodes: Any, name: str) -> Callable[[], None]:
        """What fires the software trigger.

        Raises:
            CameraError: The camera has none, or listens to another source.
        """
        source = nodes.get_node("TriggerSource").value if nodes.has_node("TriggerSource") else "Software"
        mode = nodes.get_node("TriggerMode").value if nodes.has_node("TriggerMode") else "Off"
        if not nodes.has_node("TriggerSoftware") or (mode, source) != ("On", "Software"):
            raise CameraError(
                f"camera.software_trigger_rate: camera {name} has TriggerMode {mode} and TriggerSource {source}; set "
                "TriggerMode to On and TriggerSource to Software under camera.features"
            )
        node = nodes.get_node("TriggerSoftware")

        def fire() -> None:
            try:
                node.execute()
            except self._driver.GENICAM_ERRORS as error:
                raise CameraError(f"camera {name} is lost: it takes no trigger: {error}") from error

        return fire

    @property
    def node_map(self) -> Any:
        """The open camera's node map."""
        self._opened()
        return self._acquirer.remote_device.node_map

    @property
    def name(self) -> str:
        """The open camera's model and serial number."""
        return self._opened().name

    def start(self) -> None:
        """Starts the acquisition, and the schedule of the software trigger."""
        self._opened().start()
        if self._trigger is not None:
            self._trigger.start()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next frame, or a frame that was lost or came incomplete, with its problem named."""
        stream = self._opened()
        return stream.capture(timeout_s) if self._trigger is None else self._trigger.capture(timeout_s)

    def events(self) -> Mapping[CameraEvent, int]:
        """As `inspector.cameras.base.CountsEvents`."""
        return {} if self._stream is None else self._stream.events

    def close(self) -> None:
        """Stops and closes the camera and lets go of the producers."""
        self._stream = self._trigger = None
        if self._acquirer is not None:
            self._driver.destroy_acquirer(self._acquirer)
            self._acquirer = None
        if self._harvester is not None:
            self._driver.close_harvester(self._harvester)
            self._harvester = None

    def _opened(self) -> FrameStream:
        if self._stream is None:
            raise RuntimeError("the GenICam camera is not open")
        return self._stream


def _check_model(chosen: FoundCamera, memory: Path | None) -> None:
    """Refuses a camera of another model than the run began with: its images would not be those calibrated on."""
    if memory is None:
        return
    model = f"{chosen.vendor} {chosen.model}"
    path = memory / "camera-model"
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before is None:
            path.write_text(model, encoding="utf-8")
    except OSError as error:
        raise CameraError(f"can't use {path}: {error.strerror}") from error
    if before is not None and before != model:
        raise CameraError(
            f"another camera is in its place: {model!r} (serial {chosen.serial!r}), this run began with {before!r}; "
            "plug the former model in again, or calibrate for the new one and restart"
        )


def _check_use(nodes: Any) -> None:
    """Refuses settings with which no frame could be used."""
    if nodes.has_node("PixelFormat") and nodes.get_node("PixelFormat").value not in SUPPORTED_FORMATS:
        node = nodes.get_node("PixelFormat")
        usable = [name for name in node.symbolics if name in SUPPORTED_FORMATS]
        raise CameraError(
            f"camera.features: PixelFormat {node.value} is not supported (supported: {', '.join(SUPPORTED_FORMATS)}); "
            f"this camera could be set to {', '.join(usable) or 'none of them'}"
        )
    if nodes.has_node("AcquisitionMode") and nodes.get_node("AcquisitionMode").value != "Continuous":
        raise CameraError(
            f"camera.features: AcquisitionMode is {nodes.get_node('AcquisitionMode').value}, which ends after some "
            "frames; set it to Continuous (a triggered camera also stands on Continuous, with TriggerMode On)"
        )
