"""Writes the configured features of a GenICam camera, in order, and reads each one back."""

from __future__ import annotations

import contextlib
import difflib
import enum
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from inspector.cameras.feature_file import FeatureLine, read_feature_file
from inspector.cameras.genicam_driver import GENICAM_ERRORS
from inspector.config.cameras import Feature
from inspector.domain.errors import CameraError

log = logging.getLogger("inspector")

#: Names of the Standard Features Naming Convention and what cameras of before it call the same, in the same unit.
_OLDER_NAMES = {
    "AcquisitionFrameRate": "AcquisitionFrameRateAbs",
    "BalanceRatio": "BalanceRatioAbs",
    "ExposureTime": "ExposureTimeAbs",
    "LineDebouncerTime": "LineDebouncerTimeAbs",
    "PtpEnable": "GevIEEE1588",
    "TriggerDelay": "TriggerDelayAbs",
}
_OTHER_NAMES = _OLDER_NAMES | {older: name for name, older in _OLDER_NAMES.items()}

#: Longest wait for a command node to be done.
_COMMAND_S = 5.0


class Kind(enum.IntEnum):
    """Kinds of nodes that can be written, with GenApi's numbers (EInterfaceType)."""

    INTEGER = 2
    BOOLEAN = 3
    COMMAND = 4
    FLOAT = 5
    STRING = 6
    ENUMERATION = 9


class Access(enum.IntEnum):
    """GenApi's access modes (EAccessMode)."""

    NOT_IMPLEMENTED = 0
    NOT_AVAILABLE = 1
    WRITE_ONLY = 2
    READ_ONLY = 3
    READ_WRITE = 4


