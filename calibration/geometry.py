"""How the frames come to the network: region of interest, ignored pixels, size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from calibration.images import Survey, read_mask
from calibration.plan import Plan
from inspector.domain.errors import DataError
from inspector.recipe.manifest import Geometry, Region, Tiling


def geometry_of(plan: Plan, found: Survey) -> tuple[Geometry, Tensor | None]:
    """The geometry of a recipe, and which pixels of the network's input it ignores.

    Args:
        plan: Input size, region and mask that were asked for.
        found: Sizes of the good images.

    Returns:
        The geometry, and bool (1, 1, H, W), None if nothing is ignored.

    Raises:
        DataError: The region reaches out of an image, or the mask does not fit the images or leaves nothing.
    """
    region = None
    if plan.region_px is not None:
        left, top, width, height = plan.region_px
        region = Region(left=left, top=top, width=width, height=height)
        for wide, high in found.sizes_px:
            if left + width > wide or top + height > high:
                raise DataError(
                    f"--region {left},{top},{width},{height} reaches out of images of {wide} x {high} px; "
                    "take one inside of every image"
                )
    ignored = None if plan.ignore is None else _ignored(plan.ignore, plan, found, region)
    tiling = None
    if plan.tile_px is not None:
        tiling = Tiling(height_px=plan.tile_px[0], width_px=plan.tile_px[1], overlap_px=plan.overlap_px)
    geometry = Geometry(
        width_px=plan.size_px[1],
        height_px=plan.size_px[0],
        tiling=tiling,
        region_px=region,
        frame_px=found.frame_px,
        ignored_px=0 if ignored is None else int(ignored.sum()),
        channels={1: 1, 3: 3, None: None}[found.frame_channels],
    )
    return geometry, ignored if geometry.ignored_px else None


def _ignored(path: Path, plan: Plan, found: Survey, region: Region | None) -> Tensor:
    """Pixels of the input that hold an ignored pixel of the frame, bool (1, 1, H, W)."""
    mask = read_mask(path)
    size = mask.shape[1], mask.shape[0]
    if found.frame_px != size:
        sizes = ", ".join(f"{width} x {height}" for width, height in found.sizes_px)
        raise DataError(f"--ignore {path} is {size[0]} x {size[1]} px, the images are {sizes} px; they must be equal")
    if region is not None:
        mask = mask[region.top : region.top + region.height, region.left : region.left + region.width]
    height, width = plan.size_px
    # Averages over areas, or neighbours where the input is larger: above 0 wherever an ignored pixel has a share.
    shares = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    if (shares > 0).all():
        raise DataError(f"--ignore {path} leaves nothing to inspect; white is ignored, black is inspected")
    return torch.from_numpy(shares > 0)[None, None]
