"""Calibration and line read image files with one function, and a damaged file is never half an image."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inspector.cameras.decoding import IMAGE_SUFFIXES, decode_image
from inspector.domain.errors import PartError
from inspector.domain.frame import PixelFormat
from inspector.domain.verdict import Cause

LOSSLESS = (".png", ".bmp", ".tif")


def picture(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def encode(suffix: str, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_grey_stays_grey(suffix: str) -> None:
    pixels = picture(33, 21)
    decoded = decode_image(encode(suffix, pixels))
    assert np.array_equal(decoded, pixels)
    assert PixelFormat.of(decoded) is PixelFormat.MONO8


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colour_becomes_rgb(suffix: str) -> None:
    pixels = picture(33, 21, 3)
    decoded = decode_image(encode(suffix, pixels))
    assert np.array_equal(decoded, pixels[..., ::-1])
    assert decoded.flags.c_contiguous


def test_transparency_is_dropped() -> None:
    pixels = picture(9, 9, 4)
    assert np.array_equal(decode_image(encode(".png", pixels)), pixels[..., 2::-1])


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_listed_suffix_is_decoded(suffix: str) -> None:
    assert decode_image(encode(suffix, picture(16, 12, 3))).shape == (16, 12, 3)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_truncated_file_is_corrupt(suffix: str, share: float) -> None:
    data = encode(suffix, picture(64, 64))
    with pytest.raises(PartError) as caught:
        decode_image(data[: int(len(data) * share)])
    assert caught.value.cause is Cause.FRAME_CORRUPT


def test_jpeg_with_a_thumbnail_is_not_taken_for_whole() -> None:
    # Truncated after a thumbnail whose own end mark is in the file: the picture itself has none.
    whole = encode(".jpg", picture(64, 64))
    thumbnail = encode(".jpg", picture(8, 8))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = whole[:2] + segment + whole[2:]
    assert np.array_equal(decode_image(data), decode_image(whole))
    with pytest.raises(PartError, match="too early"):
        decode_image(data[:-40])


SAMPLINGS = [getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("411", "420", "422", "440", "444")]


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("shape", [(57, 83), (57, 83, 3), (1, 1, 3), (16, 200, 3)])
def test_a_jpeg_has_the_pixels_that_opencv_gives_it(shape: tuple[int, ...], progressive: int, sampling: int) -> None:
    # Recipes were calibrated on OpenCV's pixels: another decoder must not move a score.
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    data = cv2.imencode(".jpg", cv2.blur(picture(*shape), (5, 5)), options)[1]
    opened = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR)
    assert np.array_equal(decode_image(data.tobytes()), opened if opened.ndim == 2 else opened[..., ::-1])


def without_tables(data: bytes) -> bytes:
    """As a motion JPEG has it: the standard's Huffman tables are left out."""
    out, place = data[:2], 2
    while data[place : place + 2] != b"\xff\xda":
        after = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place : place + 2] != b"\xff\xc4":
            out += data[place:after]
        place = after
    return out + data[place:]


@pytest.mark.parametrize(
    "as_written",
    [
        lambda data: data + bytes(100),
        lambda data: data[:-2] + bytes(2) + data[-2:],
        lambda data: data[:-2] + b"\xff\xff" + data[-2:],
        without_tables,
    ],
    ids=["zeros behind it", "zeros before its end", "fill bytes", "no tables"],
)
def test_a_jpeg_as_cameras_write_it_is_not_damaged(as_written: Callable[[bytes], bytes]) -> None:
    data = encode(".jpg", cv2.blur(picture(57, 83, 3), (5, 5)))
    assert np.array_equal(decode_image(as_written(data)), decode_image(data))


def test_a_damaged_jpeg_is_mostly_found_out() -> None:
    # OpenCV repairs it, prints "Corrupt JPEG data" and hands out pixels that nobody saw; the part could pass by them.
    whole = encode(".jpg", cv2.blur(picture(200, 300, 3), (5, 5)))
    generator = np.random.default_rng(3)
    refused = 0
    for _ in range(100):
        data = bytearray(whole)
        place = int(generator.integers(len(data) // 4, len(data) - 52))
        data[place : place + 50] = generator.bytes(50)
        try:
            decode_image(bytes(data))
        except PartError:
            refused += 1
    assert refused >= 70


def test_a_damaged_png_is_always_found_out() -> None:
    whole = encode(".png", picture(50, 60, 3))
    for place in range(60, len(whole) - 40, 97):
        data = bytearray(whole)
        data[place] ^= 1
        with pytest.raises(PartError):
            decode_image(bytes(data))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3)])
def test_sixteen_bits_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PartError, match="16 bits a channel"):
        decode_image(encode(".png", picture(*shape).astype(np.uint16) * 16))


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\nIEND"])
def test_what_is_no_image_is_corrupt(data: bytes) -> None:
    with pytest.raises(PartError) as caught:
        decode_image(data)
    assert caught.value.cause is Cause.FRAME_CORRUPT


@settings(max_examples=60)
@given(place=st.integers(0, 2000), change=st.integers(1, 255), suffix=st.sampled_from([".png", ".jpg", ".bmp"]))
def test_flipped_bytes_give_pixels_or_a_part_error(place: int, change: int, suffix: str) -> None:
    data = bytearray(encode(suffix, picture(32, 32)))
    data[place % len(data)] ^= change
    try:
        pixels = decode_image(bytes(data))
    except PartError:
        return
    assert PixelFormat.of(pixels)  # no other error, no other layout
