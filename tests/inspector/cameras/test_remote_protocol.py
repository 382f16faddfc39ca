from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.remote_protocol import (
    CaptureHeader,
    Hello,
    Kind,
    Ping,
    Pong,
    ProtocolError,
    Taken,
    Welcome,
    failed,
    failure,
    kind_of,
    plain,
)
from inspector.domain.frame import PixelFormat
from inspector.domain.verdict import Cause

RUN = bytes(range(16))
PIXELS = CaptureHeader(7, -5, 6, 640, 480, PixelFormat.RGB8, None, "Straße.png")
MESSAGES = [
    Hello(RUN, 3, 8),
    Hello(RUN, 3, 8, raw_bayer=True),
    Welcome(RUN, 2**63),
    Ping(-4, 5),
    Taken(7),
    Pong(1, -2, 3, True),
    PIXELS,
    CaptureHeader(7, 1, 2, 640, 480, PixelFormat.BAYER_GB8, None, ""),
    CaptureHeader(8, 1, 2, 0, 0, None, Cause.FRAME_INCOMPLETE, ""),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in_and_shortened_not_at_all(message: Hello) -> None:
    data = message.encode()
    assert type(message).decode(data) == message
    for length in range(len(data) - len(getattr(message, "source", "").encode())):
        with pytest.raises(ProtocolError):
            type(message).decode(data[:length])


def test_the_size_of_the_pixels_is_said() -> None:
    assert PIXELS.shape == (480, 640, 3)
    assert PIXELS.pixel_bytes == 480 * 640 * 3
    assert CaptureHeader(0, 0, 0, 640, 480, PixelFormat.MONO8, None, "").shape == (480, 640)
    raw = CaptureHeader(0, 0, 0, 640, 480, PixelFormat.BAYER_GB8, None, "")
    assert (raw.shape, raw.pixel_bytes) == ((480, 640), 480 * 640)


def test_a_capture_has_pixels_or_a_known_problem() -> None:
    data = bytearray(PIXELS.encode())
    for at, value in ((42, 1), (42, 99), (40, 99)):
        changed = data.copy()
        changed[at] = value
        with pytest.raises(ProtocolError):
            CaptureHeader.decode(bytes(changed))


@pytest.mark.parametrize("kind", [Kind.START, Kind.BYE])
def test_messages_without_content(kind: Kind) -> None:
    assert kind_of(plain(kind)) is kind


def test_a_failure_has_its_reason_for_people() -> None:
    assert kind_of(failed("ä" * 1000)) is Kind.FAILED
    assert failure(failed("cable pulled")) == "cable pulled"
    assert len(failed("x" * 10_000)) < 600


@given(st.binary(max_size=80))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        kind_of(data)
