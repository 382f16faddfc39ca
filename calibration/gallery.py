"""Pictures of test images for people: image, ground truth, anomaly map of each detector, misjudged parts first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from calibration.contact_sheet import heat_overlay, three_channels
from calibration.datasets import Dataset
from calibration.evaluate import Evaluation
from calibration.images import Label, Sample, read_image
from calibration.refinement.files import recipe_prior
from calibration.train import Reporter
from inspector.domain.errors import FatalError
from inspector.domain.frame import Mask, Pixels
from inspector.models.refinement.frame_refiner import open_network
from inspector.models.refinement.optimise import refine
from inspector.models.refinement.prior import Prior
from inspector.recipe.manifest import Geometry
from inspector.recipe.store import Recipe

#: Colours (RGB) of the ground truth and of the refined mask.
TRUTH_COLOUR = (230, 0, 126)
REFINED_COLOUR = (255, 214, 0)
_FILLED = 0.35
_JPEG_QUALITY = 80
#: Share of the rows that misjudged parts may take; the others show that and how the rest is judged.
_MISJUDGED_SHARE = 0.7


@dataclass(frozen=True)
class GalleryOptions:
    """How much is shown.

    Attributes:
        rows: Most images of a category.
        refine: So many of the defective ones are refined by each detector (seconds to minutes each).
        side_px: Longer side of a picture.
        budget_bytes: Bound on all pictures together; rows that don't fit are left out.
        device: Where a refinement runs, "cpu" or "cuda".
    """

    rows: int = 16
    refine: int = 0
    side_px: int = 168
    budget_bytes: int = 8_000_000
    device: str = "cpu"

    def shared_by(self, categories: int) -> GalleryOptions:
        """The options of each of so many categories, which share the budget."""
        return replace(self, budget_bytes=self.budget_bytes // max(1, categories))


@dataclass(frozen=True)
class Picture:
    """A JPEG file.

    Attributes:
        data: Its bytes.
        width_px: Width.
        height_px: Height.
    """

    data: bytes
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Judged:
    """What a detector makes of an image.

    Attributes:
        score: Its score.
        threshold: The recipe's.
        rejected: The score is not proven to be at most the threshold.
        overlay: The anomaly map over the image.
        refined: The refined mask over the image, where it was refined.
    """

    score: float
    threshold: float
    rejected: bool
    overlay: Picture
    refined: Picture | None = None


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        name: Its class and file name.
        bad: It is defective.
        image: The image.
        truth: The image with the defect marked; None for a good image and without ground truth.
        judged: What each detector makes of it.
    """

    name: str
    bad: bool
    image: Picture
    truth: Picture | None
    judged: dict[str, Judged]

    @property
    def misjudged(self) -> tuple[str, ...]:
        """Detectors that are wrong about it."""
        return tuple(name for name, judged in self.judged.items() if judged.rejected != self.bad)

    @property
    def size_bytes(self) -> int:
        """Bytes of its pictures."""
        pictures = [self.image, self.truth]
        for judged in self.judged.values():
            pictures += [judged.overlay, judged.refined]
        return sum(len(picture.data) for picture in pictures if picture is not None)


@dataclass(frozen=True)
class Gallery:
    """Pictures of a category.

    Attributes:
        rows: Misjudged images first.
        images: All test images.
        misjudged: Those that at least one detector is wrong about, shown or not.
    """

    rows: tuple[Row, ...]
    images: int
    misjudged: int


def make_gallery(
    dataset: Dataset, shown: Mapping[str, tuple[Recipe, Evaluation]], options: GalleryOptions, reporter: Reporter
) -> Gallery:
    """Chooses images and makes their pictures.

    Args:
        dataset: The category.
        shown: Recipe and evaluation of each detector; at least one.
        options: How much.
        reporter: Told of refinements.

    Raises:
        DataError: An image can't be read any more.
    """
    ratios = np.stack([_ratios(evaluation) for _, evaluation in shown.values()])
    bad = np.array([sample.label is Label.BAD for sample in dataset.test])
    wrong = (np.stack([_rejected(evaluation) for _, evaluation in shown.values()]) != bad).sum(axis=0)
    order = choose(dataset.test, wrong, ratios, options.rows)
    scales = {name: _scale(evaluation) for name, (_, evaluation) in shown.items()}
    refiners = _refiners(shown, options, reporter)
    rows: list[Row] = []
    size, refined = 0, 0
    for index in order:
        refining = refiners if bad[index] and refined < options.refine else {}
        row = _row(dataset.test[index], index, shown, scales, refining, options)
        size += row.size_bytes
        if size > options.budget_bytes:
            break
        refined += any(judged.refined is not None for judged in row.judged.values())
        rows.append(row)
    return Gallery(tuple(rows), len(dataset.test), int((wrong > 0).sum()))


