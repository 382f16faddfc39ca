"""One contract for every transport: credits bound the frames that wait exactly, and every frame arrives whole or is
known to be lost.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import zmq

from inspector.domain.frame import Mosaic, PixelFormat
from inspector.domain.verdict import Cause
from inspector.wire.frames import worker_identity
from inspector.wire.messages import Credit
from inspector.wire.ring import RingHandle
from inspector.wire.transport import FrameSender

from .conftest import LARGE, SMALL, Transport, header, receive, until


@pytest.fixture(params=["zeromq", "shared_memory"])
def transport(request: pytest.FixtureRequest, context: zmq.Context, endpoint: str, ring: RingHandle) -> Transport:
    return Transport(context, endpoint, ring if request.param == "shared_memory" else None)


@pytest.fixture
def sender(transport: Transport) -> FrameSender:
    return transport.sender()


def serve(sender: FrameSender, seconds: float = 0.15) -> None:
    """Lets the sender take what is on its way to it."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        sender.take_credits()
        time.sleep(0.005)


def until_chosen(sender: FrameSender, worker: int) -> None:
    def turn() -> bool:
        sender.take_credits()
        return sender.choose() == worker

    until(turn, f"worker {worker} gave credit")


def send(sender: FrameSender, worker: int, trigger: int, pixels: np.ndarray = SMALL) -> Cause | None:
    return sender.send(worker, header(trigger, pixels), pixels)


def send_all(sender: FrameSender, worker: int, pixels: np.ndarray = SMALL) -> int:
    """Sends for as long as there is credit; how many frames went."""
    sent = 0
    while sender.choose() == worker:
        assert send(sender, worker, sent, pixels) is None
        sent += 1
    return sent


@pytest.mark.parametrize("pixels", [SMALL, LARGE, LARGE[..., 0].copy()], ids=["small", "large colour", "large grey"])
def test_frame_arrives_intact(transport: Transport, sender: FrameSender, pixels: np.ndarray) -> None:
    receiver = transport.receiver(1)
    receiver.grant(4)
    until_chosen(sender, 1)
    assert send(sender, 1, 77, pixels) is None
    received = receive(receiver)
    assert received.header == header(77, pixels)
    assert received.pixels is not None
    assert received.pixels.dtype == np.uint8
    assert np.array_equal(received.pixels, pixels)


@pytest.mark.parametrize("shape", [(4, 6), (600, 700)])
def test_raw_bayer_frame_is_no_grey_one_when_it_arrives(
    transport: Transport, sender: FrameSender, shape: tuple[int, ...]
) -> None:
    receiver = transport.receiver(1)
    receiver.grant(4)
    until_chosen(sender, 1)
    pixels = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    assert sender.send(1, header(78, Mosaic(pixels, PixelFormat.BAYER_GB8)), pixels) is None
    received = receive(receiver).pixels
    assert isinstance(received, Mosaic)
    assert received.pixel_format is PixelFormat.BAYER_GB8
    assert np.array_equal(received.pixels, pixels)


def test_frame_that_nobody_may_write_to_is_sent(transport: Transport, sender: FrameSender) -> None:
    receiver = transport.receiver(1)
    receiver.grant(1)
    until_chosen(sender, 1)
    pixels = LARGE.copy()
    pixels.flags.writeable = False
    assert send(sender, 1, 0, pixels) is None
    assert np.array_equal(receive(receiver).pixels, LARGE)


