"""Colours of raw Bayer frames, on whatever device they lie: to the bit what OpenCV's bilinear demosaicing gives."""

from __future__ import annotations

import torch
from torch import Tensor

from inspector.domain.frame import SMALLEST_MOSAIC_PX, PixelFormat

#: Pixels that are worked on together: bounds the memory, and keeps a step's results where the next one finds them soon.
_TOGETHER_PX = 1 << 22


def demosaic(mosaics: Tensor, formats: Tensor) -> Tensor:
    """Each missing colour is the mean of its nearest pixels of that colour, two or four, halves rounded up.

    The outermost pixels have the colours of their inner neighbours. All of it is integer arithmetic and equals
    `cv2.cvtColor` with ``COLOR_Bayer..2RGB`` bit by bit, so that a threshold that was set on pictures demosaiced by
    OpenCV holds. Nothing waits for the device, and the shapes alone say what is launched: a graph can capture it.

    Args:
        mosaics: uint8, (B, H, W), both sides `SMALLEST_MOSAIC_PX` at least.
        formats: uint8, (B,): the `PixelFormat` of each frame, a Bayer format; what comes of others is of no meaning.

    Returns:
        uint8, (B, H, W, 3) RGB.

    Raises:
        ValueError: The frames are too small.

    >>> field = torch.tensor([[200, 120], [120, 40]], dtype=torch.uint8).repeat(1, 2, 2)
    >>> demosaic(field, torch.tensor([PixelFormat.BAYER_RG8], dtype=torch.uint8))[0, 3, 0].tolist()
    [200, 120, 40]
    """
    count, height, width = mosaics.shape
    if min(height, width) < SMALLEST_MOSAIC_PX:
        raise ValueError(f"frames of {width}x{height} can't be demosaiced")
    together = max(1, _TOGETHER_PX // (height * width))
    if count <= together:
        return _demosaic(mosaics, formats)
    parts = zip(torch.split(mosaics, together), torch.split(formats, together), strict=True)
    return torch.cat([_demosaic(*part) for part in parts])


def _demosaic(mosaics: Tensor, formats: Tensor) -> Tensor:
    values = mosaics.to(torch.int16)
    across = values[:, :, :-2] + values[:, :, 2:]
    down = values[:, :-2, 1:-1] + values[:, 2:, 1:-1]
    diagonal = across[:, :-2] + across[:, 2:]
    across = across[:, 1:-1]
    # Four times each colour, so that all are rounded alike: a pixel of its own, means of two, means of four.
    own = values[:, 1:-1, 1:-1] * 4
    around = across + down
    across, down = across * 2, down * 2

    red_row, red_column = _in_line_with_red(mosaics, formats)
    green = red_row ^ red_column
    of_row = torch.where(green, across, own)  # the colour that shares this row with green
    of_other_rows = torch.where(green, down, diagonal)
    colours = (
        torch.where(red_row, of_row, of_other_rows),
        torch.where(green, own, around),
        torch.where(red_row, of_other_rows, of_row),
    )
    inner = torch.stack(colours, dim=-1).add_(2).bitwise_right_shift_(2)

    pictures = torch.empty(*mosaics.shape, 3, dtype=torch.uint8, device=mosaics.device)
    pictures[:, 1:-1, 1:-1] = inner
    pictures[:, 1:-1, 0] = pictures[:, 1:-1, 1]
    pictures[:, 1:-1, -1] = pictures[:, 1:-1, -2]
    pictures[:, 0] = pictures[:, 1]
    pictures[:, -1] = pictures[:, -2]
    return pictures


def _in_line_with_red(mosaics: Tensor, formats: Tensor) -> tuple[Tensor, Tensor]:
    """The inner rows, (B, H - 2, 1), and columns, (B, 1, W - 2), that have red pixels."""
    lower = (formats == PixelFormat.BAYER_GB8) | (formats == PixelFormat.BAYER_BG8)
    right = (formats == PixelFormat.BAYER_GR8) | (formats == PixelFormat.BAYER_BG8)
    odd_row, odd_column = (
        torch.arange(1, side - 1, device=mosaics.device).bitwise_and(1).bool() for side in mosaics.shape[1:]
    )
    rows = odd_row[None, :, None] == lower[:, None, None]
    columns = odd_column[None, None, :] == right[:, None, None]
    return rows, columns
