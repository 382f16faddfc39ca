"""What the ring does beyond the contract of the transports: no copy, no wrong pixels, no slot lost."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from inspector.domain.frame import PixelFormat, Pixels
from inspector.domain.verdict import Cause
from inspector.wire.frames import worker_identity
from inspector.wire.messages import Credit, FrameHeader, SlotFrame
from inspector.wire.ring import Ring, RingHandle, close_ring, create_ring
from inspector.wire.ring_frames import RingReceiver, RingSender

from .conftest import LARGE, LEASE_NS, SMALL, header, receive, until


class Bench:
    """A camera process and a worker with three slots, and a clock."""

    def __init__(self, context: zmq.Context, endpoint: str, ring: RingHandle) -> None:
        self.now_ns = 0
        self.ring = Ring(ring)
        self._context = context
        self._endpoint = endpoint
        self._handle = ring
        self.sender = self.start_camera()
        self.receiver = self.start_worker(1)

    def start_camera(self) -> RingSender:
        ring = Ring(self._handle)
        self.sender = RingSender(self._context, self._endpoint, ring, LEASE_NS, lambda: self.now_ns)
        return self.sender

    def start_worker(self, worker: int) -> RingReceiver:
        self.receiver = RingReceiver(self._context, self._endpoint, worker, Ring(self._handle))
        self.receiver.grant(16)
        self.await_credit(worker)
        return self.receiver

    def await_credit(self, worker: int) -> None:
        def turn() -> bool:
            self.sender.take_credits()
            return self.sender.choose() == worker

        until(turn, f"worker {worker} gave credit")

    def send(self, trigger: int, pixels: Pixels = SMALL, worker: int = 1) -> Cause | None:
        return self.sender.send(worker, header(trigger, pixels), pixels)

    @property
    def in_use(self) -> float:
        return self.sender.counts()["slots_in_use"]

    @property
    def by(self) -> tuple[float, float]:
        """Frames by slot and by message."""
        counts = self.sender.counts()
        return counts["frames_by_slot"], counts["frames_by_message"]

    def is_shared(self, pixels: Pixels | None) -> bool:
        """True where the receiver's pixels lie in its mapping of the ring."""
        assert pixels is not None
        start = self.receiver._ring.slot(0, 1).ctypes.data
        return bool(0 <= pixels.ctypes.data - start < 3 * self.ring.slot_bytes)


@pytest.fixture
def three_slots() -> Iterator[RingHandle]:
    handle = create_ring(3, LARGE.nbytes - 1, allocate=False)
    yield handle
    close_ring(handle)


@pytest.fixture
def bench(context: zmq.Context, endpoint: str, three_slots: RingHandle) -> Bench:
    return Bench(context, endpoint, three_slots)


def test_pixels_are_read_where_they_were_written(bench: Bench) -> None:
    assert bench.send(1, LARGE[..., 0].copy()) is None
    assert bench.in_use == 1
    frame = receive(bench.receiver)
    assert bench.is_shared(frame.pixels)
    assert np.array_equal(frame.pixels, LARGE[..., 0])
    assert frame.release()
    assert bench.in_use == 0
    assert bench.by == (1, 0)


def test_frame_that_no_slot_can_take_goes_as_a_message(bench: Bench) -> None:
    larger = np.zeros((3, bench.ring.slot_bytes), np.uint8)
    assert bench.send(0, larger) is None
    for number in (1, 2, 3, 4):
        assert bench.send(number) is None
    assert bench.by == (3, 2)
    frames = [receive(bench.receiver) for _ in range(5)]
    assert [frame.header.trigger for frame in frames] == [0, 1, 2, 3, 4]
    assert [bench.is_shared(frame.pixels) for frame in frames] == [False, True, True, True, False]
    assert all(np.array_equal(frame.pixels, SMALL) for frame in frames[1:])
    assert all(frame.release() for frame in frames)
    assert bench.in_use == 0


def test_camera_writes_in_place(bench: Bench) -> None:
    pixels = bench.sender.allocate(SMALL.shape)
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == (SMALL.shape, np.uint8, True)
    pixels[:] = SMALL
    slot = bench.ring.slot(0, SMALL.nbytes)
    assert np.array_equal(slot, SMALL.reshape(-1)), "the memory given is the slot"
    assert bench.send(7, pixels) is None
    assert np.array_equal(receive(bench.receiver).pixels, SMALL)
    assert bench.by == (1, 0)
    del pixels
    gc.collect()
    assert bench.in_use == 1, "what was sent is the worker's until it releases it"


def test_view_of_the_memory_given_is_sent_without_a_copy_only_from_its_start(bench: Bench) -> None:
    pixels = bench.sender.allocate((4, 8))
    pixels[:] = np.arange(32).reshape(4, 8)
    assert bench.send(0, pixels[1:]) is None  # begins elsewhere: copied into another slot
    assert bench.in_use == 2
    assert bench.send(1, pixels[:2]) is None
    assert bench.in_use == 2
    first, second = receive(bench.receiver), receive(bench.receiver)
    assert np.array_equal(first.pixels, np.arange(8, 32).reshape(3, 8))
    assert np.array_equal(second.pixels, np.arange(16).reshape(2, 8))


