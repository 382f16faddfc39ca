"""Does a frame fit the recipe, and where do its tiles lie? Pure."""

from __future__ import annotations

import math

from inspector.domain.errors import PartError
from inspector.domain.frame import SMALLEST_MOSAIC_PX, Frame, Mosaic, PixelFormat
from inspector.domain.verdict import Cause
from inspector.recipe.manifest import Geometry


def check_frame(frame: Frame, geometry: Geometry) -> None:
    """Refuses a frame that the calibration never saw the like of.

    Args:
        frame: uint8, (H, W) or (H, W, 3), or a `Mosaic`, which is a colour frame.
        geometry: The recipe's.

    Raises:
        PartError: Other size or channels, the region of interest lies outside, or a mosaic is too small to be
            demosaiced; cause FRAME_GEOMETRY.
    """
    height, width = frame.shape[:2]
    channels = PixelFormat.of(frame).channels
    if geometry.frame_px is not None and (width, height) != geometry.frame_px:
        expected = "x".join(map(str, geometry.frame_px))
        raise PartError(Cause.FRAME_GEOMETRY, f"frame of {width}x{height}, the recipe was made for {expected}")
    if geometry.channels is not None and channels != geometry.channels:
        raise PartError(
            Cause.FRAME_GEOMETRY, f"frame with {channels} channels, the recipe was made for {geometry.channels}"
        )
    if isinstance(frame, Mosaic) and min(width, height) < SMALLEST_MOSAIC_PX:
        raise PartError(Cause.FRAME_GEOMETRY, f"a Bayer frame of {width}x{height} can't be demosaiced")
    region = geometry.region_px
    if region is not None and (region.left + region.width > width or region.top + region.height > height):
        raise PartError(Cause.FRAME_GEOMETRY, f"the region of interest lies outside the frame of {width}x{height}")


def tiles(geometry: Geometry) -> tuple[tuple[int, int], ...]:
    """Top and left of each tile, row by row; one tile at 0, 0 where the image is inspected as a whole."""
    if geometry.tiling is None:
        return ((0, 0),)
    overlap = geometry.tiling.overlap_px
    tops = tile_starts(geometry.height_px, geometry.tiling.height_px, overlap)
    lefts = tile_starts(geometry.width_px, geometry.tiling.width_px, overlap)
    return tuple((top, left) for top in tops for left in lefts)


def tile_starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Where tiles begin along a side: as few as cover it, evenly spread, neighbours sharing at least the overlap.

    Args:
        length: Of the side, in pixels.
        tile: Length of a tile, at most `length`.
        overlap: Pixels that neighbours share at least, less than `tile`.

    >>> tile_starts(1024, 256, 32), tile_starts(256, 256, 32)
    ((0, 192, 384, 576, 768), (0,))
    """
    count = 1 + math.ceil((length - tile) / (tile - overlap))
    return tuple(round(index * (length - tile) / max(count - 1, 1)) for index in range(count))