@pytest.mark.parametrize("pixels", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("frames", [1, 5])
def test_credit_bounds_the_frames_that_wait_exactly(
    transport: Transport, sender: FrameSender, pixels: np.ndarray, frames: int
) -> None:
    receiver = transport.receiver(1)
    receiver.grant(frames)
    until_chosen(sender, 1)
    assert receiver.socket.poll(20_000)
    assert receiver.receive() is None  # the greeting, to which the worker answers with its credit once more
    serve(sender)
    assert send_all(sender, 1, pixels) == frames
    assert sender.choose() is Cause.QUEUE_FULL
    assert sender.waiting == frames
    for _ in range(3 * frames):  # each frame that is taken makes room for one, no more
        receive(receiver)
        until_chosen(sender, 1)
        assert sender.waiting == frames - 1
        assert send_all(sender, 1, pixels) == 1
    for _ in range(frames):
        receive(receiver)

    def all_given_back() -> bool:
        sender.take_credits()
        return sender.waiting == 0

    until(all_given_back, "the credit comes back")
    assert receiver.receive() is None
    assert send_all(sender, 1, pixels) == frames


def test_without_a_worker_no_frame_goes_anywhere(sender: FrameSender) -> None:
    sender.take_credits()
    assert sender.choose() is Cause.WORKER_NOT_READY
    assert sender.waiting == 0


def test_worker_that_has_not_granted_anything_gets_nothing(transport: Transport, sender: FrameSender) -> None:
    receiver = transport.receiver(1)
    serve(sender)
    assert receiver.receive() is None  # the greeting
    serve(sender)
    assert sender.choose() is Cause.WORKER_NOT_READY


def test_new_worker_takes_the_place_of_the_former(transport: Transport, sender: FrameSender) -> None:
    former = transport.receiver(1)
    former.grant(8)
    until_chosen(sender, 1)
    assert send(sender, 1, 0) is None
    receiver = transport.receiver(2)
    receiver.grant(3)
    until_chosen(sender, 2)
    receive(former)  # it still lives, and gives credit back that counts no more
    serve(sender)
    assert sender.waiting == 0
    assert send_all(sender, 2) == 3
    assert sender.choose() is Cause.QUEUE_FULL


def test_frame_for_a_worker_that_vanished_is_known_to_be_lost(transport: Transport, sender: FrameSender) -> None:
    receiver = transport.receiver(1)
    receiver.grant(100_000)
    until_chosen(sender, 1)
    receiver.close()
    assert until(lambda: send(sender, 1, 0)) is Cause.WORKER_LOST
    assert sender.choose() is Cause.WORKER_NOT_READY
    assert sender.waiting == 0
    successor = transport.receiver(2)
    successor.grant(2)
    until_chosen(sender, 2)
    assert send_all(sender, 2) == 2
    assert receive(successor).header.trigger == 0


def test_new_camera_process_gets_the_workers_credit(transport: Transport) -> None:
    # The worker gave its credit once, to the camera process that ran then. After a restart of the camera process
    # every part was refused as "worker not ready", until the worker was started again too.
    receiver = transport.receiver(1)
    receiver.grant(3)
    first = transport.sender()
    until_chosen(first, 1)
    assert send_all(first, 1) == 3
    receive(receiver)
    receive(receiver)  # one frame is left in the worker's hands, and two credits are on their way
    assert receiver.socket.poll(20_000)
    first.close()
    second = transport.sender()
    taken = []

    def turn() -> bool:
        second.take_credits()
        frame = receiver.receive()
        taken.extend([frame] if frame else [])
        return second.choose() == 1 and bool(taken)

    until(turn, "the worker gives credit to the new camera process")
    serve(second)
    assert len(taken) == 1
    assert send_all(second, 1) == 3  # neither more nor less than the bound, whatever the former process had sent
    assert second.choose() is Cause.QUEUE_FULL
    assert [receive(receiver).header.trigger for _ in range(3)] == [0, 1, 2]
    assert receiver.malformed == 0


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"garbage"],
        [Credit(7, 3, opening=True).encode()[:-1]],
        [Credit(8, 3, opening=True).encode()],  # in the name of another worker
        [header(1, SMALL).encode()],
    ],
)
def test_malformed_credit_is_counted_and_grants_nothing(
    context: zmq.Context, endpoint: str, sender: FrameSender, parts: list[bytes]
) -> None:
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.IDENTITY, worker_identity(7))
    stranger.connect(endpoint)
    stranger.send_multipart(parts)

    def turn() -> bool:
        sender.take_credits()
        return sender.malformed == 1

    until(turn, "the message is counted")
    assert sender.choose() is Cause.WORKER_NOT_READY
    stranger.send(Credit(7, 2, opening=True).encode())
    until_chosen(sender, 7)


def test_closing_twice_does_no_harm(transport: Transport, sender: FrameSender) -> None:
    receiver = transport.receiver(1)
    for end in (receiver, sender):
        end.close()
        end.close()
