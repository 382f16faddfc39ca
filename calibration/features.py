"""Features of the good parts, computed once and kept: in memory, or in a file when they don't fit."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from calibration.images import read_image
from inspector.domain.errors import DataError
from inspector.models.network import FeaturePair
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
    """Unit-norm features of one hierarchy for all images, float16, rows of channels.

    Args:
        images: Number of images.
        size_px: Height and width of the feature map.
        channels: c_S and c_T.
        folder: Where to spill; None keeps the features in memory.
        name: Stem of the spill files.
    """

    def __init__(
        self, images: int, size_px: tuple[int, int], channels: tuple[int, int], folder: Path | None, name: str
    ) -> None:
        self.size_px = size_px
        self.locations = size_px[0] * size_px[1]
        self._arrays: list[NDArray[np.float16]] = []
        for side, width in zip(("source", "target"), channels, strict=True):
            shape = (images, self.locations, width)
            if folder is None:
                self._arrays.append(np.empty(shape, np.float16))
            else:
                path = folder / f"{name}.{side}.npy"
                self._arrays.append(np.lib.format.open_memmap(path, "w+", np.float16, shape))

    def put(self, first: int, source: Tensor, target: Tensor) -> None:
        """Stores the features of consecutive images, (B, c, h, w) each."""
        for array, features in zip(self._arrays, (source, target), strict=True):
            rows = features.flatten(2).transpose(1, 2).to(torch.float16)
            array[first : first + rows.shape[0]] = rows.cpu().numpy()

    def rows(self, images: NDArray[np.int64], locations: NDArray[np.int64], device: torch.device) -> Rows:
        """Features at pairs of image and location, both int64 of shape (count,)."""
        out = []
        for array in self._arrays:
            gathered = torch.from_numpy(np.ascontiguousarray(array[images, locations]))
            out.append(gathered.to(device, torch.float32).t()[None, :, :, None].contiguous())
        return Rows(out[0], out[1], torch.from_numpy(locations).to(device))


class FeatureCache:
    """Features of all hierarchies in use; the spill folder goes with `close`."""

    def __init__(self, levels: list[LevelFeatures], images: int, folder: tempfile.TemporaryDirectory[str] | None):
        self.levels = levels
        self.images = images
        self._folder = folder

    def close(self) -> None:
        """Removes what was spilled."""
        self.levels.clear()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_batch(paths: Sequence[Path], preprocess: Preprocess, device: torch.device) -> Tensor:
    """Images as the network sees them, (B, 3, H, W), read and prepared exactly as the line does."""
    return torch.cat([preprocess(torch.from_numpy(read_image(path)).to(device)) for path in paths])


def compute_features(
    paths: Sequence[Path],
    features: FeaturePair,
    preprocess: Preprocess,
    *,
    device: torch.device,
    memory_bytes: int,
    batch: int = 8,
    scratch: Path | None = None,
    progress: Progress = lambda done: None,
) -> FeatureCache:
    """Runs both backbones once over the images.

    Args:
        paths: The good images.
        features: The frozen backbones.
        preprocess: From file pixels to network input.
        device: Where the backbones run.
        memory_bytes: Largest size kept in memory; beyond it the features go to files.
        batch: Images at once.
        scratch: Folder for the spill files; default the system's temporary folder.
        progress: Told how many images are done.

    Raises:
        DataError: An image can't be read, or the spill folder is full.
    """
    cache: FeatureCache | None = None
    try:
        for first in range(0, len(paths), batch):
            images = load_batch(paths[first : first + batch], preprocess, device)
            with torch.inference_mode():
                pairs = features(images)
            if cache is None:
                cache = _allocate(len(paths), pairs, features.levels, memory_bytes, scratch)
            for level, (source, target) in zip(cache.levels, pairs, strict=True):
                level.put(first, source, target)
            progress(min(first + batch, len(paths)))
    except OSError as error:
        if cache is not None:
            cache.close()
        raise DataError(f"can't keep the features of {len(paths)} images: {error}; free space or use --scratch") from error
    except BaseException:
        if cache is not None:
            cache.close()
        raise
    if cache is None:
        raise DataError("there are no images to compute features of")
    return cache


def _allocate(
    images: int,
    pairs: Iterable[tuple[Tensor, Tensor]],
    levels: Sequence[int],
    memory_bytes: int,
    scratch: Path | None,
) -> FeatureCache:
    shapes = [(tuple(source.shape), tuple(target.shape)) for source, target in pairs]
    size_bytes = 2 * images * sum(math.prod(s[1:]) + math.prod(t[1:]) for s, t in shapes)
    folder = None
    if size_bytes > memory_bytes:
        folder = tempfile.TemporaryDirectory(prefix="calibration-", dir=scratch)
    allocated = [
        LevelFeatures(
            images, (s[2], s[3]), (s[1], t[1]), Path(folder.name) if folder else None, f"level{level}"
        )
        for level, (s, t) in zip(levels, shapes, strict=True)
    ]
    return FeatureCache(allocated, images, folder)
