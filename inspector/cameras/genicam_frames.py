"""What a GenICam frame is made of: from a buffer's bytes to pixels, and which frames were lost between two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.cameras.bayer import demosaiced
from inspector.domain.frame import SMALLEST_MOSAIC_PX, Allocate, Frame, Mosaic, PixelFormat, Pixels, new_pixels

#: A step of the frame ids of this size or more is a counter that was set anew, not a loss: half the range of
#: the 16-bit ids of GigE Vision 1, as in serial number arithmetic (RFC 1982).
_HALF_RANGE = 1 << 15


@dataclass(frozen=True)
class _Format:
    """How a pixel format stores its values.

    Attributes:
        name: Its name in the Pixel Format Naming Convention (PFNC 2.4).
        depth: Bits that a value has, 8, 10 or 12.
        packing: "bytes" or "words" for values of their own, "bits" for values one after the other (PFNC's "p"),
            "gige" for the pairs of GigE Vision 1 ("Packed"): two high bytes, the low bits between them.
        colour: "" for grey, "RGB", "BGR", "RGBa", "YUYV" or "UYVY", or the colours of the upper left Bayer cell.
    """

    name: str
    depth: int = 8
    packing: str = "bytes"
    colour: str = ""


_FORMATS: dict[int, _Format] = {
    0x01080001: _Format("Mono8"),
    0x01100003: _Format("Mono10", 10, "words"),
    0x01100005: _Format("Mono12", 12, "words"),
    0x010A0046: _Format("Mono10p", 10, "bits"),
    0x010C0047: _Format("Mono12p", 12, "bits"),
    0x010C0004: _Format("Mono10Packed", 10, "gige"),
    0x010C0006: _Format("Mono12Packed", 12, "gige"),
    0x02180014: _Format("RGB8", colour="RGB"),
    0x02180015: _Format("BGR8", colour="BGR"),
    0x02200016: _Format("RGBa8", colour="RGBa"),
    0x02100032: _Format("YUV422_8", colour="YUYV"),
    0x0210001F: _Format("YUV422_8_UYVY", colour="UYVY"),
    **{
        number + place: _Format(f"Bayer{cell[:2]}{depth}{suffix}", depth, packing, cell)
        for depth, suffix, packing, number, cells in (
            (8, "", "bytes", 0x01080008, ("GRBG", "RGGB", "GBRG", "BGGR")),
            (10, "", "words", 0x0110000C, ("GRBG", "RGGB", "GBRG", "BGGR")),
            (12, "", "words", 0x01100010, ("GRBG", "RGGB", "GBRG", "BGGR")),
            (10, "Packed", "gige", 0x010C0026, ("GRBG", "RGGB", "GBRG", "BGGR")),
            (12, "Packed", "gige", 0x010C002A, ("GRBG", "RGGB", "GBRG", "BGGR")),
        )
        for place, cell in enumerate(cells)
    },
    **{
        number: _Format(f"Bayer{cell[:2]}{depth}p", depth, "bits", cell)
        for depth, cell, number in (
            (10, "BGGR", 0x010A0052),
            (12, "BGGR", 0x010C0053),
            (10, "GBRG", 0x010A0054),
            (12, "GBRG", 0x010C0055),
            (10, "GRBG", 0x010A0056),
            (12, "GRBG", 0x010C0057),
            (10, "RGGB", 0x010A0058),
            (12, "RGGB", 0x010C0059),
        )
    },
}

_BAYER = {
    "RGGB": PixelFormat.BAYER_RG8,
    "GRBG": PixelFormat.BAYER_GR8,
    "GBRG": PixelFormat.BAYER_GB8,
    "BGGR": PixelFormat.BAYER_BG8,
}

#: Names of the pixel formats that are supported.
SUPPORTED_FORMATS = tuple(one.name for one in _FORMATS.values())


@dataclass(frozen=True)
class Layout:
    """How the image lies in a buffer.

    Attributes:
        pixel_format: Number of the format (PFNC).
        width_px: Pixels in a line.
        height_px: Lines that were delivered.
        padding_bytes: Unused bytes after each line.
        offset_bytes: Where the image begins.
    """

    pixel_format: int
    width_px: int
    height_px: int
    padding_bytes: int = 0
    offset_bytes: int = 0


class UnsupportedFormat(Exception):  # noqa: N818  says what the buffer holds
    """The buffer's pixel format is not among `SUPPORTED_FORMATS`, or its width can't be had in it."""


class ShortBuffer(Exception):  # noqa: N818  says what the buffer is
    """The buffer holds fewer bytes than its layout needs."""


def copy_pixels(
    data: bytes, layout: Layout, filled_bytes: int, allocate: Allocate = new_pixels, *, raw_bayer: bool = False
) -> Frame:
    """Copies the image out of a buffer, which the producer will write to again.

    Of 10 and 12 bits the upper 8 are kept, and then Bayer patterns are demosaiced (bilinear, OpenCV), unless they are
    wanted raw. YUV is taken as full range with the weights of ITU-R BT.601, as JPEG has it.

    Args:
        data: The whole buffer.
        layout: Where the image lies in it.
        filled_bytes: How much of the buffer was filled.
        allocate: Memory for the image.
        raw_bayer: Leave Bayer patterns to who gets them.

    Returns:
        uint8, (H, W) for Mono formats and (H, W, 3) RGB for the others, C-contiguous and owned; a `Mosaic` of such
        memory for Bayer formats with `raw_bayer`.

    Raises:
        UnsupportedFormat: The pixel format has no rule here.
        ShortBuffer: The image is empty or reaches beyond what was filled.

    >>> copy_pixels(bytes([1, 2, 3, 0, 4, 5, 6, 0]), Layout(0x02180015, 1, 2, padding_bytes=1), 8).tolist()
    [[[3, 2, 1]], [[6, 5, 4]]]
    """
    known = _FORMATS.get(layout.pixel_format)
    if known is None:
        raise UnsupportedFormat(
            f"pixel format {layout.pixel_format:#010x} is not supported; set PixelFormat to one of "
            f"{', '.join(SUPPORTED_FORMATS)}"
        )
    lines = _lines(data, layout, filled_bytes, known.name)
    values = _high_bytes(lines, known, layout.width_px)
    if known.colour not in _BAYER:
        return _in_colour(values, known, layout, allocate)
    smallest = SMALLEST_MOSAIC_PX
    if min(values.shape) < smallest:
        size = f"{layout.width_px} x {layout.height_px}"
        raise UnsupportedFormat(f"{known.name} needs {smallest} x {smallest} pixels at least, not {size}")
    if raw_bayer:
        return Mosaic(_copy(values, allocate), _BAYER[known.colour])
    return demosaiced(Mosaic(np.ascontiguousarray(values), _BAYER[known.colour]), allocate)


def _lines(data: bytes, layout: Layout, filled_bytes: int, name: str) -> NDArray[np.uint8]:
    """The bytes of each line without padding: a view of shape (H, bytes)."""
    line_bits = layout.width_px * (layout.pixel_format >> 16 & 0xFF)  # PFNC: bits a pixel stand in the number
    if line_bits % 8:
        raise UnsupportedFormat(
            f"{layout.width_px} pixels of {name} do not fill whole bytes; set Width to a multiple of 4"
        )
    line_bytes = line_bits // 8
    stride_bytes = line_bytes + layout.padding_bytes
    needed_bytes = stride_bytes * layout.height_px
    if not needed_bytes or layout.offset_bytes + needed_bytes > min(len(data), filled_bytes):
        raise ShortBuffer(
            f"{layout.width_px} x {layout.height_px} pixels need {needed_bytes} bytes, "
            f"{filled_bytes} were filled from byte {layout.offset_bytes} on"
        )
    flat = np.frombuffer(data, np.uint8, needed_bytes, layout.offset_bytes)
    return flat.reshape(layout.height_px, stride_bytes)[:, :line_bytes]


def _high_bytes(lines: NDArray[np.uint8], known: _Format, width_px: int) -> NDArray[np.uint8]:
    """The upper 8 bits of each value, (H, values); of 8-bit formats still a view of the buffer."""
    if known.packing == "bytes":
        return lines
    if known.packing == "words":
        words = np.ascontiguousarray(lines).view("<u2")
        return (words >> (known.depth - 8)).astype(np.uint8)
    height_px = len(lines)
    group_bytes = 5 if known.packing == "bits" and known.depth == 10 else 3
    spare_bytes = -lines.shape[1] % group_bytes
    groups = np.pad(lines, ((0, 0), (0, spare_bytes))).reshape(height_px, -1, group_bytes)
    first, second, third = groups[..., 0], groups[..., 1], groups[..., 2]
    if known.packing == "gige":
        values: list[Any] = [first, third]
    elif known.depth == 12:
        values = [first >> 4 | second << 4, third]
    else:
        fourth, fifth = groups[..., 3], groups[..., 4]
        values = [first >> 2 | second << 6, second >> 4 | third << 4, third >> 6 | fourth << 2, fifth]
    return np.stack(values, axis=-1).reshape(height_px, -1)[:, :width_px]


def _in_colour(values: NDArray[np.uint8], known: _Format, layout: Layout, allocate: Allocate) -> Pixels:
    """Grey as it is, everything else as RGB; always in memory of its own."""
    height_px, width_px = layout.height_px, layout.width_px
    if not known.colour:
        return _copy(values, allocate)
    if known.colour in ("YUYV", "UYVY"):
        if width_px % 2:
            raise UnsupportedFormat(f"{known.name} needs an even Width, not {width_px}")
        pairs = values.reshape(height_px, width_px // 2, 4)
        y, u, v = ((slice(0, 4, 2), 1, 3), (slice(1, 4, 2), 0, 2))[known.colour == "UYVY"]
        chroma = [np.repeat(pairs[..., place], 2, axis=1) for place in (v, u)]
        planes = np.dstack([pairs[..., y].reshape(height_px, width_px), *chroma])
        return np.asarray(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB, dst=allocate(planes.shape)), np.uint8)
    pixels = values.reshape(height_px, width_px, -1)
    return _copy(pixels[..., ::-1] if known.colour == "BGR" else pixels[..., :3], allocate)


def _copy(pixels: Pixels, allocate: Allocate) -> Pixels:
    copy = allocate(pixels.shape)
    np.copyto(copy, pixels)
    return copy


def frames_lost(last: int, now: int, *, gige: bool) -> int | None:
    """Frames that were lost between two that arrived, by their ids.

    The ids of GigE Vision 1 have 16 bits and skip 0: 65535 is followed by 1. Others count on.

    Args:
        last: Id of the former frame.
        now: Id of this frame.
        gige: True for GigE Vision.

    Returns:
        Frames between them; None if the ids say nothing: the same again, or the counter was set anew.

    >>> frames_lost(7, 8, gige=True), frames_lost(7, 10, gige=False), frames_lost(65535, 1, gige=True)
    (0, 2, 0)
    """
    step = now - last
    if step < 0 and last < 1 << 16:
        step += 65535 if gige else 65536
    return step - 1 if 0 < step < _HALF_RANGE else None
