"""The two pure parts of a GenICam camera: where the pixels lie in a buffer, and which frames are missing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.bayer import demosaiced
from inspector.cameras.genicam_frames import (
    _FORMATS,
    SUPPORTED_FORMATS,
    Layout,
    ShortBuffer,
    UnsupportedFormat,
    copy_pixels,
    frames_lost,
)
from inspector.domain.frame import Mosaic, Pixels

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
    with pytest.raises(
        UnsupportedFormat, match=r"0x01100007 is not supported; set PixelFormat to one of Mono8, Mono10"
    ):
        copy_pixels(bytes(16), Layout(0x01100007, 2, 2), 16)


#: Depth, how PFNC 2.4 lays values out, and the number of each grey format of more than 8 bits.
DEEP = {
    0x01100003: (10, "words"),
    0x01100005: (12, "words"),
    0x010A0046: (10, "bits"),
    0x010C0047: (12, "bits"),
    0x010C0004: (10, "gige"),
    0x010C0006: (12, "gige"),
}


def stored(values: np.ndarray, depth: int, packing: str) -> bytes:
    """One line of values as a camera stores it, bit by bit after the words of the standard."""
    if packing == "words":
        return values.astype("<u2").tobytes()
    if packing == "bits":
        number = sum(int(value) << depth * place for place, value in enumerate(values))
        return number.to_bytes(len(values) * depth // 8, "little")
    low = depth - 8  # GigE Vision 1: two high bytes around a byte with the low bits of both
    return b"".join(
        bytes([a >> low, (a & (1 << low) - 1) | (b & (1 << low) - 1) << 4, b >> low])
        for a, b in zip(values[::2].tolist(), values[1::2].tolist(), strict=True)
    )


@given(
    pixel_format=st.sampled_from(sorted(DEEP)),
    groups=st.integers(1, 4),
    height_px=st.integers(1, 4),
    padding_bytes=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_upper_8_bits_of_deep_formats_are_kept(
    pixel_format: int, groups: int, height_px: int, padding_bytes: int, seed: int
) -> None:
    depth, packing = DEEP[pixel_format]
    values = np.random.default_rng(seed).integers(0, 1 << depth, (height_px, 4 * groups))
    data = b"".join(stored(line, depth, packing) + bytes(padding_bytes) for line in values)
    pixels = copy_pixels(data, Layout(pixel_format, 4 * groups, height_px, padding_bytes), len(data))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, values >> (depth - 8))


def test_bits_that_run_over_the_end_of_a_line_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match="5 pixels of Mono10p do not fill whole bytes; set Width to a multiple"):
        copy_pixels(bytes(99), Layout(0x010A0046, 5, 2), 99)


#: Numbers of the Bayer formats and the colours of their upper left cell, line by line.
BAYER = {
    0x01080008: "GRBG", 0x01080009: "RGGB", 0x0108000A: "GBRG", 0x0108000B: "BGGR",
    0x0110000C: "GRBG", 0x0110000D: "RGGB", 0x01100010: "GRBG", 0x01100011: "RGGB", 0x01100013: "BGGR",
}  # fmt: skip


@pytest.mark.parametrize("pixel_format", sorted(BAYER))
def test_bayer_patterns_give_their_colour_back(pixel_format: int) -> None:
    """A field of one colour comes out as that colour; a swap of two cells would show."""
    colour = {"R": 200, "G": 120, "B": 40}
    depth = {0x0108: 8, 0x0110: 10 if pixel_format < 0x01100010 else 12}[pixel_format >> 16]
    cell = np.array([colour[name] for name in BAYER[pixel_format]]).reshape(2, 2) << (depth - 8)
    field = np.tile(cell, (4, 5)).astype(np.uint8 if depth == 8 else "<u2")
    pixels = copy_pixels(field.tobytes(), Layout(pixel_format, 10, 8), field.nbytes)
    assert pixels.shape == (8, 10, 3)
    assert np.array_equal(pixels[2:-2, 2:-2], np.broadcast_to([200, 120, 40], (4, 6, 3)))


ALL_BAYER = [number for number, known in _FORMATS.items() if known.name.startswith("Bayer")]


@pytest.mark.parametrize("pixel_format", ALL_BAYER, ids=lambda number: _FORMATS[number].name)
def test_a_raw_frame_makes_the_picture_that_is_made_at_once_otherwise(pixel_format: int) -> None:
    data = np.random.default_rng(pixel_format).integers(0, 256, 2 * 8 * 7 + 7 * 3, np.uint8).tobytes()
    layout = Layout(pixel_format, 8, 7, padding_bytes=3)
    memory = np.zeros((7, 8), np.uint8)
    raw = copy_pixels(data, layout, len(data), lambda shape: memory.reshape(shape), raw_bayer=True)
    assert isinstance(raw, Mosaic)
    assert raw.pixels.ctypes.data == memory.ctypes.data
    assert raw.pixel_format.name == f"BAYER_{_FORMATS[pixel_format].name[5:7]}8"
    assert np.array_equal(demosaiced(raw), copy_pixels(data, layout, len(data)))


def test_other_formats_do_not_change_where_raw_frames_are_wanted() -> None:
    for pixel_format in set(_FORMATS) - set(ALL_BAYER):
        data = np.random.default_rng(pixel_format).integers(0, 256, 8 * 6 * 4, np.uint8).tobytes()
        layout = Layout(pixel_format, 8, 6)
        pixels = copy_pixels(data, layout, len(data), raw_bayer=True)
        assert isinstance(pixels, np.ndarray)
        assert np.array_equal(pixels, copy_pixels(data, layout, len(data)))


@pytest.mark.parametrize("raw_bayer", [False, True])
def test_a_bayer_frame_without_a_middle_is_refused(raw_bayer: bool) -> None:
    """OpenCV made black pictures of frames with two lines."""
    with pytest.raises(UnsupportedFormat, match="BayerGR8 needs 3 x 3 pixels at least, not 8 x 2"):
        copy_pixels(bytes(16), Layout(0x01080008, 8, 2), 16, raw_bayer=raw_bayer)


@pytest.mark.parametrize(("pixel_format", "order"), [(0x02100032, "YUYV"), (0x0210001F, "UYVY")])
def test_yuv_becomes_rgb(pixel_format: int, order: str) -> None:
    """Pure colours of full range after ITU-R BT.601, as JFIF 1.02 writes them out."""
    for rgb, yuv in (((255, 0, 0), (76, 85, 255)), ((0, 0, 255), (29, 255, 107)), ((90, 90, 90), (90, 128, 128))):
        data = bytes(dict(zip("YUV", yuv, strict=True))[letter] for letter in order) * 4
        pixels = copy_pixels(data, Layout(pixel_format, 4, 2), len(data))
        assert pixels.shape == (2, 4, 3)
        assert np.abs(pixels.astype(int) - rgb).max() <= 2


def test_number_and_name_of_a_format_belong_together() -> None:
    """Both tables were written from the standard, by different people."""
    from harvesters.util import _pfnc

    assert {number: _pfnc.symbolics[number] for number in _FORMATS} == {
        number: known.name for number, known in _FORMATS.items()
    }
    assert len(SUPPORTED_FORMATS) == 40


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


@pytest.mark.parametrize("pixel_format", _FORMATS, ids=lambda number: _FORMATS[number].name)
def test_picture_is_written_to_the_memory_that_is_given_for_it(pixel_format: int) -> None:
    data = np.random.default_rng(pixel_format).integers(0, 256, 8 * 6 * 4, np.uint8).tobytes()
    layout = Layout(pixel_format, 8, 6)
    memory: list[Pixels] = []

    def allocate(shape: tuple[int, ...]) -> Pixels:
        memory.append(np.full(shape, 7, np.uint8))
        return memory[-1]

    pixels = copy_pixels(data, layout, len(data), allocate)
    assert len(memory) == 1
    assert pixels is memory[0] or pixels.base is memory[0]  # what holds the pixels holds the memory
    assert pixels.ctypes.data == memory[0].ctypes.data
    assert np.array_equal(memory[0], copy_pixels(data, layout, len(data)))
