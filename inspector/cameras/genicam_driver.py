"""Harvesters and genicam with their traps closed. Import this module only where a GenICam camera is used.

What the traps are: importing harvesters changes the warning filters of the whole process, creating an acquirer
takes over Ctrl-C, a producer that can't be loaded is only logged, a library that is no producer crashes the
process, and a lost device raises on the first stop and not on the second.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from inspector.domain.errors import CameraError

with warnings.catch_warnings():  # harvesters calls simplefilter("once"), and SWIG's types warn on some Pythons
    warnings.simplefilter("ignore")
    from genicam import genapi, gentl
    from harvesters.core import Callback, Harvester, ParameterKey, ParameterSet

log = logging.getLogger("inspector")

#: Everything that a producer, a device or a node raises.
GENICAM_ERRORS: tuple[type[Exception], ...] = (gentl.GenericException, genapi.GenericException)

#: The producer does not know this value, said in one way or another: not an error of the device.
NOT_KNOWN: tuple[type[Exception], ...] = (
    gentl.NotAvailableException,
    gentl.NotImplementedException,
    gentl.InvalidParameterException,
    gentl.NoDataException,
)

#: Names of GenTL's access states of a device (DEVICE_ACCESS_STATUS).
ACCESS = {
    0: "unknown",
    1: "free",
    2: "read only",
    3: "no access",
    4: "busy",
    5: "open here",
    6: "open here, read only",
}
_GONE = (0, 3)


class IncompleteFrames(Callback):  # type: ignore[misc]  # harvesters has no types
    """Counts the frames that harvesters discards because they are incomplete."""

    def __init__(self) -> None:
        self.count = 0

    def emit(self, context: object = None) -> None:
        """Called by harvesters for each of them."""
        self.count += 1


def open_harvester(producers: Sequence[Path]) -> Any:
    """Loads producers and lists their devices.

    A process may hold only one Harvester on the same producer: a second one sees no device.

    Args:
        producers: Files, at least one.

    Returns:
        A Harvester with an up-to-date device list; `close_harvester` it.

    Raises:
        CameraError: A file is missing, can't be loaded, is no producer, or fails at its start.
    """
    for producer in producers:
        _check(producer)
    _tame_log(logging.getLogger("harvesters.core"))
    harvester = Harvester()
    try:
        for producer in producers:
            harvester.add_file(str(producer))
        harvester.update()
    except GENICAM_ERRORS as error:
        close_harvester(harvester)
        raise CameraError(f"can't list the cameras of {', '.join(map(str, producers))}: {error}") from error
    return harvester


def _tame_log(harvesters_log: logging.Logger) -> None:
    """One format for all lines of the process, and no traceback in them."""
    harvesters_log.handlers.clear()
    harvesters_log.propagate = True
    if not harvesters_log.filters:
        harvesters_log.addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True


def _check(producer: Path) -> None:
    if not producer.is_file():
        raise CameraError(
            f"there is no GenTL producer {producer}; give the path of the .cti file of the camera's maker"
        )
    try:
        library = ctypes.CDLL(str(producer))
    except OSError as error:
        raise CameraError(f"the GenTL producer {producer} can't be loaded: {error}") from error
    if not hasattr(library, "GCInitLib"):  # opening it as one would end this process
        raise CameraError(f"{producer} is a library, but no GenTL producer")
    trial = gentl.GenTLProducer.create_producer()
    try:
        trial.open(str(producer))
        trial.close()
    except GENICAM_ERRORS as error:
        raise CameraError(f"the GenTL producer {producer} does not start: {error}") from error


def close_harvester(harvester: Any) -> None:
    """Closes the producers; their devices must be closed already."""
    try:
        harvester.reset()
    except GENICAM_ERRORS as error:
        log.warning("closing the GenTL producers: %s", error)


def create_acquirer(harvester: Any, index: int) -> Any:
    """Opens a device of the list.

    Args:
        harvester: As `open_harvester` gave it.
        index: Place in its device list.

    Returns:
        An ImageAcquirer.

    Raises:
        Exception: One of `GENICAM_ERRORS` where the device can't be opened.
    """
    # Attaching chunks to the node map is work for each frame: `read_chunks` does it where they are needed.
    config = ParameterSet({ParameterKey.ENABLE_AUTO_CHUNK_DATA_UPDATE: False})
    with _own_interrupt():
        return harvester.create(index, config=config)


def destroy_acquirer(acquirer: Any) -> None:
    """Stops and closes a device. A lost one raises once and then lets go."""
    for attempt in (1, 2):
        try:
            acquirer.destroy()
        except GENICAM_ERRORS as error:
            log.warning("closing the camera, attempt %d: %s", attempt, error)
        else:
            return


def read_chunks(acquirer: Any, buffer: Any, names: Iterable[str]) -> dict[str, int]:
    """What the chunks of a buffer say about the frame.

    Args:
        acquirer: An open ImageAcquirer.
        buffer: As `try_fetch` gave it, not queued again yet.
        names: Nodes of chunks with whole numbers.

    Returns:
        Those of them that the buffer has.
    """
    nodes = acquirer.remote_device.node_map
    if not (nodes.has_node("ChunkModeActive") and nodes.get_node("ChunkModeActive").value):
        return {}
    with contextlib.suppress(*NOT_KNOWN):
        if not buffer.is_containing_chunk_data():  # the nodes still hold those of the buffer before
            return {}
    acquirer._update_chunk_data(buffer=buffer, is_manual=True)
    found = {}
    for name in names:
        if nodes.has_node(name):
            with contextlib.suppress(*GENICAM_ERRORS):  # not among the chunks that are switched on
                found[name] = int(nodes.get_node(name).value)
    return found


@contextlib.contextmanager
def _own_interrupt() -> Iterator[None]:
    """Keeps the handler of Ctrl-C, which harvesters replaces when it runs in the main thread."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


def ask_device(acquirer: Any, name: str) -> None:
    """Asks a silent device whether it is there: its access state, and a register that is not cached.

    No event tells that a device is gone, and fetching from it only times out.

    Args:
        acquirer: An open ImageAcquirer.
        name: For the message.

    Raises:
        CameraError: It does not answer.
    """
    try:
        with contextlib.suppress(*NOT_KNOWN):
            status = acquirer.device.access_status
            if status in _GONE:
                raise CameraError(f"camera {name} is lost: its access status is {ACCESS[status]!r}")
        nodes = acquirer.remote_device.node_map
        if nodes.has_node("Width"):
            nodes.get_node("Width").get_value(ignore_cache=True)
    except GENICAM_ERRORS as error:
        raise CameraError(f"camera {name} is lost: {error}") from error
