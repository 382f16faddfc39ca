"""What a worker makes of messages that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import zmq

from inspector.domain.frame import PixelFormat
from inspector.wire.frames import ZeromqReceiver, worker_identity
from inspector.wire.messages import Credit, FrameHeader

from .conftest import SMALL, header, receive, until


@pytest.fixture
def raw(context: zmq.Context, endpoint: str) -> tuple[Callable[..., None], ZeromqReceiver, Callable[[], Credit]]:
    """A camera process that says anything, and the worker that has to hear it."""
    router = context.socket(zmq.ROUTER)
    router.bind(endpoint)
    receiver = ZeromqReceiver(context, endpoint, 1)
    receiver.grant(4)

    def say(*parts: bytes) -> None:
        router.send_multipart([worker_identity(1), *parts])

    def credit() -> Credit:
        assert router.poll(20_000)
        return Credit.decode(router.recv_multipart()[1])

    assert credit() == Credit(1, 4, opening=True)
    return say, receiver, credit


@pytest.mark.parametrize("parts", [[b"garbage"], [b"garbage", b"pixels"], [b"", b""], [Credit(1, 1).encode(), b""]])
def test_message_without_a_header_is_counted_and_its_credit_given_back(
    raw: tuple[Callable[..., None], ZeromqReceiver, Callable[[], Credit]], parts: list[bytes]
) -> None:
    say, receiver, credit = raw
    say(*parts)
    until(lambda: receiver.receive() is None and receiver.malformed == 1)
    assert credit() == Credit(1, 1)


@pytest.mark.parametrize(
    "parts",
    [
        [header(5, SMALL).encode()],
        [header(5, SMALL).encode(), b""],
        [header(5, SMALL).encode(), bytes(15)],
        [header(5, SMALL).encode(), bytes(17)],
        [header(5, SMALL).encode(), bytes(16), b""],
        [FrameHeader(5, 0, 0, 0, 0, PixelFormat.RGB8, 4, 4).encode(), bytes(16)],
        [FrameHeader(5, 0, 0, 0, 0, PixelFormat.MONO8, 0, 4).encode(), b""],
        [FrameHeader(5, 0, 0, 0, 0, PixelFormat.RGB8, 2**32 - 1, 2**32 - 1).encode(), bytes(16)],
    ],
)
def test_frame_whose_header_and_pixels_disagree_has_no_pixels(
    raw: tuple[Callable[..., None], ZeromqReceiver, Callable[[], Credit]], parts: list[bytes]
) -> None:
    say, receiver, credit = raw
    say(*parts)
    received = receive(receiver)
    assert received.pixels is None
    assert received.header.trigger == 5
    assert receiver.malformed == 0
    assert credit() == Credit(1, 1)
