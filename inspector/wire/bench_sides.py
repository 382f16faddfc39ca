"""The two processes of `inspector.wire.bench`: one that sends, one that receives, checks and takes times."""

from __future__ import annotations

import enum
import json
import sys
import time
import zlib
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
import zmq
from numpy.typing import NDArray

from inspector.domain.errors import FatalError
from inspector.domain.frame import PixelFormat, Pixels, pixels_of
from inspector.domain.verdict import Cause
from inspector.wire.frames import ReceivedFrame, ZeromqReceiver, ZeromqSender
from inspector.wire.messages import FrameHeader
from inspector.wire.ring import RingHandle
from inspector.wire.transport import FrameReceiver, FrameSender, open_receiver, open_sender

#: "every_byte": the receiver reads each byte once, where it lies. "nothing": the frame is handed to a no-op.
Reading = Literal["every_byte", "nothing"]
#: "driver": the sender copies each frame out of a buffer that is not its own, as a camera's adapter must, into the
#: memory that the transport gives it. "ready": frames lie in the sender's memory and are handed over from there.
Source = Literal["driver", "ready"]

_QUEUE_FRAMES = 8
SLOTS = _QUEUE_FRAMES + 2
#: More than the processor's caches hold, of the frame sizes that matter.
_POOL_BYTES = 64 << 20
_WARM_UP_FRAMES = 4 * SLOTS
_LEASE_NS = 60_000_000_000


class Phase(enum.IntEnum):
    """Part of a measurement; goes over the wire as the time of the trigger."""

    WARM_UP = 0
    RATE = 1
    PACED = 2


