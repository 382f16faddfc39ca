"""The two pure parts of a GenICam camera: where the pixels lie in a buffer, and which frames are missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.genicam_frames import Layout, ShortBuffer, UnsupportedFormat, copy_pixels, frames_lost

MONO8, RGB8, BGR8, RGBA8 = 0x01080001, 0x02180014, 0x02180015, 0x02200016
CHANNELS = {MONO8: 1, RGB8: 3, BGR8: 3, RGBA8: 4}


@given(
    pixel_format=st.sampled_from(sorted(CHANNELS)),
    width_px=st.integers(1, 9),
    height_px=st.integers(1, 5),
    padding_bytes=st.integers(0, 5),
    offset_bytes=st.integers(0, 7),
)
def test_every_pixel_comes_from_its_place(
    pixel_format: int, width_px: int, height_px: int, padding_bytes: int, offset_bytes: int
) -> None:
    channels = CHANNELS[pixel_format]
    stride_bytes = width_px * channels + padding_bytes
    size_bytes = offset_bytes + stride_bytes * height_px
    data = np.random.default_rng(size_bytes).integers(0, 256, size_bytes, np.uint8).tobytes()
    pixels = copy_pixels(data, Layout(pixel_format, width_px, height_px, padding_bytes, offset_bytes), size_bytes)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.owndata or pixels.base is None
    assert pixels.shape == ((height_px, width_px) if channels == 1 else (height_px, width_px, 3))
    order = {MONO8: [0], RGB8: [0, 1, 2], BGR8: [2, 1, 0], RGBA8: [0, 1, 2]}[pixel_format]
    for row in range(height_px):
        for column in range(width_px):
            first = offset_bytes + row * stride_bytes + column * channels
            assert np.atleast_1d(pixels[row, column]).tolist() == [data[first + channel] for channel in order]


def test_pixels_do_not_change_with_the_buffer() -> None:
    """The producer writes to the same memory again once the buffer is queued."""
    buffer = bytearray(range(6))
    pixels = copy_pixels(buffer, Layout(MONO8, 3, 2), 6)  # type: ignore[arg-type]
    buffer[:] = bytes(6)
    assert pixels.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("layout", "filled_bytes"),
    [(Layout(MONO8, 4, 4), 15), (Layout(MONO8, 4, 5), 99), (Layout(MONO8, 0, 4), 16), (Layout(RGB8, 2, 2, 0, 6), 16)],
)
def test_buffer_that_is_too_short_gives_no_pixels(layout: Layout, filled_bytes: int) -> None:
    with pytest.raises(ShortBuffer):
        copy_pixels(bytes(16), layout, filled_bytes)


def test_other_formats_are_named() -> None:
    with pytest.raises(UnsupportedFormat, match=r"0x010c0047 is not supported; set PixelFormat to one of Mono8, RGB8"):
        copy_pixels(bytes(16), Layout(0x010C0047, 2, 2), 16)


@given(
    gige=st.booleans(),
    start=st.integers(0, 200_000),
    steps=st.lists(st.integers(1, 300), min_size=1, max_size=60),
)
def test_lost_and_delivered_frames_add_up(gige: bool, start: int, steps: list[int]) -> None:
    """Over any pattern of losses and over the wrap of 16-bit counters, each lost frame is counted once."""

    def sent_id(frame: int) -> int:
        return 1 + frame % 65535 if gige else frame % 65536

    frames = [start]
    for step in steps:
        frames.append(frames[-1] + step)
    lost = 0
    for before, after in itertools.pairwise(frames):
        found = frames_lost(sent_id(before), sent_id(after), gige=gige)
        assert found is not None
        lost += found
    assert lost == frames[-1] - frames[0] - len(steps)


@pytest.mark.parametrize(
    ("last", "now", "lost"),
    [
        (65535, 65536, 0),  # 64-bit ids count on
        (1 << 40, (1 << 40) + 3, 2),
        (9, 9, None),  # a producer that always says the same
        (1000, 1, None),  # the camera began anew
        (1 << 40, 5, None),
        (5, 1 << 40, None),  # not an id but a time
    ],
)
def test_ids_that_do_not_count_on(last: int, now: int, lost: int | None) -> None:
    assert frames_lost(last, now, gige=True) == lost
    assert frames_lost(last, now, gige=False) == lost
