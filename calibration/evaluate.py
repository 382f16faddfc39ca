"""Measures a recipe on labelled test images, at its own threshold and over all thresholds."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
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
from calibration.scoring import Scorer, make_scorer
from calibration.train import Reporter
from inspector.domain.errors import DataError, EngineError, PartError
from inspector.domain.frame import Pixels
from inspector.domain.threshold import Threshold
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.geometry import check_frame
from inspector.recipe.store import Recipe

#: Confidence of the upper limit on the false-reject rate.
CONFIDENCE = 0.95
#: Runs of the first image before the clock counts.
_WARM_UP = 3


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


@dataclass(frozen=True)
class Evaluation:
    """Figures, and what they were formed from.

    Attributes:
        figures: The figures.
        samples: The test images.
        labels: bool, (N,), True for a defective image.
        scores: float64, (N,).
        maps: Anomaly map of each image, float32, (H, W) each, at the size of the network's input.
        masks: Ground truth of each image, bool, (H, W) each; None for a defective image without one.
        seconds: float64, (N,): preprocessing and network of each image, without reading it, after a warm-up.
        ranking: Of the pixels of all images that have a ground truth; None if no pixel is marked.
    """

    figures: Figures
    samples: tuple[Sample, ...]
    labels: NDArray[np.bool_]
    scores: NDArray[np.float64]
    maps: tuple[NDArray[np.float32], ...]
    masks: tuple[NDArray[np.bool_] | None, ...]
    seconds: NDArray[np.float64]
    ranking: PixelRanking | None

    @property
    def median_ms(self) -> float:
        """Median time of an image, preprocessing and network."""
        return 1e3 * float(np.median(self.seconds))

    def measured(self) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
        """Maps and ground truth of the images that have one."""
        pairs = [(image, mask) for image, mask in zip(self.maps, self.masks, strict=True) if mask is not None]
        return [image for image, _ in pairs], [mask for _, mask in pairs]


def evaluate_recipe(
    recipe: Recipe, data: Path, *, reporter: Reporter, device: str = "cpu", threads: int | None = None
) -> Figures:
    """The figures of `evaluate`, without what they were formed from."""
    return evaluate(recipe, data, reporter=reporter, device=device, threads=threads).figures


def evaluate(
    recipe: Recipe, data: Path, *, reporter: Reporter, device: str = "cpu", threads: int | None = None
) -> Evaluation:
    """Runs the recipe's network over the test images of a data set, one at a time.

    Scores are those of the line, in the recipe's precision; maps and times are the network's in float32.

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
    pairs = [(image, mask) for image, mask in zip(maps, masks, strict=True) if mask is not None]
    marked = any(mask.any() for _, mask in pairs)
    ranking = PixelRanking([image for image, _ in pairs], [mask for _, mask in pairs]) if marked else None
    figures = Figures(
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
        without_mask=len(dataset.test) - len(pairs),
        milliseconds=1e3 * float(np.mean(seconds)),
    )
    return Evaluation(figures, dataset.test, labels, scores, tuple(maps), tuple(masks), seconds, ranking)


def _run(
    recipe: Recipe, samples: tuple[Sample, ...], device: str, reporter: Reporter
) -> tuple[NDArray[np.float64], list[NDArray[np.float32]], list[NDArray[np.bool_] | None], NDArray[np.float64]]:
    geometry = recipe.manifest.geometry
    network = load_network(recipe).to(device)
    preprocess = Preprocess(geometry, recipe.manifest.normalisation).to(device)

    def judge(pixels: Pixels) -> tuple[float, NDArray[np.float32]]:
        with torch.inference_mode():
            result = network(preprocess(torch.from_numpy(pixels).to(device)))
            # Both wait for the device, so that the clock stops when the work is done.
            return float(result.scores[0]), result.anomaly_maps[0, 0].cpu().numpy()

    scorer = _scorer(recipe, preprocess, device, reporter)
    scores, maps, masks, seconds = [], [], [], []
    for done, sample in enumerate(samples, start=1):
        pixels = read_image(sample.path)
        try:
            check_frame(pixels, geometry)
        except PartError as error:
            raise DataError(f"{sample.path}: {error}") from error
        for _ in range(_WARM_UP if done == 1 else 0):
            judge(pixels)
        started = time.perf_counter()
        score, anomaly_map = judge(pixels)
        seconds.append(time.perf_counter() - started)
        scores.append(score if scorer is None else float(scorer([pixels])[0]))
        maps.append(anomaly_map)
        masks.append(mask_of(sample, (pixels.shape[1], pixels.shape[0]), geometry))
        reporter.scoring("test", done, len(samples))
    return np.array(scores), maps, masks, np.array(seconds)


def _scorer(recipe: Recipe, preprocess: Preprocess, device: str, reporter: Reporter) -> Scorer | None:
    """What gives the scores that the line gives; None for a recipe in float32, whose network gives them."""
    precision = recipe.manifest.precision
    if precision == "float32":
        return None
    try:
        if precision == "float16" and device == "cpu":
            raise EngineError("float16 needs --device cuda")
        network = load_network(recipe).to(device)
        return make_scorer(network, preprocess, precision, device=torch.device(device), batch=1)
    except EngineError as error:
        tolerance = recipe.manifest.golden.tolerance
        reporter.say(
            f"scores in float32: this recipe's line computes in {precision}, which can't be done here ({error}); the "
            f"line's scores may differ by {tolerance:.1%}"
        )
        return None


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
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n", "--json")


def write_text(path: Path, text: str, option: str) -> None:
    """Writes text as UTF-8, whole or not at all; what UTF-8 can't hold (odd file names) becomes a question mark.

    Args:
        path: The file.
        text: Its content.
        option: The command's option that names the file, for the message.

    Raises:
        DataError: The file can't be written.
    """
    scratch = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(text, encoding="utf-8", errors="replace")
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise _unwritable(path, error, option) from error


def check_writable(path: Path, option: str) -> None:
    """Makes the folder of a file that hours of work will be written to, and refuses what can't be one.

    Raises:
        DataError: The file can't be written.
    """
    scratch = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        scratch.touch()
        scratch.unlink()
    except OSError as error:
        raise _unwritable(path, error, option) from error


def _unwritable(path: Path, error: OSError, option: str) -> DataError:
    return DataError(f"{path} can't be written: {error.strerror}; choose another file with {option}")
