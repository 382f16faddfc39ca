"""Measures the transports of this machine in one run: two real processes, the classes that the daemon uses.

``python -m inspector.wire.bench`` prints the figures as JSON; `measure_transports` gives them to a caller. Rounds of
the transports alternate, so that what else the machine does meets them alike, and ratios are taken within a round.
Pixels are random; contents are checked by checksum, and a frame lost or changed ends the measurement with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal

import numpy as np
import zmq
from numpy.typing import NDArray

from inspector.domain.errors import FatalError
from inspector.domain.frame import PixelFormat, Pixels
from inspector.domain.verdict import Cause
from inspector.wire.frames import ReceivedFrame, ZeromqReceiver, ZeromqSender
from inspector.wire.messages import FrameHeader
from inspector.wire.ring import RingHandle, close_ring, create_ring
from inspector.wire.transport import FrameReceiver, FrameSender, open_receiver, open_sender

#: "every_byte": the receiver reads each byte once, where it lies. "nothing": the frame is handed to a no-op.
Reading = Literal["every_byte", "nothing"]
#: "driver": the sender copies each frame out of a buffer that is not its own, as a camera's adapter must, into the
#: memory that the transport gives it. "ready": frames lie in the sender's memory and are handed over from there.
Source = Literal["driver", "ready"]

#: "copies": ZeroMQ as it is without further care, the pixels copied into the message and out of it. "message": the
#: transport `zeromq`, which hands its memory to ZeroMQ. "slot": the transport `shared_memory`.
CARRIERS = ("copies", "message", "slot")
_QUEUE_FRAMES = 8
_SLOTS = _QUEUE_FRAMES + 2
#: More than the processor's caches hold, of the frame sizes that matter.
_POOL_BYTES = 64 << 20
_WARM_UP_FRAMES = 4 * _SLOTS
_CHECK_EVERY = 16
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class CarrierFigures:
    """What one carrier did.

    Attributes:
        carrier: One of `CARRIERS`.
        frames_per_s: Frames that arrived and were read, as fast as they go: median of the rounds.
        rounds_frames_per_s: The same, round by round.
        cpu_ms: Processor time of both processes for one frame, median of the rounds.
        latency_p50_ms: From before the sending to after the reading, at `TransportFigures.paced_per_s`.
        latency_p99_ms: The same for 99 of 100 frames.
        frames: Frames that were measured.
        checked: Frames whose checksum was compared.
    """

    carrier: str
    frames_per_s: float
    rounds_frames_per_s: list[float]
    cpu_ms: float
    latency_p50_ms: float
    latency_p99_ms: float
    frames: int
    checked: int


@dataclass(frozen=True)
class TransportFigures:
    """What `measure_transports` found.

    Attributes:
        width_px: Columns of the frames.
        height_px: Rows of the frames, Mono8.
        frame_bytes: Bytes of a frame.
        source: As `Source`.
        reading: As `Reading`.
        paced_per_s: Frames a second while latencies were measured.
        copies: Over ZeroMQ, with copies.
        message: Over ZeroMQ, as the daemon does it.
        slot: Through shared memory.
        ratio_to_copies: Frames a second of slot over copies: median of the rounds' ratios.
        ratio_to_message: Frames a second of slot over message, likewise.
        cpus: Processors that this process may use.
    """

    width_px: int
    height_px: int
    frame_bytes: int
    source: Source
    reading: Reading
    paced_per_s: float
    copies: CarrierFigures
    message: CarrierFigures
    slot: CarrierFigures
    ratio_to_copies: float
    ratio_to_message: float
    cpus: int


@dataclass(frozen=True)
class _Orders:
    """What a side is told."""

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
        return None if self.ring is None else RingHandle(**self.ring)

    def pool(self) -> list[Pixels]:
        """The frames, the same in both processes."""
        size = self.height_px, self.width_px
        count = max(3, _POOL_BYTES // (self.width_px * self.height_px))
        generator = np.random.default_rng(1)
        return [generator.integers(0, 256, size, np.uint8) for _ in range(min(count, 64))]


def measure_transports(
    width_px: int = 2448,
    height_px: int = 2048,
    *,
    source: Source = "driver",
    reading: Reading = "every_byte",
    seconds: float = 2.0,
    rounds: int = 3,
    paced_per_s: float = 60.0,
) -> TransportFigures:
    """Measures the transports, one after the other, round by round.

    Args:
        width_px: Columns of the frames.
        height_px: Rows of the frames, Mono8.
        source: Where the sender has its frames.
        reading: What the receiver does with them.
        seconds: Length of a measurement; a round has two for each of `CARRIERS`.
        rounds: Number of rounds.
        paced_per_s: Frames a second while latencies are measured.

    Raises:
        FatalError: A frame was lost or changed on its way, or a process failed.
    """
    results: dict[str, list[dict[str, Any]]] = {carrier: [] for carrier in CARRIERS}
    for _ in range(rounds):
        for carrier in CARRIERS:
            ring = create_ring(_SLOTS, width_px * height_px, allocate=True) if carrier == "slot" else None
            try:
                with tempfile.TemporaryDirectory() as folder:
                    results[carrier].append(
                        _run(
                            _Orders(
                                side="",
                                carrier=carrier,
                                endpoint=f"ipc://{folder}/frames.sock",
                                ring=None if ring is None else asdict(ring),
                                width_px=width_px,
                                height_px=height_px,
                                source=source,
                                reading=reading,
                                seconds=seconds,
                                paced_per_s=paced_per_s,
                            )
                        )
                    )
            finally:
                if ring is not None:
                    close_ring(ring)
    copies, message, slot = (_figures(carrier, results[carrier]) for carrier in CARRIERS)
    return TransportFigures(
        width_px=width_px,
        height_px=height_px,
        frame_bytes=width_px * height_px,
        source=source,
        reading=reading,
        paced_per_s=paced_per_s,
        copies=copies,
        message=message,
        slot=slot,
        ratio_to_copies=_ratio(slot, copies),
        ratio_to_message=_ratio(slot, message),
        cpus=len(os.sched_getaffinity(0)),
    )


def _figures(carrier: str, results: Sequence[dict[str, Any]]) -> CarrierFigures:
    latencies_ms = np.concatenate([result["latencies_ns"] for result in results]) / 1e6
    rates = [round(result["frames"] / result["seconds"], 1) for result in results]
    return CarrierFigures(
        carrier=carrier,
        frames_per_s=statistics.median(rates),
        rounds_frames_per_s=rates,
        cpu_ms=round(statistics.median(1000 * result["cpu_s"] / result["frames"] for result in results), 4),
        latency_p50_ms=round(float(np.percentile(latencies_ms, 50)), 3),
        latency_p99_ms=round(float(np.percentile(latencies_ms, 99)), 3),
        frames=sum(result["frames"] for result in results),
        checked=sum(result["checked"] for result in results),
    )


def _ratio(one: CarrierFigures, other: CarrierFigures) -> float:
    rounds = zip(one.rounds_frames_per_s, other.rounds_frames_per_s, strict=True)
    return round(statistics.median(rate / former for rate, former in rounds), 3)


def _run(orders: _Orders) -> dict[str, Any]:
    """One measurement with one carrier: its two processes, and what they say together."""
    pass_fds = () if orders.ring is None else (orders.ring["fd"],)

    def start(side: str) -> subprocess.Popen[str]:
        words = json.dumps({**asdict(orders), "side": side})
        command = [sys.executable, "-m", "inspector.wire.bench", "--orders", words]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=pass_fds, start_new_session=True
        )

    with start("receiver") as receiver, start("sender") as sender:
        try:
            sent = json.loads(sender.communicate(timeout=_PATIENCE_S + 2 * orders.seconds)[0] or "null")
            got = json.loads(receiver.communicate("stop\n", timeout=_PATIENCE_S)[0] or "null")
        except subprocess.TimeoutExpired as error:
            raise FatalError("the measurement of the transport does not come to its end") from error
        finally:
            for process in (receiver, sender):
                process.kill()
    return _joined("slot" if orders.carrier == "slot" else "message", sent, got)


def _joined(carrier: str, sent: dict[str, Any] | None, got: dict[str, Any] | None) -> dict[str, Any]:
    """What both sides say together; nothing is measured on frames lost, changed, or carried by something else."""
    if sent is None or got is None:
        raise FatalError("the measurement of the transport failed; its reasons stand above")
    if got["wrong"] or got["received"] != sent["sent"] or not got["checked"]:
        raise FatalError(
            f"transport: {sent['sent']} frames sent, {got['received']} received, {got['wrong']} of them with other "
            "pixels than were sent"
        )
    if sent["counts"][f"frames_by_{carrier}"] != sent["sent"]:
        raise FatalError(f"transport: not every frame went by {carrier}: {sent['counts']}")
    return {**got, "cpu_s": got["cpu_s"] + sent["cpu_s"], "frames": sent["frames"]}


class _Sender:
    """The sending process: frames to warm up, then as many as go, then some at a pace."""

    def __init__(self, orders: _Orders, sender: FrameSender) -> None:
        self._orders = orders
        self._sender = sender
        self._pool = orders.pool()
        self._sent = 0

    def run(self) -> dict[str, Any]:
        while self._sent < _WARM_UP_FRAMES:
            self._send(0)
        self._settle()
        cpu_s, before = time.process_time(), self._sent
        until_ns = time.monotonic_ns() + round(self._orders.seconds * 1e9)
        while time.monotonic_ns() < until_ns:
            self._send(1)
        self._settle()
        cpu_s, frames = time.process_time() - cpu_s, self._sent - before
        for number in range(round(self._orders.seconds * self._orders.paced_per_s)):
            time.sleep(max(0.0, until_ns / 1e9 + number / self._orders.paced_per_s - time.monotonic()))
            self._send(2)
        self._settle()
        return {"sent": self._sent, "frames": frames, "cpu_s": cpu_s, "counts": self._sender.counts()}

    def _send(self, phase: int) -> None:
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


class _Receiver:
    """The receiving process: reads, checks a sample, takes times."""

    def __init__(self, orders: _Orders, receiver: FrameReceiver) -> None:
        self._orders = orders
        self._receiver = receiver
        self._checksums = [zlib.crc32(pixels.data.cast("B")) for pixels in orders.pool()]
        self._received = self._wrong = self._checked = 0
        self._latencies_ns: list[int] = []
        self._measured_ns = [0, 0]
        self._cpu_s = [0.0, 0.0]

    def run(self, commands: IO[str]) -> dict[str, Any]:
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
        if phase == 1 and not self._measured_ns[0]:
            self._measured_ns[0] = frame.header.sent_ns
            self._cpu_s[0] = time.process_time()
        if frame.pixels is not None:
            if self._orders.reading == "every_byte":
                _read(frame.pixels)
            # Checksums cost much time: none is taken while the rate is measured, but of frames before and after.
            if phase == 2:
                self._latencies_ns.append(time.monotonic_ns() - frame.header.sent_ns)
            number = frame.header.trigger
            if phase != 1 or number % _CHECK_EVERY == 0:
                self._checked += 1
                self._wrong += zlib.crc32(frame.pixels.data.cast("B")) != self._checksums[number % len(self._checksums)]
        self._wrong += frame.pixels is None or not frame.release()
        self._received += 1
        if phase == 1:
            self._measured_ns[1] = time.monotonic_ns()
            self._cpu_s[1] = time.process_time()
        return True


def _read(pixels: Pixels) -> int:
    """Reads every byte once, as fast as memory gives them."""
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


def _work(orders: _Orders) -> dict[str, Any]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    end: FrameSender | FrameReceiver
    try:
        if orders.side == "sender":
            end = sender = _sender(context, orders)
            return _Sender(orders, sender).run()
        end = receiver = _receiver(context, orders)
        return _Receiver(orders, receiver).run(sys.stdin)
    finally:
        end.close()
        context.term()


def _sender(context: zmq.Context[zmq.Socket[bytes]], orders: _Orders) -> FrameSender:
    if orders.carrier == "copies":
        return _CopyingSender(context, orders.endpoint)
    return open_sender(context, orders.endpoint, orders.open_ring(), lease_ns=round(_PATIENCE_S * 1e9))


def _receiver(context: zmq.Context[zmq.Socket[bytes]], orders: _Orders) -> FrameReceiver:
    if orders.carrier == "copies":
        return _CopyingReceiver(context, orders.endpoint, 1)
    return open_receiver(context, orders.endpoint, 1, orders.open_ring())


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures of one frame size as JSON."""
    parser = argparse.ArgumentParser(prog="python -m inspector.wire.bench", description=__doc__)
    parser.add_argument("--size", default="2448x2048", help="columns x rows of the Mono8 frames")
    parser.add_argument("--source", choices=("driver", "ready"), default="driver")
    parser.add_argument("--reading", choices=("every_byte", "nothing"), default="every_byte")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--orders", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.orders is not None:
        print(json.dumps(_work(_Orders(**json.loads(given.orders)))))
        return
    width_px, height_px = map(int, given.size.split("x"))
    figures = measure_transports(
        width_px,
        height_px,
        source=given.source,
        reading=given.reading,
        seconds=given.seconds,
        rounds=given.rounds,
    )
    print(json.dumps(asdict(figures), indent=2))


if __name__ == "__main__":
    main()