def test_frame_that_is_dropped_gives_its_slot_back(bench: Bench) -> None:
    # An adapter that took memory and then found the frame incomplete, or a part that was refused.
    held = [bench.sender.allocate(SMALL.shape) for _ in range(3)]
    view = held[1][1:]
    assert bench.in_use == 3
    assert not bench.is_shared(bench.sender.allocate(SMALL.shape))
    del held
    gc.collect()
    assert bench.in_use == 1, "a view keeps the slot"
    del view
    gc.collect()
    assert bench.in_use == 0


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (10**6, 10**6 // 10**5, 3)])
def test_memory_that_no_slot_can_give_comes_from_elsewhere(bench: Bench, shape: tuple[int, ...]) -> None:
    assert bench.sender.allocate(shape).shape == shape
    assert bench.in_use == 0


def test_slot_written_over_before_it_was_taken_up_is_told(bench: Bench) -> None:
    assert bench.send(1) is None
    bench.now_ns = LEASE_NS  # the worker was stopped for so long
    assert bench.send(2, SMALL + 1) is None
    late, fresh = receive(bench.receiver), receive(bench.receiver)
    assert (late.pixels, late.problem) == (None, Cause.FRAME_OVERWRITTEN)
    late.release()
    assert np.array_equal(fresh.pixels, SMALL + 1)
    assert fresh.release()
    assert bench.sender.counts()["expired_leases"] == 1


def test_slot_written_over_while_it_was_read_is_told(bench: Bench) -> None:
    assert bench.send(1) is None
    frame = receive(bench.receiver)
    bench.now_ns = LEASE_NS
    assert bench.sender.allocate(SMALL.shape) is not None
    assert not frame.release()


def test_new_worker_finds_the_slots_of_the_former_free(bench: Bench) -> None:
    for number in range(3):
        assert bench.send(number) is None
    receive(bench.receiver)
    bench.receiver.close()  # killed with a frame in its hands and two on their way
    bench.start_worker(2)
    assert bench.in_use == 0
    assert bench.send(9, worker=2) is None
    assert receive(bench.receiver).header.trigger == 9
    assert bench.by == (4, 0)


def test_new_camera_process_spares_what_the_worker_still_holds(bench: Bench) -> None:
    assert bench.send(0) is None
    assert bench.send(1, SMALL + 1) is None
    held, waiting = receive(bench.receiver), receive(bench.receiver)
    torn = bench.sender.allocate(SMALL.shape)
    torn[:] = 99
    bench.sender.close()
    bench.start_camera()
    assert bench.in_use == 2

    def turn() -> bool:
        assert bench.receiver.receive() is None  # the greeting
        bench.sender.take_credits()
        return bench.sender.choose() == 1

    until(turn, "the worker gives credit to the new camera process")
    assert bench.in_use == 2, "a worker that lives on keeps its frames"
    assert bench.send(2, SMALL + 2) is None
    assert bench.by == (1, 0)
    third = receive(bench.receiver)
    for frame, pixels in ((held, SMALL), (waiting, SMALL + 1), (third, SMALL + 2)):
        assert np.array_equal(frame.pixels, pixels)
        assert frame.release()
    assert bench.in_use == 0


def test_frame_that_could_not_be_sent_leaves_its_slot_free(bench: Bench) -> None:
    bench.receiver.close()
    answers: list[Cause | None] = []

    def turn() -> bool:
        answers.append(bench.send(0))
        return answers[-1] is Cause.WORKER_LOST

    until(turn, "the connection is gone")
    assert bench.in_use == min(3, len(answers) - 1)


def bad(slot: int, generation: int, width_px: int, *more: bytes) -> list[bytes]:
    frame = FrameHeader(5, 0, 0, 0, 0, PixelFormat.MONO8, width_px, 4)
    return [SlotFrame(slot, generation, frame).encode(), *more]


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        (bad(3, 0, 4), Cause.FRAME_CORRUPT),
        (bad(2**32 - 1, 0, 4), Cause.FRAME_CORRUPT),
        (bad(0, 0, 0), Cause.FRAME_CORRUPT),
        (bad(0, 0, 2**32 - 1), Cause.FRAME_CORRUPT),
        (bad(0, 0, 4, b""), Cause.FRAME_CORRUPT),
        (bad(0, 6, 4), Cause.FRAME_OVERWRITTEN),
    ],
)
def test_message_that_names_no_frame_in_the_ring_costs_its_part(
    context: zmq.Context, endpoint: str, three_slots: RingHandle, parts: list[bytes], problem: Cause
) -> None:
    router = context.socket(zmq.ROUTER)
    router.bind(endpoint)
    receiver = RingReceiver(context, endpoint, 1, Ring(three_slots))
    receiver.grant(1)
    assert Credit.decode(router.recv_multipart()[1]).opening
    router.send_multipart([worker_identity(1), *parts])
    frame = until(receiver.receive, "the message arrives")
    assert (frame.header.trigger, frame.pixels, frame.problem) == (5, None, problem)
    frame.release()
    assert Credit.decode(router.recv_multipart()[1]) == Credit(1, 1)


def test_garbage_is_counted(context: zmq.Context, endpoint: str, three_slots: RingHandle) -> None:
    router = context.socket(zmq.ROUTER)
    router.bind(endpoint)
    receiver = RingReceiver(context, endpoint, 1, Ring(three_slots))
    receiver.grant(1)
    router.recv_multipart()
    router.send_multipart([worker_identity(1), SlotFrame(0, 2, header(1, SMALL)).encode()[:-1]])
    until(lambda: receiver.receive() is None and receiver.malformed == 1)


@pytest.mark.parametrize("allocate", [True, False])
def test_only_memory_that_is_there_is_offered_for_pinning(context: zmq.Context, endpoint: str, allocate: bool) -> None:
    # Slots for frames of any size span gigabytes, of which a frame touches few pages: pinned, all of it would be taken.
    handle = create_ring(3, SMALL.nbytes, allocate=allocate)
    receiver = RingReceiver(context, endpoint, 1, Ring(handle))
    try:
        memory = receiver.memory
        assert (memory is not None) is allocate
        if memory is not None:
            assert memory.nbytes == 3 * handle.slot_bytes
    finally:
        receiver.close()
        close_ring(handle)
