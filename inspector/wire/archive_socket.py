"""What the archive process is given: over sockets that drop what it does not take, and never wait for it.

A message is a verdict's record as JSON, a frame's header and its pixels, or what a refinement found with its picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from inspector.domain.frame import Pixels
from inspector.wire.messages import FrameHeader, WireError

#: Frames that may lie in the sockets on each side; more wait in the archive process, where they are counted.
_FRAMES = 2
#: Verdicts that may lie in the gate's socket.
_VERDICTS = 1000
#: The refiner waits for one to be taken before it sends the next.
_OUTLINES = 1


class ArchiveOutbox:
    """The end of those that give: the worker for frames, the gate for verdicts, the refiner for outlines.

    Args:
        context: ZeroMQ context.
        endpoint: Of the archive process, which need not be there.
        high_water: Messages that may wait in the socket.

    Attributes:
        sent: Messages that were taken.
        refused: Messages that nobody took: the archive process is not there, or its socket is full.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, high_water: int) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is kept for an archive process that isn't there
        self._socket.setsockopt(zmq.SNDHWM, high_water)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self.sent = 0
        self.refused = 0

    @classmethod
    def for_frames(cls, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> ArchiveOutbox:
        """The worker's."""
        return cls(context, endpoint, _FRAMES)

    @classmethod
    def for_verdicts(cls, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> ArchiveOutbox:
        """The gate's."""
        return cls(context, endpoint, _VERDICTS)

    @classmethod
    def for_outlines(cls, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> ArchiveOutbox:
        """The refiner's."""
        return cls(context, endpoint, _OUTLINES)

    def has_room(self) -> bool:
        """True if a message would be taken now; otherwise one is counted as refused."""
        events = self._socket.getsockopt(zmq.EVENTS)
        assert isinstance(events, int)
        if events & zmq.POLLOUT:
            return True
        self.refused += 1
        return False

    def frame(self, header: FrameHeader, pixels: Pixels) -> None:
        """Sends a frame, or counts it as refused.

        Args:
            header: The frame's.
            pixels: C-contiguous; must not be written to any more.
        """
        self._send([header.encode(), pixels.data.cast("B")])

    def verdict(self, record: dict[str, Any]) -> None:
        """Sends a verdict's record, or counts it as refused."""
        self._send([json.dumps(record, allow_nan=False).encode()])

    def outlines(self, found: ArchivedOutlines) -> bool:
        """Sends what a refinement found, or counts it as refused; True if it was sent."""
        record = json.dumps({"entry": found.entry, "record": found.record}, allow_nan=False).encode()
        return self._send([record, found.picture])

    def _send(self, parts: list[bytes | memoryview]) -> bool:
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.refused += 1
            return False
        self.sent += 1
        return True

    def close(self) -> None:
        """Closes the socket; what nobody took is dropped. Idempotent."""
        self._socket.close()


@dataclass(frozen=True)
class ArchivedFrame:
    """A frame for the archive.

    Attributes:
        header: As the worker had it.
        pixels: uint8, (H, W) or (H, W, 3).
    """

    header: FrameHeader
    pixels: Pixels


@dataclass(frozen=True)
class ArchivedOutlines:
    """What a refinement found, for an entry of the archive.

    Attributes:
        entry: Name of the entry.
        record: JSON-ready, as `inspector.outputs.archive.ArchiveFolder.outline` takes it.
        picture: The frame with its outlines as a PNG file; empty where there is none.
    """

    entry: str
    record: dict[str, Any]
    picture: bytes


#: A verdict goes as its record.
ArchiveMessage = ArchivedFrame | ArchivedOutlines | dict[str, Any]


class ArchiveInbox:
    """The archive process's end.

    Args:
        context: ZeroMQ context.
        endpoint: Bound here.

    Attributes:
        malformed: Messages that could not be read.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, _FRAMES)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(endpoint)
        self.malformed = 0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller."""
        return self._socket

    def messages(self, limit: int) -> Iterator[ArchiveMessage]:
        """At most `limit` messages that wait: frames, records of verdicts, outlines; never waits itself."""
        for _ in range(limit):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                yield _decoded([part.buffer for part in parts])
            except WireError:
                self.malformed += 1

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        self._socket.close()


def _decoded(parts: list[memoryview]) -> ArchiveMessage:
    if len(parts) == 1:
        record = _object(parts[0])
        if type(record.get("trigger")) is not int:
            raise WireError("a verdict without its trigger")
        return record
    if len(parts) == 2 and parts[0][:1].tobytes() == b"{":
        return _outlines(_object(parts[0]), bytes(parts[1]))
    header = FrameHeader.decode(parts[0])
    if len(parts) != 2 or parts[1].nbytes != header.pixel_bytes or header.pixel_bytes == 0:
        raise WireError("a frame without its pixels")
    if header.pixel_format.red is not None:
        raise WireError("a raw Bayer frame, where people look at pictures")
    pixels: NDArray[np.uint8] = np.frombuffer(parts[1], np.uint8).reshape(header.shape)
    return ArchivedFrame(header, pixels)


def _outlines(message: dict[str, Any], picture: bytes) -> ArchivedOutlines:
    entry, found = message.get("entry"), message.get("record")
    if not isinstance(entry, str) or not isinstance(found, dict):
        raise WireError("outlines without their entry")
    counted = isinstance(found.get("defects"), list) and type(found.get("area_px")) is int
    if not counted and not isinstance(found.get("problem"), str):
        raise WireError("outlines that say nothing")
    return ArchivedOutlines(entry, found, picture)


def _object(part: memoryview) -> dict[str, Any]:
    try:
        value = json.loads(bytes(part))
    except (ValueError, RecursionError) as error:
        raise WireError(f"JSON that can't be read: {error}") from None
    if not isinstance(value, dict):
        raise WireError("JSON that is no object")
    return value
