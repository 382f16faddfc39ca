"""Measures refinements against pixel-exact ground truth, with the ablations of the F2PAD paper (its Table III)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from calibration.datasets import open_dataset
from calibration.images import Sample, mask_of
from calibration.metrics import PixelRanking, overlap_at
from calibration.refinement.files import read_frame
from inspector.domain.errors import DataError
from inspector.domain.frame import Mask, Pixels
from inspector.models.refinement.canvas import to_pixels
from inspector.models.refinement.frame_refiner import open_network
from inspector.models.refinement.optimise import Refinement, difference_mask, refine
from inspector.models.refinement.outlines import draw_outlines, find_outlines
from inspector.models.refinement.prior import Prior
from inspector.models.refinement.settings import Settings
from inspector.recipe.store import Recipe

#: The map above the 99.9 % quantile of good pixels, and above the threshold that is best for the labels (an oracle).
COARSE, ORACLE, START = "map", "map, best threshold", "initialisation only"
#: The whole method.
FULL = "f2pad"
#: Changes of the settings for each row of the table; "initialisation only" needs no run of its own, and the ablations
#: no re-estimation, since that leaves the mask as it is.
VARIANTS: dict[str, dict[str, Any]] = {
    FULL: {},
    "without pixel prior": {"mixture": 0.0, "smoothness": 0.0, "reestimation": 0},
    "without sparsity": {"sparsity": 0.0, "reestimation": 0},
    "without gradient sharing": {"window_px": 1, "reestimation": 0},
}
#: Side of a picture in the gallery.
_TILE_PX = 200

#: Called with the number of refined images and of all.
Progress = Callable[[int, int], None]


@dataclass
class Row:
    """A line of the table.

    Attributes:
        iou: Intersection over union of each defective image.
        dice: DICE of each defective image.
        seconds: Time of each image; empty where nothing was optimised.
        iterations: Of each image.
    """

    iou: list[float] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)

    def add(self, found: Mask, truth: Mask) -> None:
        """Compares a mask with its truth."""
        common, area = int((found & truth).sum()), int(found.sum()) + int(truth.sum())
        self.iou.append(common / (area - common))
        self.dice.append(2.0 * common / area)

    def as_record(self) -> dict[str, Any]:
        """Means, and the IoU of each image."""
        record: dict[str, Any] = {
            "mean_iou": float(np.mean(self.iou)),
            "mean_dice": float(np.mean(self.dice)),
            "worst_iou": min(self.iou),
            "iou": [round(value, 4) for value in self.iou],
        }
        if self.seconds:
            record |= {
                "seconds_per_image": float(np.mean(self.seconds)),
                "iterations_per_image": float(np.mean(self.iterations)),
            }
        return record


@dataclass(frozen=True)
class Measurement:
    """Table and pictures.

    Attributes:
        rows: A row for each method.
        images: The measured files.
        gallery: uint8 RGB: image, truth, map, start, optimised image and outlines of each file.
    """

    rows: dict[str, Row]
    images: tuple[Path, ...]
    gallery: Pixels


def measure(
    recipe: Recipe,
    data: Path,
    prior: Prior,
    *,
    settings: Settings | None = None,
    variants: tuple[str, ...] = tuple(VARIANTS),
    count: int | None = None,
    device: str = "cpu",
    progress: Progress = lambda done, total: None,
) -> Measurement:
    """Refines the defective test images of a data set and compares with their masks at the network's input size.

    Args:
        recipe: Whose detector is refined.
        data: Category with masks, such as `calibrate synthesise` writes.
        prior: Of the recipe.
        settings: What the variants change.
        variants: Names in `VARIANTS`; the first is drawn in the gallery.
        count: Most images, spread evenly over all; None for all.
        device: "cpu" or "cuda".
        progress: Told how far it is.

    Raises:
        DataError: No defective images with masks, images that don't fit the recipe, or an unknown variant.
    """
    unknown = [name for name in variants if name not in VARIANTS]
    if unknown or not variants:
        raise DataError(f"unknown variant {', '.join(unknown)}; known are {', '.join(VARIANTS)}")
    settings = settings or Settings()
    samples = _samples(data, count)
    network, preprocess = open_network(recipe, device)
    rows = {name: Row() for name in (COARSE, ORACLE, START, *variants)}
    tiles, maps, truths = [], [], []
    for index, sample in enumerate(samples):
        pixels = read_frame(sample.path, recipe)
        truth = mask_of(sample, (pixels.shape[1], pixels.shape[0]), recipe.manifest.geometry)
        if truth is None or not truth.any():
            raise DataError(f"{sample.path} marks no pixel at the network's input size; leave it out")
        image = preprocess(torch.from_numpy(pixels).to(device))
        with torch.no_grad():
            maps.append(network(image).anomaly_maps[0, 0].cpu().numpy())
        truths.append(truth)
        for name in variants:
            started = time.perf_counter()
            found = refine(
                network,
                image,
                prior,
                grey=pixels.ndim == 2,
                settings=replace(settings, **VARIANTS[name]),
                normalisation=recipe.manifest.normalisation,
            )
            rows[name].seconds.append(time.perf_counter() - started)
            rows[name].iterations.append(found.iterations)
            rows[name].add(found.mask, truth)
            if name == variants[0]:
                rows[COARSE].add(found.coarse, truth)
                rows[START].add(difference_mask(image, found.start, settings), truth)
                tiles.append(_tile(image, truth, maps[-1], found, recipe))
            progress(index * len(variants) + variants.index(name) + 1, len(samples) * len(variants))
    best = overlap_at(maps, truths, PixelRanking(maps, truths).f1_max().threshold)
    for anomaly_map, truth in zip(maps, truths, strict=True):
        rows[ORACLE].add(anomaly_map > best.threshold, truth)
    return Measurement(rows, tuple(sample.path for sample in samples), np.concatenate(tiles))


def _samples(data: Path, count: int | None) -> list[Sample]:
    samples = [sample for sample in open_dataset(data, minimum_good=0).test if sample.mask_path is not None]
    if not samples:
        raise DataError(f"{data} has no defective test images with masks; make some with 'calibrate synthesise'")
    if count is None or count >= len(samples):
        return samples
    return [samples[index] for index in np.linspace(0, len(samples) - 1, count).astype(int)]


def _tile(
    image: torch.Tensor, truth: Mask, anomaly_map: NDArray[np.float32], found: Refinement, recipe: Recipe
) -> Pixels:
    """A row of the gallery."""
    normalisation = recipe.manifest.normalisation
    given, start, clean = (to_pixels(part, normalisation, grey=False) for part in (image, found.start, found.recovered))
    heat = np.clip(anomaly_map / max(2 * recipe.manifest.threshold.value, 1e-12), 0, 1)
    coloured = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    marked = np.repeat(truth[..., None].astype(np.uint8) * 255, 3, axis=2)
    parts = [given, marked, coloured, start, clean, draw_outlines(given, find_outlines(found.mask))]
    size = (_TILE_PX, _TILE_PX)
    tiles = [
        cv2.resize(part, size, interpolation=cv2.INTER_AREA if part.shape[0] > _TILE_PX else cv2.INTER_NEAREST)
        for part in parts
    ]
    return np.concatenate([np.asarray(tile, np.uint8) for tile in tiles], axis=1)
