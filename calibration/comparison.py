"""Several detectors on several categories, trained and measured alike."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import inspector
from calibration.curves import Curve
from calibration.datasets import Dataset, categories, open_dataset
from calibration.evaluate import Evaluation, Figures, evaluate
from calibration.gallery import Gallery, GalleryOptions, make_gallery
from calibration.images import Sample
from calibration.metrics import aupimo, overlap_at, roc_curve
from calibration.pixel_metrics import PRO_LIMIT, Overlap
from calibration.plan import Plan
from calibration.published import METRICS, Setting, is_mvtec
from calibration.train import Reporter, calibrate
from inspector.domain.errors import DataError, EngineError, FatalError
from inspector.models.weights import load_backbone
from inspector.recipe.store import Recipe, load_recipe

#: Fields of a plan without effect on the recipe, but for its name.
_WITHOUT_EFFECT = frozenset(
    {"data", "recipe", "name", "version", "weights_dir", "threads", "memory_bytes", "scratch", "batch"}
)
#: Points of a curve that are kept.
_CURVE_POINTS = 300

#: Makes the plan of a detector for the folder of a category; its recipe and name are replaced.
PlanFor = Callable[[Path, str], Plan]
#: Opens a reporter.
Reporting = Callable[[], AbstractContextManager[Reporter]]


@dataclass(frozen=True)
class PixelFigures:
    """Pixel figures beyond those of `Figures`, at the size of the maps.

    Attributes:
        f1_max: Best F1 of the pooled pixels over all thresholds (an oracle).
        aupimo: Mean over the defective images; NaN without good test images.
        overlap: IoU and DICE of the map at the recipe's threshold.
    """

    f1_max: float
    aupimo: float
    overlap: Overlap


@dataclass(frozen=True)
class Result:
    """A detector on a category.

    Attributes:
        recipe: Folder of the recipe.
        reused: The recipe was there from a former run of the same plan.
        setting: What it is held against the papers by.
        training_s: Time that the calibration took when it was made.
        seed: Of the calibration.
        figures: Its figures.
        median_ms: Median time of an image, preprocessing and network, after a warm-up.
        pixels: None without ground truth of pixels.
        scores: float64, (N,), in the order of the category's samples.
        roc: Of the images; None if all are of one class.
        pro: Up to the false-positive rate 0.3; None without ground truth of pixels.
    """

    recipe: Path
    reused: bool
    setting: Setting
    training_s: float
    seed: int
    figures: Figures
    median_ms: float
    pixels: PixelFigures | None
    scores: NDArray[np.float64]
    roc: Curve | None
    pro: Curve | None


@dataclass(frozen=True)
class Failure:
    """A detector that gave no figures on a category.

    Attributes:
        error: What was wrong.
        exit_code: Of the error, see `inspector.domain.errors`.
    """

    error: str
    exit_code: int


@dataclass(frozen=True)
class Category:
    """All detectors on one category.

    Attributes:
        name: Name of the category.
        root: Its folder.
        mvtec: It is one of MVTec AD's, so that printed figures may stand beside ours.
        train: Good parts to calibrate on; 0 if the folder can't be used.
        samples: Its test images.
        cells: Result or failure of each detector.
        gallery: Pictures, None if none were asked for.
    """

    name: str
    root: Path
    mvtec: bool = False
    train: int = 0
    samples: tuple[Sample, ...] = ()
    cells: dict[str, Result | Failure] = field(default_factory=dict)
    gallery: Gallery | None = None

    def result(self, detector: str) -> Result | None:
        """The detector's result, None if it failed."""
        cell = self.cells[detector]
        return cell if isinstance(cell, Result) else None


@dataclass(frozen=True)
class Comparison:
    """All detectors on all categories.

    Attributes:
        detectors: In the order of the command.
        categories: In the order of their names.
    """

    detectors: tuple[str, ...]
    categories: tuple[Category, ...]

    def results(self, detector: str) -> list[Result]:
        """Its results, failures left out."""
        return [result for category in self.categories if (result := category.result(detector)) is not None]

    def mean(self, detector: str, metric: str) -> tuple[float, int]:
        """Mean of a metric over the categories that have it, and their number; NaN without any."""
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")
        values = [getattr(result.figures, metric) for result in self.results(detector)]
        known = [value for value in values if not np.isnan(value)]
        return (float(np.mean(known)) if known else float("nan")), len(known)

    def failures(self) -> list[tuple[str, str, Failure]]:
        """Category, detector and failure of all cells without figures."""
        return [
            (category.name, detector, cell)
            for category in self.categories
            for detector, cell in category.cells.items()
            if isinstance(cell, Failure)
        ]

    @property
    def exit_code(self) -> int:
        """0, or that of the first failure."""
        failures = self.failures()
        return failures[0][2].exit_code if failures else 0


