"""Does a frame fit the recipe? Pure."""

from __future__ import annotations

from inspector.domain.errors import PartError
from inspector.domain.frame import Pixels
from inspector.domain.verdict import Cause
from inspector.recipe.manifest import Geometry


def check_frame(pixels: Pixels, geometry: Geometry) -> None:
    """Refuses a frame that the calibration never saw the like of.

    Args:
        pixels: uint8, (H, W) or (H, W, 3).
        geometry: The recipe's.

    Raises:
        PartError: Other size or channels, or the region of interest lies outside; cause FRAME_GEOMETRY.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if geometry.frame_px is not None and (width, height) != geometry.frame_px:
        expected = "x".join(map(str, geometry.frame_px))
        raise PartError(Cause.FRAME_GEOMETRY, f"frame of {width}x{height}, the recipe was made for {expected}")
    if geometry.channels is not None and channels != geometry.channels:
        raise PartError(
            Cause.FRAME_GEOMETRY, f"frame with {channels} channels, the recipe was made for {geometry.channels}"
        )
    region = geometry.region_px
    if region is not None and (region.left + region.width > width or region.top + region.height > height):
        raise PartError(Cause.FRAME_GEOMETRY, f"the region of interest lies outside the frame of {width}x{height}")
