"""A refinement in the camera's frame: from the network's input back to the pixels that people know."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.domain.frame import Mask, Pixels
from inspector.models.refinement.optimise import Refinement
from inspector.recipe.manifest import Geometry, Normalisation


def frame_mask(mask: Mask, frame_px: tuple[int, int], geometry: Geometry) -> Mask:
    """A mask of the network's input in the frame.

    It is resized bilinearly and cut at one half, which keeps edges smooth and in place.

    Args:
        mask: bool, (height_px, width_px) of the geometry.
        frame_px: Width and height of the frame.
        geometry: Of the recipe.

    Returns:
        bool, (H, W) of the frame, False outside of the region of interest.
    """
    return _in_frame(mask.astype(np.float32), frame_px, geometry)[..., 0] > 0.5


def recovered_frame(
    pixels: Pixels, refinement: Refinement, image: NDArray[np.float32], geometry: Geometry, normalisation: Normalisation
) -> Pixels:
    """The frame without its defects: the anomaly is taken off the frame's own pixels, so that all others stay sharp.

    Args:
        pixels: The frame, uint8, (H, W) or (H, W, 3) RGB.
        refinement: Of the frame.
        image: The frame as the network saw it, (3, height_px, width_px), normalised.
        geometry: Of the recipe.
        normalisation: Of the recipe.

    Returns:
        uint8, like `pixels`.
    """
    change = refinement.recovered[0].cpu().numpy() - image
    change = change * np.array(normalisation.deviation, np.float32)[:, None, None] * 255.0
    change = change.transpose(1, 2, 0) if pixels.ndim == 3 else change[:1].transpose(1, 2, 0)
    added = _in_frame(change, (pixels.shape[1], pixels.shape[0]), geometry)
    clean = pixels.astype(np.float32) + (added if pixels.ndim == 3 else added[..., 0])
    return np.clip(np.round(clean), 0, 255).astype(np.uint8)


def _in_frame(values: NDArray[np.float32], frame_px: tuple[int, int], geometry: Geometry) -> NDArray[np.float32]:
    """(h, w) or (h, w, C) values at the network's input in a frame of zeros, (H, W, C)."""
    width, height = frame_px
    region = geometry.region_px
    left, top = (region.left, region.top) if region else (0, 0)
    columns, rows = (region.width, region.height) if region else (width, height)
    resized = cv2.resize(np.ascontiguousarray(values), (columns, rows), interpolation=cv2.INTER_LINEAR)
    resized = np.asarray(resized, np.float32).reshape(rows, columns, -1)
    frame = np.zeros((height, width, resized.shape[2]), np.float32)
    frame[top : top + rows, left : left + columns] = resized
    return frame
