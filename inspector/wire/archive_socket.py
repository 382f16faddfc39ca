"""Frames and verdicts for the archive process: sockets that drop what it does not take, and never wait for it.

A message is a verdict's record as JSON, or a frame's header and its pixels.
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


class ArchiveOutbox:
    """The end of those that give: the worker for frames, the gate for verdicts.

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

    def _send(self, parts: list[bytes | memoryview]) -> None:
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self.refused += 1
        else:
            self.sent += 1

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

    def messages(self, limit: int) -> Iterator[ArchivedFrame | dict[str, Any]]:
        """At most `limit` messages that wait: frames, and records of verdicts; never waits itself."""
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


def _decoded(parts: list[memoryview]) -> ArchivedFrame | dict[str, Any]:
    if len(parts) == 1:
        try:
            record = json.loads(bytes(parts[0]))
        except (ValueError, RecursionError) as error:
            raise WireError(f"a verdict that can't be read: {error}") from None
        if not isinstance(record, dict) or type(record.get("trigger")) is not int:
            raise WireError("a verdict without its trigger")
        return record
    header = FrameHeader.decode(parts[0])
    if len(parts) != 2 or parts[1].nbytes != header.pixel_bytes or header.pixel_bytes == 0:
        raise WireError("a frame without its pixels")
    pixels: NDArray[np.uint8] = np.frombuffer(parts[1], np.uint8).reshape(header.shape)
    return ArchivedFrame(header, pixels)