def choose(samples: Sequence[Sample], wrong: NDArray[np.int64], ratios: NDArray[np.float64], rows: int) -> list[int]:
    """Indices of the images to show.

    First those that most detectors are wrong about, the clearest errors first; then the others, by turns of each
    class that image whose scores are the highest.

    Args:
        samples: All test images, (N,).
        wrong: How many detectors are wrong about each, (N,).
        ratios: Score of each in units of the threshold by each detector, (D, N); 1 is the threshold.
        rows: Most indices.
    """
    severity = np.abs(ratios - 1.0).max(axis=0)
    misjudged = sorted(
        (index for index in range(len(samples)) if wrong[index]),
        key=lambda index: (-wrong[index], -severity[index], index),
    )
    right = [index for index in range(len(samples)) if not wrong[index]]
    turns: dict[str, int] = {}
    by_turn = []
    for index in sorted(right, key=lambda index: -float(ratios[:, index].mean())):
        name = samples[index].defect_class
        by_turn.append((turns.get(name, 0), name, index))
        turns[name] = turns.get(name, 0) + 1
    rest = [index for _, _, index in sorted(by_turn)]
    first = max(round(rows * _MISJUDGED_SHARE), rows - len(rest))
    return [*misjudged[:first], *rest][:rows]


def _ratios(evaluation: Evaluation) -> NDArray[np.float64]:
    threshold = evaluation.figures.threshold.value
    return np.asarray(evaluation.scores / threshold if threshold > 0 else 1.0 + evaluation.scores - threshold)


def _rejected(evaluation: Evaluation) -> NDArray[np.bool_]:
    return np.asarray(~(evaluation.scores <= evaluation.figures.threshold.value))


def _scale(evaluation: Evaluation) -> tuple[float, float]:
    """Values of the two ends of the colours: what a good pixel usually has, and as far beyond the threshold."""
    good = [image for image, label in zip(evaluation.maps, evaluation.labels, strict=True) if not label]
    threshold = evaluation.figures.threshold.value
    usual = float(np.median([np.median(image) for image in good or evaluation.maps]))
    return (usual, 2 * threshold - usual) if usual < threshold else (0.0, max(2 * threshold, 1e-12))


class _Refiner:
    """A detector that can be refined, with its prior."""

    def __init__(self, recipe: Recipe, prior: Prior, device: str) -> None:
        self._recipe = recipe
        self._prior = prior
        self._device = device
        self._network, self._preprocess = open_network(recipe, device)

    def mask(self, pixels: Pixels) -> Mask:
        """The refined mask at the size of the network's input."""
        image = self._preprocess(torch.from_numpy(pixels).to(self._device))
        normalisation = self._recipe.manifest.normalisation
        return refine(self._network, image, self._prior, grey=pixels.ndim == 2, normalisation=normalisation).mask


def _refiners(
    shown: Mapping[str, tuple[Recipe, Evaluation]], options: GalleryOptions, reporter: Reporter
) -> dict[str, _Refiner]:
    refiners = {}
    for name, (recipe, _) in shown.items() if options.refine else ():
        try:
            prior = recipe_prior(recipe, device=options.device, say=reporter.say)
            refiners[name] = _Refiner(recipe, prior, options.device)
        except FatalError as error:
            reporter.say(f"{name}: no refinement ({error})")
    return refiners


def _row(
    sample: Sample,
    index: int,
    shown: Mapping[str, tuple[Recipe, Evaluation]],
    scales: Mapping[str, tuple[float, float]],
    refiners: Mapping[str, _Refiner],
    options: GalleryOptions,
) -> Row:
    pixels = read_image(sample.path)
    judged: dict[str, Judged] = {}
    tile = three_channels(pixels)
    truth = None
    for name, (recipe, evaluation) in shown.items():
        tile = _tile(pixels, recipe.manifest.geometry, options.side_px)
        mask = evaluation.masks[index]
        if sample.label is Label.BAD and mask is not None:
            truth = _jpeg(_marked(tile, mask, TRUTH_COLOUR))
        rejected = bool(_rejected(evaluation)[index])
        refined = _marked(tile, refiners[name].mask(pixels), REFINED_COLOUR) if name in refiners else None
        judged[name] = Judged(
            float(evaluation.scores[index]),
            evaluation.figures.threshold.value,
            rejected,
            _jpeg(heat_overlay(tile, evaluation.maps[index], *scales[name])),
            None if refined is None else _jpeg(refined),
        )
    name = f"{sample.defect_class}/{sample.path.name}"
    return Row(name, sample.label is Label.BAD, _jpeg(tile), truth, judged)


def _tile(pixels: Pixels, geometry: Geometry, side_px: int) -> Pixels:
    """The region of interest, RGB, its longer side of `side_px`."""
    region = geometry.region_px
    if region is not None:
        pixels = pixels[region.top : region.top + region.height, region.left : region.left + region.width]
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return three_channels(np.asarray(small, np.uint8))


def _marked(tile: Pixels, mask: Mask, colour: tuple[int, int, int]) -> Pixels:
    """The picture with a mask filled thinly and outlined."""
    size = tile.shape[1], tile.shape[0]
    inside = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
    filled = tile.astype(np.float64)
    filled[inside > 0] += _FILLED * (np.array(colour) - filled[inside > 0])
    marked = np.ascontiguousarray(filled.round().astype(np.uint8))
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(marked, contours, -1, colour, 1)
    return marked


def _jpeg(pixels: Pixels) -> Picture:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return Picture(bytes(data), pixels.shape[1], pixels.shape[0])
