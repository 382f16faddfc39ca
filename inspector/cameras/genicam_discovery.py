"""Finds GenICam cameras: which producers there are, what they offer, and the one that is meant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.config import cameras as settings
from inspector.domain.errors import CameraError


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
    driver = load_driver()
    harvester = driver.open_harvester(find_producers(producers, environ))
    try:
        return describe(harvester, driver)
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


def choose_named(found: Sequence[FoundCamera], name: str) -> FoundCamera:
    """The one camera with this serial number, user id, model or index.

    Raises:
        CameraError: None or several fit; the message lists what is there.
    """
    for key in ("serial", "user_id", "model"):
        if any(getattr(camera, key) == name for camera in found):
            return choose(found, settings.GenicamCamera.model_validate({"kind": "genicam", key: name}))
    if name.isdecimal():
        return choose(found, settings.GenicamCamera(kind="genicam", index=int(name)))
    return choose(found, settings.GenicamCamera(kind="genicam", serial=name))


@contextlib.contextmanager
def open_node_map(
    producers: tuple[Path, ...], name: str, environ: Mapping[str, str] = os.environ
) -> Iterator[tuple[FoundCamera, Any]]:
    """A camera and its node map as it is, nothing written; closed at the end of the block.

    Args:
        producers: GenTL producer files; without any, those of GENICAM_GENTL64_PATH.
        name: Serial number, user id, model or index.
        environ: Environment.

    Raises:
        CameraError: No or several cameras fit, or it is in use.
    """
    driver = load_driver()
    harvester = driver.open_harvester(find_producers(producers, environ))
    try:
        chosen = choose_named(describe(harvester, driver), name)
        try:
            acquirer = driver.create_acquirer(harvester, chosen.index)
        except driver.GENICAM_ERRORS as error:
            raise CameraError(
                f"camera {chosen.model} {chosen.serial} ({chosen.access}) can't be opened: {error}"
            ) from error
        try:
            yield chosen, acquirer.remote_device.node_map
        finally:
            driver.destroy_acquirer(acquirer)
    finally:
        driver.close_harvester(harvester)


def describe(harvester: Any, driver: Any) -> list[FoundCamera]:
    """The cameras in the list of an open Harvester."""
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


def load_driver() -> Any:
    """The adapter of harvesters, loaded now because most stations have no GenICam camera."""
    try:
        from inspector.cameras import genicam_driver
    except ImportError as error:
        raise CameraError(
            f"GenICam cameras need the packages harvesters and genicam ({error}); "
            "install them with: pip install harvesters==1.4.3 'genicam>=1.6,<1.7'"
        ) from error
    return genicam_driver
