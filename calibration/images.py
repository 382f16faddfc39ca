"""Samples, their pixels and masks, read exactly as the line's folder camera reads its frames."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from inspector.cameras.decoding import decode_image
from inspector.domain.errors import DataError, PartError
from inspector.domain.frame import Mask, Pixels
from inspector.recipe.manifest import Geometry

#: The class of good images, and the name of their folder.
GOOD_CLASS = "good"

_NAMED = 10


class Label(enum.IntEnum):
    """Ground truth of an image, as the metrics want it."""

    GOOD = 0
    BAD = 1


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        path: The image file.
        label: Good or bad.
        defect_class: "good", or the name of the defect class.
        mask_path: Ground truth of the pixels; None for good images and where there is none.
    """

    path: Path
    label: Label = Label.GOOD
    defect_class: str = GOOD_CLASS
    mask_path: Path | None = None


def read_image(path: Path) -> Pixels:
    """The pixels of an image, by the same decoder as on the line.

    Args:
        path: The image file.

    Returns:
        uint8, (H, W) grey or (H, W, 3) RGB.

    Raises:
        DataError: The file can't be read or decoded; the message names it.
    """
    return _decoded(path, _file_bytes(path))


def read_mask(path: Path) -> Mask:
    """The ground truth of an image at its own size.

    A pixel is defective if its value is above 127; where no value is (VisA's masks hold small numbers of
    classes) if it is above 0. So masks with soft or compressed edges don't grow.

    Args:
        path: The mask file.

    Returns:
        bool, (H, W).

    Raises:
        DataError: The file can't be read or decoded; the message names it.
    """
    values = read_image(path)
    if values.ndim == 3:
        values = values.max(axis=2)
    return values > (127 if values.max() > 127 else 0)


def mask_of(sample: Sample, frame_px: tuple[int, int], geometry: Geometry | None = None) -> Mask | None:
    """The ground truth of a sample in the frame or in the network's input.

    It is cropped to the region of interest and resized to the input by its nearest neighbours (pixel centres
    aligned as in the resize of the image), so it stays binary.

    Args:
        sample: Good samples have no defective pixel.
        frame_px: Width and height of the sample's image.
        geometry: Of the recipe; without it the mask keeps the size of the image.

    Returns:
        bool, (height_px, width_px) of the geometry or (H, W) of the image; None for a defective sample
        without ground truth (no mask, or a mask that marks nothing), which pixel metrics have to leave out.

    Raises:
        DataError: The mask can't be read, is of another size than the image, or the region of interest
            reaches out of the image.
    """
    width, height = frame_px
    if sample.label is Label.GOOD:
        mask = np.zeros((height, width), dtype=np.bool_)
    elif sample.mask_path is None:
        return None
    else:
        mask = read_mask(sample.mask_path)
        if mask.shape != (height, width):
            raise DataError(
                f"the mask {sample.mask_path} is {mask.shape[1]} x {mask.shape[0]} px, but its image "
                f"{sample.path} is {width} x {height} px; they must be equal"
            )
        if not mask.any():
            return None
    if geometry is None:
        return mask
    region = geometry.region_px
    if region is not None:
        if region.left + region.width > width or region.top + region.height > height:
            raise DataError(
                f"the region of interest reaches out of {sample.path} ({width} x {height} px); "
                "choose a region inside of every image"
            )
        mask = mask[region.top : region.top + region.height, region.left : region.left + region.width]
    size = (geometry.width_px, geometry.height_px)
    resized = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized > 0)


@dataclass(frozen=True)
class Survey:
    """What a look at all images found.

    Attributes:
        sizes_px: Distinct sizes as (width, height), ascending.
        channels: Distinct numbers of channels, 1 or 3, ascending.
        duplicates: Pairs of files with the same content. They are not parts of their own: split between
            mapping and threshold they make its promise too good.
    """

    sizes_px: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]
    duplicates: tuple[tuple[Path, Path], ...]

    @property
    def frame_px(self) -> tuple[int, int] | None:
        """Width and height of all images, None where they differ."""
        return self.sizes_px[0] if len(self.sizes_px) == 1 else None

    @property
    def frame_channels(self) -> int | None:
        """Channels of all images, None where grey and colour are mixed (allowed)."""
        return self.channels[0] if len(self.channels) == 1 else None


def survey(samples: Iterable[Sample]) -> Survey:
    """Read every image once: all of them must be readable before hours are spent on them.

    Args:
        samples: At least one.

    Returns:
        Sizes, channels and duplicates.

    Raises:
        DataError: No samples, or images that can't be read; the message names up to ten of them.
    """
    sizes: set[tuple[int, int]] = set()
    channels: set[int] = set()
    first: dict[bytes, Path] = {}
    duplicates: list[tuple[Path, Path]] = []
    unreadable: list[str] = []
    for sample in samples:
        try:
            data = _file_bytes(sample.path)
            pixels = _decoded(sample.path, data)
        except DataError as error:
            unreadable.append(str(error))
            continue
        sizes.add((pixels.shape[1], pixels.shape[0]))
        channels.add(1 if pixels.ndim == 2 else 3)
        digest = hashlib.sha256(data).digest()
        if digest in first:
            duplicates.append((first[digest], sample.path))
        else:
            first[digest] = sample.path
    if len(unreadable) == 1:
        raise DataError(f"{unreadable[0]}; replace or remove it")
    if unreadable:
        more = f"\n  and {len(unreadable) - _NAMED} more" if len(unreadable) > _NAMED else ""
        listed = "\n  ".join(unreadable[:_NAMED])
        raise DataError(f"{len(unreadable)} images can't be used; replace or remove them:\n  {listed}{more}")
    if not sizes:
        raise DataError("no images")
    return Survey(tuple(sorted(sizes)), tuple(sorted(channels)), tuple(duplicates))


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def _decoded(path: Path, data: bytes) -> Pixels:
    try:
        return decode_image(data)
    except PartError as error:
        raise DataError(f"{path}: {error}") from error
