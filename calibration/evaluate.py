"""Measures a recipe on labelled test images, at its own threshold and over all thresholds."""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.datasets import Label, Sample, open_dataset
from calibration.images import mask_of, read_image
from calibration.metrics import Confusion, confusion, f1_max, image_auroc
from calibration.pixel_metrics import PixelRanking
from calibration.train import Reporter
from inspector.domain.errors import DataError, EngineError, PartError
from inspector.domain.threshold import Threshold
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.geometry import check_frame
from inspector.recipe.store import Recipe

#: Confidence of the upper limit on the false-reject rate.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figures:
    """What a recipe does on test images.

    Attributes:
        recipe: Its name and version.
        recipe_hash: Its content hash.
        data: The test data.
        image_auroc: Over all test images.
        f1_max: Best F1 over all thresholds (an oracle).
        map_px: Height and width of the maps, the network's input size, at which the pixel figures are formed.
        pixel_auroc: Over all pixels; NaN without masks.
        aupro: Up to a false-positive rate of 0.3; NaN without masks.
        confusion: Pass and fail at the recipe's threshold.
        threshold: The recipe's.
        by_class: For each defect class the number of images and how many are rejected.
        without_mask: Defective images that the pixel figures leave out.
        milliseconds: Mean time of an image, preprocessing and network.
    """

    recipe: str
    recipe_hash: str
    data: str
    image_auroc: float
    f1_max: float
    map_px: tuple[int, int]
    pixel_auroc: float
    aupro: float
    confusion: Confusion
    threshold: Threshold
    by_class: dict[str, tuple[int, int]]
    without_mask: int
    milliseconds: float

    @property
    def false_reject_limit(self) -> float:
        """Upper limit of the false-reject rate at `CONFIDENCE`; NaN without good parts."""
        return self.confusion.false_reject_limit(CONFIDENCE) if self.confusion.good else math.nan

    def as_record(self) -> dict[str, Any]:
        """Everything as a JSON-ready dict; a figure that can't be formed is null."""
        record = {
            "recipe": self.recipe,
            "recipe_hash": self.recipe_hash,
            "data": self.data,
            "image_auroc": self.image_auroc,
            "f1_max": self.f1_max,
            "map_px": list(self.map_px),
            "pixel_auroc": self.pixel_auroc,
            "aupro_0.3": self.aupro,
            "confusion": vars(self.confusion),
            "false_reject_rate": self.confusion.false_reject_rate,
            "false_reject_rate_upper": self.false_reject_limit,
            "detection_rate": self.confusion.detection_rate,
            "threshold": vars(self.threshold),
            "rejected_by_class": {name: {"images": n, "rejected": r} for name, (n, r) in self.by_class.items()},
            "without_mask": self.without_mask,
            "ms_per_image": self.milliseconds,
        }
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in record.items()}


def evaluate_recipe(
    recipe: Recipe, data: Path, *, reporter: Reporter, device: str = "cpu", threads: int | None = None
) -> Figures:
    """Runs the recipe's network over the test images of a data set, one at a time.

    Raises:
        DataError: No test images, or images that don't fit the recipe.
        RecipeError: The recipe's tensors don't fit its manifest.
        EngineError: There is no such device.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("PyTorch finds no CUDA device; take --device cpu")
    dataset = open_dataset(data, minimum_good=0)
    if not dataset.test:
        raise DataError(f"{data} has no test images; expected folders such as test/good and test/scratch")
    scores, maps, masks, seconds = _run(recipe, dataset.test, device, reporter)
    labels = np.array([sample.label is Label.BAD for sample in dataset.test])
    threshold = Threshold(**recipe.manifest.threshold.model_dump())
    ranking = PixelRanking(maps, masks) if any(mask.any() for mask in masks) else None
    return Figures(
        recipe=f"{recipe.manifest.name} v{recipe.manifest.version}",
        recipe_hash=recipe.content_hash,
        data=str(data),
        image_auroc=image_auroc(labels, scores),
        f1_max=f1_max(labels, scores).value,
        map_px=(recipe.manifest.geometry.height_px, recipe.manifest.geometry.width_px),
        pixel_auroc=ranking.auroc() if ranking else math.nan,
        aupro=ranking.aupro() if ranking else math.nan,
        confusion=confusion(labels, scores, threshold),
        threshold=threshold,
        by_class=_rejected(dataset.test, scores, threshold),
        without_mask=len(dataset.test) - len(masks),
        milliseconds=1e3 * seconds / len(dataset.test),
    )


def _run(
    recipe: Recipe, samples: tuple[Sample, ...], device: str, reporter: Reporter
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]], list[NDArray[np.bool_]], float]:
    geometry = recipe.manifest.geometry
    network = load_network(recipe).to(device)
    preprocess = Preprocess(geometry, recipe.manifest.normalisation).to(device)
    scores, maps, masks, seconds = [], [], [], 0.0
    for done, sample in enumerate(samples, start=1):
        pixels = read_image(sample.path)
        try:
            check_frame(pixels, geometry)
        except PartError as error:
            raise DataError(f"{sample.path}: {error}") from error
        started = time.perf_counter()
        with torch.inference_mode():
            result = network(preprocess(torch.from_numpy(pixels).to(device)))
            scores.append(float(result.scores[0]))
            anomaly_map = result.anomaly_maps[0, 0].cpu().numpy()
        seconds += time.perf_counter() - started
        mask = mask_of(sample, (pixels.shape[1], pixels.shape[0]), geometry)
        if mask is not None:
            maps.append(anomaly_map)
            masks.append(mask)
        reporter.scoring("test", done, len(samples))
    return np.array(scores), maps, masks, seconds


def _rejected(
    samples: tuple[Sample, ...], scores: NDArray[np.float64], threshold: Threshold
) -> dict[str, tuple[int, int]]:
    counts: dict[str, tuple[int, int]] = {}
    for sample, score in zip(samples, scores.tolist(), strict=True):
        images, rejected = counts.get(sample.defect_class, (0, 0))
        counts[sample.defect_class] = images + 1, rejected + (not score <= threshold.value)
    return dict(sorted(counts.items()))


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Writes figures as JSON, whole or not at all.

    Raises:
        DataError: The file can't be written.
    """
    scratch = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise DataError(f"{path} can't be written: {error.strerror}; choose another file with --json") from error
