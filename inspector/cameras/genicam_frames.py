"""What a GenICam frame is made of: from a buffer's bytes to pixels, and which frames were lost between two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inspector.domain.frame import Pixels

#: Bytes a pixel of the supported formats, by their number in the Pixel Format Naming Convention (PFNC 2.4).
_CHANNELS = {0x01080001: 1, 0x02180014: 3, 0x02180015: 3, 0x02200016: 4}
_NAMES = {0x01080001: "Mono8", 0x02180014: "RGB8", 0x02180015: "BGR8", 0x02200016: "RGBa8"}
_BGR8 = 0x02180015

#: Names of the pixel formats that are supported.
SUPPORTED_FORMATS = tuple(_NAMES.values())

#: A step of the frame ids of this size or more is a counter that was set anew, not a loss: half the range of
#: the 16-bit ids of GigE Vision 1, as in serial number arithmetic (RFC 1982).
_HALF_RANGE = 1 << 15


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
    """The buffer's pixel format is not among `SUPPORTED_FORMATS`."""


class ShortBuffer(Exception):  # noqa: N818  says what the buffer is
    """The buffer holds fewer bytes than its layout needs."""


def copy_pixels(data: bytes, layout: Layout, filled_bytes: int) -> Pixels:
    """Copies the image out of a buffer, which the producer will write to again.

    Args:
        data: The whole buffer.
        layout: Where the image lies in it.
        filled_bytes: How much of the buffer was filled.

    Returns:
        uint8, (H, W) for Mono8 and (H, W, 3) RGB for the others, C-contiguous and owned.

    Raises:
        UnsupportedFormat: The pixel format has no rule here.
        ShortBuffer: The image is empty or reaches beyond what was filled.

    >>> copy_pixels(bytes([1, 2, 3, 0, 4, 5, 6, 0]), Layout(0x02180015, 1, 2, padding_bytes=1), 8).tolist()
    [[[3, 2, 1]], [[6, 5, 4]]]
    """
    channels = _CHANNELS.get(layout.pixel_format)
    if channels is None:
        raise UnsupportedFormat(
            f"pixel format {layout.pixel_format:#010x} is not supported; set PixelFormat to one of "
            f"{', '.join(SUPPORTED_FORMATS)}"
        )
    line_bytes = layout.width_px * channels
    stride_bytes = line_bytes + layout.padding_bytes
    needed_bytes = stride_bytes * layout.height_px
    if not needed_bytes or layout.offset_bytes + needed_bytes > min(len(data), filled_bytes):
        raise ShortBuffer(
            f"{layout.width_px} x {layout.height_px} pixels need {needed_bytes} bytes, "
            f"{filled_bytes} were filled from byte {layout.offset_bytes} on"
        )
    flat = np.frombuffer(data, np.uint8, needed_bytes, layout.offset_bytes)
    lines = flat.reshape(layout.height_px, stride_bytes)[:, :line_bytes]
    if channels == 1:
        return np.array(lines, order="C")
    colour = lines.reshape(layout.height_px, layout.width_px, channels)[..., :3]
    if layout.pixel_format == _BGR8:
        colour = colour[..., ::-1]
    return np.array(colour, order="C")


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