@dataclass(frozen=True)
class Orders:
    """What a side is told.

    Attributes:
        side: "sender" or "receiver".
        carrier: One of `inspector.wire.bench.CARRIERS`.
        endpoint: Of the frames.
        ring: Fields of the `RingHandle`, None without a ring.
        width_px: Columns of the frames.
        height_px: Rows of the frames, Mono8.
        source: As `Source`.
        reading: As `Reading`.
        seconds: Length of each phase after the warm-up.
        paced_per_s: Frames a second in the last phase.
    """

    side: str
    carrier: str
    endpoint: str
    ring: dict[str, int] | None
    width_px: int
    height_px: int
    source: Source
    reading: Reading
    seconds: float
    paced_per_s: float

    def open_ring(self) -> RingHandle | None:
        """The handle of the ring, inherited."""
        return None if self.ring is None else RingHandle(**self.ring)

    def pool(self) -> list[Pixels]:
        """The frames, the same in both processes."""
        size = self.height_px, self.width_px
        count = max(3, _POOL_BYTES // (self.width_px * self.height_px))
        generator = np.random.default_rng(1)
        return [generator.integers(0, 256, size, np.uint8) for _ in range(min(count, 64))]


class SendingSide:
    """The sending process: frames to warm up, then as many as go, then some at a pace.

    Args:
        orders: What to send.
        sender: Where to.
    """

    def __init__(self, orders: Orders, sender: FrameSender) -> None:
        self._orders = orders
        self._sender = sender
        self._pool = orders.pool()
        self._sent = 0

    def run(self) -> dict[str, Any]:
        """Sends it all; frames sent in all and while the rate was measured, and the processor time of the latter."""
        while self._sent < _WARM_UP_FRAMES:
            self._send(Phase.WARM_UP)
        self._settle()
        cpu_s, before = time.process_time(), self._sent
        until_ns = time.monotonic_ns() + round(self._orders.seconds * 1e9)
        while self._sent == before or time.monotonic_ns() < until_ns:
            self._send(Phase.RATE)
        self._settle()
        cpu_s, frames = time.process_time() - cpu_s, self._sent - before
        for number in range(round(self._orders.seconds * self._orders.paced_per_s)):
            time.sleep(max(0.0, until_ns / 1e9 + number / self._orders.paced_per_s - time.monotonic()))
            self._send(Phase.PACED)
        self._settle()
        return {"sent": self._sent, "frames": frames, "cpu_s": cpu_s, "counts": self._sender.counts()}

    def _send(self, phase: Phase) -> None:
        worker = self._sender.choose()
        while not isinstance(worker, int):
            self._sender.socket.poll(100)
            self._sender.take_credits()
            worker = self._sender.choose()
        pixels = self._pool[self._sent % len(self._pool)]
        started_ns = time.monotonic_ns()
        if self._orders.source == "driver":
            memory = self._sender.allocate(pixels.shape)
            np.copyto(memory, pixels)
            pixels = memory
        height_px, width_px = pixels.shape
        header = FrameHeader(self._sent, phase, 0, started_ns, 0, PixelFormat.MONO8, width_px, height_px)
        if self._sender.send(worker, header, pixels) is not None:
            raise FatalError("a frame could not be sent")
        self._sent += 1
        self._sender.take_credits()

    def _settle(self) -> None:
        """Until every frame was taken up."""
        while self._sender.waiting:
            self._sender.socket.poll(100)
            self._sender.take_credits()


class ReceivingSide:
    """The receiving process: reads, checks, takes times.

    Args:
        orders: What will come.
        receiver: Where from.
    """

    def __init__(self, orders: Orders, receiver: FrameReceiver) -> None:
        self._orders = orders
        self._receiver = receiver
        self._pool = orders.pool()
        self._words = [_read(pixels) for pixels in self._pool]
        self._checksums = [zlib.crc32(pixels.data.cast("B")) for pixels in self._pool]
        self._received = self._wrong = self._checked = 0
        self._latencies_ns: list[int] = []
        self._measured_ns = [0, 0]
        self._cpu_s = [0.0, 0.0]

    def run(self, commands: IO[str]) -> dict[str, Any]:
        """Receives until a command comes or its pipe ends; what was counted and measured."""
        poller = zmq.Poller()
        poller.register(self._receiver.socket, zmq.POLLIN)
        poller.register(commands.fileno(), zmq.POLLIN)
        self._receiver.grant(_QUEUE_FRAMES)
        ends = False
        while not ends:
            ends = commands.fileno() in dict(poller.poll(1000))
            while self._take():
                pass
        return {
            "received": self._received,
            "wrong": self._wrong,
            "checked": self._checked,
            "seconds": (self._measured_ns[1] - self._measured_ns[0]) / 1e9,
            "latencies_ns": self._latencies_ns,
            "cpu_s": self._cpu_s[1] - self._cpu_s[0],
        }

    def _take(self) -> bool:
        frame = self._receiver.receive()
        if frame is None:
            return False
        phase = frame.header.triggered_ns
        if phase == Phase.RATE and not self._measured_ns[0]:
            self._measured_ns[0] = frame.header.sent_ns
            self._cpu_s[0] = time.process_time()
        if frame.pixels is not None:
            pixels = pixels_of(frame.pixels)
            word = _read(pixels) if self._orders.reading == "every_byte" else None
            if phase == Phase.PACED:
                self._latencies_ns.append(time.monotonic_ns() - frame.header.sent_ns)
            self._checked += 1
            self._wrong += not self._is_right(pixels, frame.header.trigger, word, thorough=phase != Phase.RATE)
        self._wrong += frame.pixels is None or not frame.release()
        self._received += 1
        if phase == Phase.RATE:
            self._measured_ns[1] = time.monotonic_ns()
            self._cpu_s[1] = time.process_time()
        return True

    def _is_right(self, pixels: Pixels, number: int, word: int | None, *, thorough: bool) -> bool:
        """A checksum costs more than the transport: while the rate is measured, what was read must do."""
        number %= len(self._pool)
        if thorough:
            return zlib.crc32(pixels.data.cast("B")) == self._checksums[number]
        if word is not None:
            return word == self._words[number]
        return _end_of(pixels) == _end_of(self._pool[number])


def _end_of(pixels: Pixels) -> bytes:
    return pixels.reshape(-1)[-64:].tobytes()


def _read(pixels: Pixels) -> int:
    """Reads every byte once, as fast as memory gives them; all words of 64 bits, exclusive or."""
    flat = pixels.reshape(-1)
    words: NDArray[np.uint64] = flat[: len(flat) // 8 * 8].view(np.uint64)
    return int(np.bitwise_xor.reduce(words))


class _CopyingSender(ZeromqSender):
    """ZeroMQ's default: `send` returns when it has a copy."""

    def _deliver(self, worker: int, *parts: bytes | memoryview) -> Cause | None:
        return super()._deliver(worker, *(bytes(part) for part in parts))


class _CopyingReceiver(ZeromqReceiver):
    """ZeroMQ's default: `recv` gives bytes."""

    def _unpack(self, parts: list[memoryview]) -> ReceivedFrame:
        return super()._unpack([memoryview(bytes(part)) for part in parts])


def _work(orders: Orders) -> dict[str, Any]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    end: FrameSender | FrameReceiver
    try:
        if orders.side == "sender":
            end = sender = _sender(context, orders)
            return SendingSide(orders, sender).run()
        end = receiver = _receiver(context, orders)
        return ReceivingSide(orders, receiver).run(sys.stdin)
    finally:
        end.close()
        context.term()


def _sender(context: zmq.Context[zmq.Socket[bytes]], orders: Orders) -> FrameSender:
    if orders.carrier == "copies":
        return _CopyingSender(context, orders.endpoint)
    return open_sender(context, orders.endpoint, orders.open_ring(), lease_ns=_LEASE_NS)


def _receiver(context: zmq.Context[zmq.Socket[bytes]], orders: Orders) -> FrameReceiver:
    if orders.carrier == "copies":
        return _CopyingReceiver(context, orders.endpoint, 1)
    return open_receiver(context, orders.endpoint, 1, orders.open_ring())


if __name__ == "__main__":
    print(json.dumps(_work(Orders(**json.loads(sys.argv[1])))))
