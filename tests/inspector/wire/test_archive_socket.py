"""Frames and verdicts arrive as they were; who has no archive process before it never waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq

from inspector.domain.frame import PixelFormat, Pixels
from inspector.wire.archive_socket import ArchivedFrame, ArchivedOutlines, ArchiveInbox, ArchiveMessage, ArchiveOutbox
from inspector.wire.messages import FrameHeader

from .conftest import until

PATIENCE_MS = 20_000


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/a"


def header(trigger: int, pixels: Pixels) -> FrameHeader:
    layout = PixelFormat.of(pixels)
    return FrameHeader(trigger, 1, 2, 3, 4, layout, pixels.shape[1], pixels.shape[0])


def connected(outbox: ArchiveOutbox) -> None:
    assert outbox._socket.poll(PATIENCE_MS, zmq.POLLOUT)


def received(inbox: ArchiveInbox, count: int) -> list[ArchiveMessage]:
    found: list[ArchiveMessage] = []
    while len(found) < count and inbox.socket.poll(PATIENCE_MS):
        found += inbox.messages(10)
    return found


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 3)])
def test_a_frame_arrives_as_it_was(context: zmq.Context, endpoint: str, shape: tuple[int, ...]) -> None:
    inbox, outbox = ArchiveInbox(context, endpoint), ArchiveOutbox.for_frames(context, endpoint)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    connected(outbox)
    outbox.frame(header(5, pixels), pixels)
    (frame,) = received(inbox, 1)
    assert isinstance(frame, ArchivedFrame)
    assert frame.header == header(5, pixels)
    assert np.array_equal(frame.pixels, pixels)
    assert (outbox.sent, outbox.refused) == (1, 0)
    for end in (inbox, outbox):
        end.close()
        end.close()


def test_a_raw_bayer_frame_is_not_taken_for_a_grey_picture(context: zmq.Context, endpoint: str) -> None:
    inbox, outbox = ArchiveInbox(context, endpoint), ArchiveOutbox.for_frames(context, endpoint)
    pixels = np.zeros((6, 9), np.uint8)
    connected(outbox)
    outbox.frame(replace(header(5, pixels), pixel_format=PixelFormat.BAYER_RG8), pixels)
    outbox.frame(header(6, pixels), pixels)
    (frame,) = received(inbox, 1)
    assert isinstance(frame, ArchivedFrame)
    assert frame.header.trigger == 6
    assert inbox.malformed == 1
    inbox.close()
    outbox.close()


def test_a_verdict_arrives_as_it_was(context: zmq.Context, endpoint: str) -> None:
    inbox, outbox = ArchiveInbox(context, endpoint), ArchiveOutbox.for_verdicts(context, endpoint)
    record = {"trigger": 1 << 32, "decision": "fail", "score": 2.5, "source": "Teil ä"}
    connected(outbox)
    outbox.verdict(record)
    assert received(inbox, 1) == [record]
    inbox.close()
    outbox.close()


@pytest.mark.parametrize("picture", [b"a picture", b""])
def test_outlines_arrive_as_they_were(context: zmq.Context, endpoint: str, picture: bytes) -> None:
    inbox, outbox = ArchiveInbox(context, endpoint), ArchiveOutbox.for_outlines(context, endpoint)
    record = {"defects": [{"area_px": 3}], "area_px": 3} if picture else {"problem": "zu groß"}
    connected(outbox)
    assert outbox.outlines(ArchivedOutlines("2026-01-01/1-fail", record, picture))
    assert received(inbox, 1) == [ArchivedOutlines("2026-01-01/1-fail", record, picture)]
    inbox.close()
    outbox.close()


def test_without_an_archive_process_everything_is_refused_at_once_and_nothing_kept(
    context: zmq.Context, endpoint: str
) -> None:
    pixels = np.zeros((4, 4), np.uint8)
    outbox = ArchiveOutbox.for_frames(context, endpoint)
    assert not outbox.has_room()
    outbox.frame(header(1, pixels), pixels)
    outbox.verdict({"trigger": 1})
    assert not outbox.outlines(ArchivedOutlines("1", {"problem": ""}, b""))
    assert (outbox.sent, outbox.refused) == (0, 4)
    inbox = ArchiveInbox(context, endpoint)
    connected(outbox)
    assert outbox.has_room()
    outbox.frame(header(2, pixels), pixels)
    (frame,) = received(inbox, 1)
    assert isinstance(frame, ArchivedFrame)
    assert frame.header.trigger == 2
    inbox.close()
    outbox.close()


def test_an_archive_process_that_takes_nothing_holds_nobody_up(context: zmq.Context, endpoint: str) -> None:
    # Sockets hold a few frames; the rest is refused, whatever the number.
    inbox, outbox = ArchiveInbox(context, endpoint), ArchiveOutbox.for_frames(context, endpoint)
    connected(outbox)
    pixels = np.zeros((1000, 1000), np.uint8)

    def refused() -> bool:
        while outbox._socket.poll(500, zmq.POLLOUT):  # its threads move frames on for a moment
            outbox.frame(header(1, pixels), pixels)
            assert outbox.sent < 20
        before = outbox.refused
        outbox.frame(header(1, pixels), pixels)
        return not outbox.has_room() and outbox.refused == before + 2

    until(refused, "every frame is refused")
    inbox.close()
    outbox.close()


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"{"],
        [b"[1]"],
        [b'{"trigger": "1"}'],
        [b'{"trigger": true}'],
        [b"INSP", b"pixels"],
        [b"{", b""],
        [b'{"entry": 1, "record": {"problem": ""}}', b""],
        [b'{"entry": "1", "record": []}', b""],
        [b'{"entry": "1", "record": {"defects": []}}', b""],
        [b'{"entry": "1", "record": {"defects": [], "area_px": true}}', b""],
        [b'{"entry": "1", "record": {"problem": null}}', b""],
        [b'{"entry": "1", "record": {"problem": ""}}', b"", b""],
        [header(1, np.zeros((4, 4), np.uint8)).encode(), bytes(15)],
        [header(1, np.zeros((4, 4), np.uint8)).encode(), bytes(16), b"more"],
    ],
)
def test_what_can_not_be_read_is_counted(context: zmq.Context, endpoint: str, parts: list[bytes]) -> None:
    inbox = ArchiveInbox(context, endpoint)
    with context.socket(zmq.PUSH) as socket:
        socket.connect(endpoint)
        socket.send_multipart(parts)
        socket.send(b'{"trigger": 3}')
        assert received(inbox, 1) == [{"trigger": 3}]
    assert inbox.malformed == 1
    inbox.close()