def chosen_categories(data: Path, names: Sequence[str] | None = None) -> tuple[Path, ...]:
    """The folders of the categories to compare on.

    Args:
        data: A category, or a folder of categories.
        names: Only these; None takes all.

    Raises:
        DataError: There is no such category.
    """
    if not data.is_dir():
        raise DataError(f"{data} is not a folder; give a category, or a folder of categories such as MVTec AD's")
    found = categories(data) or (data,)
    if names is None:
        return found
    by_name = {Path(os.path.abspath(folder)).name: folder for folder in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DataError(f"{data} has no category {', '.join(missing)}; it has {', '.join(by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(names))


def compare(
    folders: Sequence[Path],
    detectors: Sequence[str],
    plan_for: PlanFor,
    work: Path,
    reporting: Reporting,
    gallery: GalleryOptions | None = None,
) -> Comparison:
    """Trains and measures each detector on each category; one that fails is noted and the rest goes on.

    Args:
        folders: Of the categories.
        detectors: Their names.
        plan_for: Makes the plans.
        work: Folder that keeps the recipes: a later run of the same plan on the same images takes them from there.
        reporting: Gives a reporter for each detector on each category, so that times are told of that one.
        gallery: What pictures to make; None makes none.
    """
    share = None if gallery is None else gallery.shared_by(len(folders))
    done = []
    for number, folder in enumerate(folders, start=1):
        name = Path(os.path.abspath(folder)).name
        with reporting() as reporter:
            reporter.say(f"category {name} ({number} of {len(folders)})")
            try:
                dataset = open_dataset(folder)
                if not dataset.test:
                    raise DataError(f"{folder} has no test images; expected folders such as test/good and test/scratch")
            except FatalError as error:
                reporter.say(f"{name}: {error}")
                cells = dict.fromkeys(detectors, Failure(str(error), error.exit_code))
                done.append(Category(name, Path(folder), cells=dict(cells)))
                continue
        done.append(_compare_on(dataset, detectors, plan_for, work, reporting, share))
    return Comparison(tuple(detectors), tuple(done))


def _compare_on(
    dataset: Dataset,
    detectors: Sequence[str],
    plan_for: PlanFor,
    work: Path,
    reporting: Reporting,
    options: GalleryOptions | None,
) -> Category:
    cells: dict[str, Result | Failure] = {}
    shown: dict[str, tuple[Recipe, Evaluation]] = {}
    for detector in detectors:
        with reporting() as reporter:
            try:
                plan = plan_for(dataset.root, detector)
                recipe, reused = _recipe(plan, dataset, detector, work, reporter)
                evaluation = evaluate(recipe, dataset.root, reporter=reporter, device=plan.device, threads=plan.threads)
                cells[detector] = _result(recipe, evaluation, reused=reused)
            except (FatalError, torch.OutOfMemoryError) as error:
                told = str(error) if isinstance(error, FatalError) else f"the memory of the device is full ({error})"
                code = error.exit_code if isinstance(error, FatalError) else EngineError.exit_code
                reporter.say(f"{dataset.name}, {detector}: {told}")
                cells[detector] = Failure(told, code)
            else:
                # Nothing of the gallery needs the ranking, which is the largest part.
                shown[detector] = recipe, replace(evaluation, ranking=None)
    gallery = None
    if options is not None and shown:
        with reporting() as reporter:
            gallery = make_gallery(dataset, shown, options, reporter)
    mvtec = is_mvtec(dataset)
    return Category(dataset.name, dataset.root, mvtec, len(dataset.train), dataset.test, cells, gallery)


def _recipe(plan: Plan, dataset: Dataset, detector: str, work: Path, reporter: Reporter) -> tuple[Recipe, bool]:
    """The recipe of a plan, and whether it was there."""
    plan = replace(plan, name=_plain(f"{dataset.name}-{detector}")).resolved()
    folder = recipe_folder(work, plan, dataset)
    if folder.exists():
        reporter.say(f"{detector}: taking the recipe {folder}")
        return load_recipe(folder), True
    reporter.say(f"{detector}: training")
    return calibrate(replace(plan, recipe=folder), reporter), False


def recipe_folder(work: Path, plan: Plan, dataset: Dataset) -> Path:
    """Where the recipe of a resolved plan is kept: plans that could give other recipes have other folders.

    What counts is the plan, the weights, the version of the program, and the good images' names, sizes and times of
    change.

    Raises:
        DataError: The weights can't be had.
    """
    facts = {key: value for key, value in asdict(plan).items() if key not in _WITHOUT_EFFECT}
    stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (s.path for s in dataset.train)]
    weights = [load_backbone(name, plan.weights, plan.weights_dir).sha256 for name in plan.backbones]
    identity = json.dumps([inspector.__version__, facts, weights, stats], sort_keys=True, default=str)
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    return work / _plain(dataset.name) / f"{plan.detector}-{key}"


def _plain(name: str) -> str:
    """The name with what a recipe's name can't hold replaced, at most 64 characters."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip("_.-")[:64] or "category"


def _result(recipe: Recipe, evaluation: Evaluation, *, reused: bool) -> Result:
    network, figures = recipe.manifest.network, evaluation.figures
    labels = evaluation.labels
    both = labels.any() and not labels.all()
    roc = roc_curve(labels, evaluation.scores).thinned(_CURVE_POINTS) if both else None
    pixels = pro = None
    ranking = evaluation.ranking
    if ranking is not None and ranking.background:
        maps, masks = evaluation.measured()
        given = np.array([mask is not None for mask in evaluation.masks])
        pixels = PixelFigures(
            ranking.f1_max().value,
            aupimo(maps, masks, labels[given])[0],
            overlap_at(maps, masks, figures.threshold.value),
        )
        pro = ranking.pro().up_to(PRO_LIMIT).thinned(_CURVE_POINTS)
    setting = Setting(
        network.detector,
        network.source.name,
        network.target.name if network.target else None,
        tuple(network.levels),
        network.position,
        recipe.manifest.geometry.height_px,
    )
    record = recipe.manifest.calibration
    return Result(
        recipe=recipe.folder,
        reused=reused,
        setting=setting,
        training_s=float(record.get("seconds", float("nan"))),
        seed=int(record.get("seed", -1)),
        figures=figures,
        median_ms=evaluation.median_ms,
        pixels=pixels,
        scores=evaluation.scores,
        roc=roc,
        pro=pro,
    )
