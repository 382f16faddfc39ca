"""GenICam cameras of any maker, through the maker's GenTL producer (.cti file) and harvesters.

harvesters holds the interpreter while it waits for a frame and leaks a little with each opening, so a camera
process opens one camera, once, and leaves when it is lost: the gate starts a new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.cameras.genicam_frames import SUPPORTED_FORMATS
from inspector.cameras.genicam_stream import FrameStream
from inspector.config import cameras as settings
from inspector.domain.errors import CameraError
from inspector.domain.frame import Capture


@dataclass(frozen=True)
class FoundCamera:
    """A camera that a producer offers; an empty text where it does not say.

    Attributes:
        index: Place in the list, as the configuration's `index`.
        vendor: Maker.
        model: Model name.
        serial: Serial number.
        user_id: Name that the user gave it.
        access: "free", "busy", and so on.
        transport: Kind of transport, for example GEV (GigE Vision) or U3V (USB3 Vision).
        producer: File that offers it.
    """

    index: int
    vendor: str
    model: str
    serial: str
    user_id: str
    access: str
    transport: str
    producer: str


def find_producers(named: Sequence[Path], environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The producers to load.

    Args:
        named: Files from the configuration or command line; if there are any, only they.
        environ: Else every .cti file of the folders in GENICAM_GENTL64_PATH.

    Raises:
        CameraError: There is none.
    """
    if named:
        return tuple(dict.fromkeys(path.absolute() for path in named))
    folders = [Path(folder) for folder in environ.get("GENICAM_GENTL64_PATH", "").split(os.pathsep) if folder]
    found = tuple(dict.fromkeys(file for folder in folders for file in sorted(folder.glob("*.cti"))))
    if not found:
        where = f"no .cti file in {', '.join(map(str, folders))}" if folders else "GENICAM_GENTL64_PATH is not set"
        raise CameraError(
            f"no GenTL producer: {where}; install the software of the camera's maker and name its .cti file "
            "under camera.producers (or with --producer)"
        )
    return found


def list_cameras(producers: tuple[Path, ...], environ: Mapping[str, str] = os.environ) -> list[FoundCamera]:
    """The cameras that the producers offer; none is opened.

    Args:
        producers: GenTL producer files; without any, those of GENICAM_GENTL64_PATH.
        environ: Environment.

    Raises:
        CameraError: No producer is known, one can't be loaded, or harvesters is not installed.
    """
    driver = _driver()
    harvester = driver.open_harvester(find_producers(producers, environ))
    try:
        return _describe(harvester, driver)
    finally:
        driver.close_harvester(harvester)


def choose(found: Sequence[FoundCamera], config: settings.GenicamCamera) -> FoundCamera:
    """The one camera that the configuration means.

    Raises:
        CameraError: None or several fit; the message lists what is there.
    """
    wanted = {name: getattr(config, name) for name in ("serial", "user_id", "model", "index")}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    fitting = [camera for camera in found if all(getattr(camera, name) == value for name, value in wanted.items())]
    if len(fitting) == 1:
        return fitting[0]
    if not found:
        raise CameraError("no camera found; is it powered, in the same network, and not opened by another program?")
    asked = " and ".join(f"{name} {value!r}" for name, value in wanted.items()) or "nothing to choose by"
    problem = "no camera has" if not fitting else f"{len(fitting)} cameras fit"
    there = "; ".join(
        f"index {camera.index}: model {camera.model!r}, serial {camera.serial!r}, user_id {camera.user_id!r}"
        for camera in found
    )
    raise CameraError(f"{problem} ({asked}); choose by camera.serial, user_id, model or index. There are {there}")


class GenicamCamera:
    """A GenICam camera; the arrival of a frame at this machine is its trigger.

    Exposure, read-out and transfer lie before it: the clock of the device is not compared with the clock here.

    Args:
        config: Producers, choice, features, buffers, time limit.
        clock_ns: Monotonic clock.
        sleep: Waits so many seconds.
        environ: Environment.
    """

    on_demand = False

    def __init__(
        self,
        config: settings.GenicamCamera,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._config = config
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._environ = environ
        self._driver: Any = None
        self._harvester: Any = None
        self._stream: FrameStream | None = None
        self._acquirer: Any = None

    def open(self) -> None:
        """Opens the chosen camera and writes its features.

        Raises:
            CameraError: No or several cameras fit, it is in use, a feature is refused, or its frames can't be
                used; the message says what to change.
        """
        self.close()
        self._driver = driver = _driver()
        self._harvester = driver.open_harvester(find_producers(self._config.producers, self._environ))
        try:
            self._open_chosen(choose(_describe(self._harvester, driver), self._config))
        except BaseException:
            self.close()
            raise

    def _open_chosen(self, chosen: FoundCamera) -> None:
        from inspector.cameras.genicam_features import write_features

        name = f"{chosen.model} {chosen.serial}".strip()
        try:
            self._acquirer = self._driver.create_acquirer(self._harvester, chosen.index)
            self._acquirer.num_buffers = max(self._config.buffers, self._acquirer.min_num_buffers)
            if len(self._acquirer.data_streams) != 1:
                raise CameraError(
                    f"camera {name} has {len(self._acquirer.data_streams)} data streams; cameras with one are supported"
                )
            nodes = self._acquirer.remote_device.node_map
            write_features(nodes, self._config.features)
            _check_use(nodes)
        except self._driver.GENICAM_ERRORS as error:
            raise CameraError(f"camera {name} ({chosen.access}) can't be opened: {error}") from error
        self._stream = FrameStream(
            self._acquirer,
            self._driver,
            name=name,
            gige=chosen.transport == "GEV",
            silence_ns=round(self._config.lost_after_s * 1e9),
            free_running=self._config.free_running,
            clock_ns=self._clock_ns,
            sleep=self._sleep,
        )

    def start(self) -> None:
        """Starts the acquisition."""
        self._opened().start()

    def capture(self, timeout_s: float) -> Capture | None:
        """The next frame, or a frame that was lost or came incomplete, with its problem named."""
        return self._opened().capture(timeout_s)

    def close(self) -> None:
        """Stops and closes the camera and lets go of the producers."""
        self._stream = None
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


def _describe(harvester: Any, driver: Any) -> list[FoundCamera]:
    found = []
    for index, info in enumerate(harvester.device_info_list):
        known = info.property_dict
        found.append(
            FoundCamera(
                index=index,
                vendor=known["vendor"] or "",
                model=known["model"] or "",
                serial=known["serial_number"] or "",
                user_id=known["user_defined_name"] or "",
                access=driver.ACCESS.get(known["access_status"], "unknown"),
                transport=known["tl_type"] or "",
                producer=info.parent.parent.parent.path_name,
            )
        )
    return found


def _driver() -> Any:
    """The adapter of harvesters, loaded now because most stations have no GenICam camera."""
    try:
        from inspector.cameras import genicam_driver
    except ImportError as error:
        raise CameraError(
            f"GenICam cameras need the packages harvesters and genicam ({error}); "
            "install them with: pip install harvesters==1.4.3 'genicam>=1.6,<1.7'"
        ) from error
    return genicam_driver
