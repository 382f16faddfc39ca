"""Features of the good parts, computed once and kept: in memory, or in a file when they don't fit."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calibration.images import read_image
from inspector.domain.errors import DataError
from inspector.models.preprocess import Preprocess

#: Called after each image with the number done so far.
Progress = Callable[[int], None]


class Rows(NamedTuple):
    """Features at sampled locations, as a (1, channels, count, 1) batch for 1x1 convolutions.

    Attributes:
        source: float32, (1, c_S, count, 1), unit norm over channels.
        target: float32, (1, c_T, count, 1).
        locations: int64, (count,), index of each row's location in its feature map.
    """

    source: Tensor
    target: Tensor
    locations: Tensor


class LevelFeatures:
    """Features of one hierarchy for all images, of one backbone or of two, float16, rows of channels.

    Args:
        images: Number of images.
        size_px: Height and width of the feature map.
        channels: c_S and c_T, or those of the only backbone.
        folder: Where to spill; None keeps the features in memory.

    Raises:
        OSError: The disk has not enough space for the spill files.
    """

    def __init__(self, images: int, size_px: tuple[int, int], channels: tuple[int, ...], folder: Path | None) -> None:
        self.size_px = size_px
        self.locations = size_px[0] * size_px[1]
        shapes = [(images, self.locations, width) for width in channels]
        self._arrays = [np.empty(shape, np.float16) if folder is None else _spilled(shape, folder) for shape in shapes]

    def put(self, first: int, *sides: Tensor) -> None:
        """Stores the features of consecutive images, (B, c, h, w) for each backbone."""
        for array, features in zip(self._arrays, sides, strict=True):
            rows = features.flatten(2).transpose(1, 2).to(torch.float16)
            array[first : first + rows.shape[0]] = rows.cpu().numpy()

    def rows(self, images: NDArray[np.int64], locations: NDArray[np.int64], device: torch.device) -> Rows:
        """Features of both backbones at pairs of image and location, both int64 of shape (count,)."""
        source, target = (_as_batch(array[images, locations], device) for array in self._arrays)
        return Rows(source, target, torch.from_numpy(locations).to(device))

    def whole(self, images: NDArray[np.int64], device: torch.device) -> Rows:
        """Features of both backbones at all locations of the given images, int64 of shape (count,)."""
        source, target = (_as_batch(array[images].reshape(-1, array.shape[2]), device) for array in self._arrays)
        locations = np.tile(np.arange(self.locations, dtype=np.int64), len(images))
        return Rows(source, target, torch.from_numpy(locations).to(device))

    def vectors(self, images: NDArray[np.int64], locations: NDArray[np.int64], device: torch.device) -> Tensor:
        """Features of the only backbone at pairs of image and location, float32, (count, c)."""
        (array,) = self._arrays
        return torch.from_numpy(array[images, locations]).to(device, torch.float32)

    def maps(self, images: NDArray[np.int64], device: torch.device) -> Tensor:
        """Feature maps of the only backbone, float32, (B, c, h, w)."""
        (array,) = self._arrays
        rows = torch.from_numpy(array[images]).to(device, torch.float32)
        return rows.transpose(1, 2).reshape(len(images), -1, *self.size_px)


def _as_batch(rows: NDArray[np.float16], device: torch.device) -> Tensor:
    """(count, channels) as (1, channels, count, 1), float32, channels last as 1x1 convolutions like it."""
    return torch.from_numpy(rows).to(device, torch.float32).t()[None, :, :, None]


def _spilled(shape: tuple[int, ...], folder: Path) -> NDArray[np.float16]:
    """An array in a file that has no name any more, so that nothing is left however the process ends."""
    with tempfile.TemporaryFile(dir=folder) as file:
        # Without reserved space a full disk would kill the process at a write to the mapped memory.
        os.posix_fallocate(file.fileno(), 0, 2 * math.prod(shape))
        return np.memmap(file, np.float16, "r+", shape=shape)


class FeatureCache:
    """Features of all hierarchies in use.

    Args:
        levels: One for each hierarchy.
        spilled: Whether they lie in files.
        tiles: Network inputs that each image was cut into; those of an image follow each other.
    """

    def __init__(self, levels: list[LevelFeatures], spilled: bool, tiles: int = 1) -> None:
        self.levels = levels
        self.spilled = spilled
        self.tiles = tiles

    def of_images(self, images: Sequence[int]) -> list[int]:
        """Indices in the cache of the tiles of so many images."""
        return [image * self.tiles + tile for image in images for tile in range(self.tiles)]

    def close(self) -> None:
        """Gives memory and disk back."""
        self.levels.clear()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_batch(paths: Sequence[Path], preprocess: Preprocess, device: torch.device) -> Tensor:
    """Images as the network sees them, (B, 3, H, W), read and prepared exactly as the line does."""
    return torch.cat([preprocess(torch.from_numpy(read_image(path)).to(device)) for path in paths])


def compute_features(
    paths: Sequence[Path],
    features: nn.Module,
    preprocess: Preprocess,
    *,
    device: torch.device,
    memory_bytes: int,
    batch: int = 8,
    scratch: Path | None = None,
    progress: Progress = lambda done: None,
) -> FeatureCache:
    """Runs the backbones once over the images.

    Args:
        paths: The good images.
        features: The frozen backbones, as a detector has them (`inspector.models.detector.Detector`).
        preprocess: From file pixels to network input.
        device: Where the backbones run.
        memory_bytes: Largest size kept in memory; beyond it the features go to files without a name.
        batch: Images at once.
        scratch: Folder for the spill files; default the system's temporary folder.
        progress: Told how many images are done.

    Raises:
        DataError: There are no images, one can't be read, or memory or disk can't hold the features.
    """
    cache: FeatureCache | None = None
    for first in range(0, len(paths), batch):
        images = load_batch(paths[first : first + batch], preprocess, device)
        with torch.inference_mode():
            found: Sequence[tuple[Tensor, ...]] = features(images)
        if cache is None:
            tiles = len(preprocess.places)
            cache = FeatureCache(*_allocate(len(paths) * tiles, found, memory_bytes, scratch), tiles)
        for level, sides in zip(cache.levels, found, strict=True):
            level.put(first * cache.tiles, *sides)
        progress(min(first + batch, len(paths)))
    if cache is None:
        raise DataError("there are no images to compute features of")
    return cache


def _allocate(
    images: int, found: Sequence[tuple[Tensor, ...]], memory_bytes: int, scratch: Path | None
) -> tuple[list[LevelFeatures], bool]:
    size_bytes = 2 * images * sum(math.prod(side.shape[1:]) for sides in found for side in sides)
    spilled = size_bytes > memory_bytes
    folder = scratch or Path(tempfile.gettempdir())
    try:
        levels = [
            LevelFeatures(
                images,
                (int(sides[0].shape[2]), int(sides[0].shape[3])),
                tuple(int(side.shape[1]) for side in sides),
                folder if spilled else None,
            )
            for sides in found
        ]
    except (OSError, MemoryError) as error:
        need = f"the features of {images} network inputs take {size_bytes / 2**30:.1f} GiB"
        reason = getattr(error, "strerror", None) or "not enough memory"
        where, remedy = (
            (folder, "free space there or name another folder with --scratch")
            if spilled
            else ("memory", "take a smaller --memory-gib, so that they go to files")
        )
        raise DataError(f"{need}, and {where} can't hold them ({reason}); {remedy}") from error
    return levels, spilled