def write_features(
    node_map: Any,
    features: Sequence[Feature],
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Writes features one after the other; the order is the camera's (a selector before what it selects).

    Args:
        node_map: The remote device's node map.
        features: Names and values; a command node is executed by the value true.
        clock_ns: Monotonic clock, for commands that take time.
        sleep: Waits so many seconds.

    Returns:
        The names as the camera knows them.

    Raises:
        CameraError: A name is unknown, a node can't be written, a value is refused, or the camera took another
            one; the message names the node, with its limits if it has some.
    """
    known = [_known_by(node_map, feature) for feature in features]
    for place, feature in enumerate(known):
        _write_one(node_map, feature, f"camera.features[{place}]", clock_ns, sleep)
    return [feature.name for feature in known]


def load_feature_file(
    node_map: Any,
    path: Path,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Writes the features of a .pfs file, in its order.

    Where a line is refused, it may depend on what stands below it: then the whole file is written, and once more,
    for a line alone might meet another place of its selector.

    Args:
        node_map: The remote device's node map.
        path: The file.
        clock_ns: Monotonic clock, for commands that take time.
        sleep: Waits so many seconds.

    Returns:
        The names as the camera knows them.

    Raises:
        CameraError: The file is wrong, or a line is refused again; the message has the file's line.
    """
    entries = read_feature_file(path)
    try:
        return [_write_line(node_map, path, entry, clock_ns, sleep) for entry in entries]
    except CameraError:
        pass  # what stands below may open it
    for entry in entries:
        with contextlib.suppress(CameraError):
            _write_line(node_map, path, entry, clock_ns, sleep)
    return [_write_line(node_map, path, entry, clock_ns, sleep) for entry in entries]


def _write_line(
    node_map: Any, path: Path, entry: FeatureLine, clock_ns: Callable[[], int], sleep: Callable[[float], None]
) -> str:
    """Writes a line of a feature file; returns the name as the camera knows it."""
    feature = _known_by(node_map, Feature(name=entry.name, value=entry.value))
    feature = feature.model_copy(update={"value": _typed(node_map, feature.name, entry.value)})
    _write_one(node_map, feature, f"{path}:{entry.line}:", clock_ns, sleep)
    return feature.name


def _known_by(node_map: Any, feature: Feature) -> Feature:
    """The feature under the name that this camera has for it."""
    other = _OTHER_NAMES.get(feature.name)
    if other is None or node_map.has_node(feature.name) or not node_map.has_node(other):
        return feature
    log.info("the camera knows %s as %s", feature.name, other)
    return feature.model_copy(update={"name": other})


def _typed(node_map: Any, name: str, text: str) -> bool | int | float | str:
    """A value of a feature file in the type of its node; what doesn't fit stays text and will be refused."""
    if not node_map.has_node(name):
        return text
    kind = node_map.get_node(name).node.principal_interface_type
    try:
        if kind == Kind.INTEGER:
            return int(text, 0)
        if kind == Kind.FLOAT:
            return float(text)
    except ValueError:
        return text
    if kind in (Kind.BOOLEAN, Kind.COMMAND):
        return {"1": True, "true": True, "0": False, "false": False}.get(text.lower(), text)
    return text


def _write_one(
    node_map: Any, feature: Feature, place: str, clock_ns: Callable[[], int], sleep: Callable[[float], None]
) -> None:
    try:
        _write(node_map, feature, clock_ns, sleep)
    except _Refused as refused:
        raise CameraError(f"{place} {feature.name}: {refused}") from None
    except GENICAM_ERRORS as error:
        limits = _limits(node_map.get_node(feature.name))
        raise CameraError(f"{place} {feature.name} = {feature.value!r}: {_first_line(error)}{limits}") from error


class _Refused(Exception):  # noqa: N818  becomes a CameraError with the place of the feature
    """Why a feature can't be written."""


def _write(node_map: Any, feature: Feature, clock_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
    if not node_map.has_node(feature.name):
        raise _Refused("the camera has no such node" + suggestion(feature.name, node_map.nodes))
    node = node_map.get_node(feature.name)
    access = node.get_access_mode()
    if access not in (Access.WRITE_ONLY, Access.READ_WRITE):
        state = Access(access).name.lower().replace("_", " ") if access in set(Access) else f"access mode {access}"
        raise _Refused(
            f"can't be written now ({state}); some nodes open only after another one is set, so mind the order"
        )
    kind = node.node.principal_interface_type
    if kind == Kind.COMMAND:
        if feature.value is not True:
            raise _Refused("is a command; give the value true to execute it, or remove it")
        _execute(node, clock_ns, sleep)
        return
    value = _fitting(kind, node, feature.value)
    node.value = value
    if access == Access.WRITE_ONLY:
        return
    taken = node.get_value(ignore_cache=True)  # the cache would only give back what was written
    if not same_value(taken, value):
        raise _Refused(f"wrote {value!r}, the camera took {taken!r}{_limits(node)}; configure a value that it takes")


def _fitting(kind: int, node: Any, value: bool | int | float | str) -> bool | int | float | str:
    """The value in the type that the node takes; nothing is rounded."""
    if kind == Kind.ENUMERATION:
        names = {True: ("On", "True"), False: ("Off", "False")}[value] if isinstance(value, bool) else (str(value),)
        for name in names:  # YAML reads a bare On as true
            if name in node.symbolics:
                return name
        raise _Refused(f"there is no value {names[0]!r}{_limits(node)}")
    if kind == Kind.STRING:
        return str(value)
    if kind == Kind.BOOLEAN and value in (0, 1):
        return bool(value)
    if isinstance(value, (bool, str)):
        pass
    elif kind == Kind.FLOAT:
        return float(value)
    elif kind == Kind.INTEGER and float(value).is_integer():
        return int(value)
    wanted = {Kind.BOOLEAN: "true or false", Kind.FLOAT: "a number", Kind.INTEGER: "a whole number"}
    if kind in wanted:
        raise _Refused(f"takes {wanted[Kind(kind)]}, not {value!r}{_limits(node)}")
    raise _Refused("is no feature that holds a value")


def _execute(node: Any, clock_ns: Callable[[], int], sleep: Callable[[float], None]) -> None:
    node.execute()
    until_ns = clock_ns() + round(_COMMAND_S * 1e9)
    while not node.is_done():
        if clock_ns() > until_ns:
            raise _Refused(f"the command was not done after {_COMMAND_S:g} s")
        sleep(0.01)


def same_value(read: Any, written: bool | int | float | str) -> bool:
    """True if a node holds what was written. Floats may differ by the rounding of a 32-bit register."""
    if isinstance(written, float):
        return math.isclose(read, written, rel_tol=1e-6, abs_tol=1e-9)
    return bool(read == written)


def _limits(node: Any) -> str:
    """What the node accepts, to put behind a message; empty if it doesn't say."""
    try:
        kind = node.node.principal_interface_type
        if kind == Kind.ENUMERATION:
            return f"; it takes {', '.join(node.symbolics)}"
        if kind == Kind.INTEGER:
            return f"; it takes {node.min} to {node.max} in steps of {node.inc}"
        if kind == Kind.FLOAT:
            return f"; it takes {node.min:.10g} to {node.max:.10g} {node.unit}".rstrip()
    except GENICAM_ERRORS:
        pass
    return ""


def suggestion(name: str, nodes: Iterable[Any]) -> str:
    """The node that was probably meant, to put behind a message; empty if none is near."""
    names = [node.node.name for node in nodes]
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _first_line(error: Exception) -> str:
    """GenApi's message without the place in its C++ source."""
    return str(error).split(" : ")[0].splitlines()[0].strip(" .")
