"""Shared by the tests of the sockets: closed at the end of a test, and never waited for in vain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import zmq

from inspector.domain.frame import Frame, PixelFormat
from inspector.wire.frames import ReceivedFrame
from inspector.wire.messages import FrameHeader
from inspector.wire.ring import RingHandle, close_ring, create_ring
from inspector.wire.transport import FrameReceiver, FrameSender, open_receiver, open_sender

T = TypeVar("T")
SMALL = np.arange(16, dtype=np.uint8).reshape(4, 4)
LARGE = np.random.default_rng(1).integers(0, 256, (600, 800, 3), dtype=np.uint8)
LEASE_NS = 60_000_000_000


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A ZeroMQ context that holds on to its sockets and closes them after the test."""
    sockets: list[zmq.Socket[bytes]] = []

    class HoldingContext(zmq.Context[zmq.Socket[bytes]]):
        def socket(self, *arguments: Any, **options: Any) -> zmq.Socket[bytes]:
            sockets.append(super().socket(*arguments, **options))
            return sockets[-1]

    context = HoldingContext()
    yield context
    for socket in sockets:
        socket.close(linger=0)
    context.term()


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/frames.sock"


class Transport:
    """Both ends of a way to carry frames, as many of each as a test wants."""

    def __init__(self, context: zmq.Context, endpoint: str, ring: RingHandle | None) -> None:
        self.ring = ring
        self._context = context
        self._endpoint = endpoint

    def sender(self) -> FrameSender:
        return open_sender(self._context, self._endpoint, self.ring, LEASE_NS)

    def receiver(self, worker: int) -> FrameReceiver:
        return open_receiver(self._context, self._endpoint, worker, self.ring)


@pytest.fixture
def ring() -> Iterator[RingHandle]:
    """Eight slots that the large picture fits into."""
    handle = create_ring(8, LARGE.nbytes, allocate=True)
    yield handle
    close_ring(handle)


def until(turn: Callable[[], T | None], what: str = "it happens") -> T:
    """Waits for a turn that gives something; the limit is only there to end a test that would hang."""
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        value = turn()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f"waited in vain until {what}")


def header(trigger: int, frame: Frame) -> FrameHeader:
    return FrameHeader(trigger, 1, 2, 3, 4, PixelFormat.of(frame), frame.shape[1], frame.shape[0])


def receive(receiver: FrameReceiver) -> ReceivedFrame:
    return until(receiver.receive, "a frame arrives")
