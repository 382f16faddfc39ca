"""Refines image files with a recipe: masks, recovered images, outlines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from calibration.datasets import open_dataset
from calibration.images import read_image
from calibration.refinement.frame import frame_mask, recovered_frame
from calibration.refinement.optimise import Progress, refine
from calibration.refinement.outlines import Outline, draw_outlines, find_outlines
from calibration.refinement.prior import MOST_PARTS, PREFIX, Prior, fit_prior, prior_from_tensors
from calibration.refinement.settings import Settings
from inspector.domain.errors import DataError, EngineError, PartError
from inspector.domain.frame import Pixels
from inspector.domain.threshold import Threshold, decide
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.geometry import check_frame
from inspector.recipe.store import Recipe


@dataclass(frozen=True)
class Refined:
    """What was found in a file.

    Attributes:
        image: The file.
        score: Of the detector, before the refinement.
        decision: "pass" or "fail" at the recipe's threshold; the refinement does not change it.
        outlines: Defects in the frame's coordinates, the largest first.
        coarse_px: Area of the detector's own mask in the frame.
        iterations: Of the optimisation.
        seconds: Network, optimisation and outlines.
    """

    image: Path
    score: float
    decision: str
    outlines: tuple[Outline, ...]
    coarse_px: int
    iterations: int
    seconds: float

    @property
    def area_px(self) -> int:
        """Area of all defects."""
        return sum(outline.area_px for outline in self.outlines)

    def as_record(self, recipe: Recipe, frame_px: tuple[int, int]) -> dict[str, Any]:
        """Everything as a JSON-ready dict."""
        return {
            "image": str(self.image),
            "frame_px": list(frame_px),
            "recipe": f"{recipe.manifest.name} v{recipe.manifest.version}",
            "recipe_hash": recipe.content_hash,
            "score": self.score,
            "threshold": recipe.manifest.threshold.value,
            "decision": self.decision,
            "area_px": self.area_px,
            "coarse_area_px": self.coarse_px,
            "defects": [outline.as_record() for outline in self.outlines],
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
        }


class Refiner:
    """A recipe's network with its prior, ready to refine frames.

    Args:
        recipe: Whose network is refined.
        prior: Learnt with the same recipe.
        settings: Weights and windows.
        device: "cpu" or "cuda".

    Raises:
        RecipeError: The recipe's tensors don't fit its manifest.
        EngineError: There is no such device.
    """

    def __init__(self, recipe: Recipe, prior: Prior, settings: Settings | None = None, device: str = "cpu") -> None:
        self.recipe = recipe
        self.prior = prior
        self.settings = settings or Settings()
        self.network, self.preprocess = open_network(recipe, device)
        self._device = device

    def refine(self, path: Path, output: Path, stem: str, progress: Progress = lambda iteration, loss: None) -> Refined:
        """Refines a file and writes ``stem_mask.png``, ``_recovered.png``, ``_overlay.png`` and ``_outlines.json``.

        Raises:
            DataError: The image can't be read, does not fit the recipe, or the results can't be written.
        """
        manifest = self.recipe.manifest
        pixels = read_frame(path, self.recipe)
        started = time.perf_counter()
        image = self.preprocess(torch.from_numpy(pixels).to(self._device))
        with torch.no_grad():
            score = float(self.network(image).scores[0])
        found = refine(
            self.network,
            image,
            self.prior,
            grey=pixels.ndim == 2,
            settings=self.settings,
            normalisation=manifest.normalisation,
            progress=progress,
        )
        frame_px = pixels.shape[1], pixels.shape[0]
        mask, coarse = (frame_mask(part, frame_px, manifest.geometry) for part in (found.mask, found.coarse))
        clean = recovered_frame(pixels, found, image[0].cpu().numpy(), manifest.geometry, manifest.normalisation)
        outlines = find_outlines(mask)
        decision, _ = decide(score, Threshold(**manifest.threshold.model_dump()))
        seconds = time.perf_counter() - started
        refined = Refined(path, score, decision.value, outlines, int(coarse.sum()), found.iterations, seconds)
        _write(output / f"{stem}_mask.png", _png(mask.astype(np.uint8) * 255))
        _write(output / f"{stem}_recovered.png", _png(clean))
        _write(output / f"{stem}_overlay.png", _png(draw_outlines(pixels, outlines)))
        record = json.dumps(refined.as_record(self.recipe, frame_px), indent=2, allow_nan=False)
        _write(output / f"{stem}_outlines.json", (record + "\n").encode())
        return refined


def open_network(recipe: Recipe, device: str) -> tuple[Detector, Preprocess]:
    """The recipe's detector and preprocessing on a device.

    Batch normalisations are folded into the convolutions and memory lies channels last: the optimisation asks for
    hundreds of gradients, and takes a third less time for each of them so.

    Raises:
        RecipeError: The recipe's tensors don't fit its manifest.
        EngineError: There is no such device.
        DataError: The recipe inspects in tiles.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("PyTorch finds no CUDA device; take --device cpu")
    if recipe.manifest.geometry.tiling is not None:
        raise DataError(f"{recipe.folder} inspects in tiles, which can't be refined yet; calibrate one without --tile")
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation).to(device)
    network = fold_batch_norms(load_network(recipe))
    return network.to(device).to(memory_format=torch.channels_last), preprocess


def read_frame(path: Path, recipe: Recipe) -> Pixels:
    """The pixels of a file, if they fit the recipe.

    Raises:
        DataError: They can't be read or don't fit.
    """
    pixels = read_image(path)
    try:
        check_frame(pixels, recipe.manifest.geometry)
    except PartError as error:
        raise DataError(f"{path}: {error}") from error
    return pixels


def recipe_prior(
    recipe: Recipe,
    *,
    good: Path | None = None,
    file: Path | None = None,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Prior:
    """The prior of a recipe: from a file, from the recipe itself, or learnt from good images.

    Args:
        recipe: The recipe.
        good: Good images to learn from; without them those that the calibration's record names.
        file: A file of `Prior.tensors`: read if it exists, else written.
        device: Where the network runs.
        say: Told what is done.

    Raises:
        DataError: No good images, or a file that can't be used.
        EngineError: There is no such device.
    """
    if file is not None and file.exists():
        return _read_prior(file, recipe)
    if recipe.manifest.prior is not None and good is None:
        with safe_open(recipe.weights_path, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(PREFIX)]  # noqa: SIM118
            return prior_from_tensors({name: tensors.get_tensor(name) for name in names})
    recorded = str(recipe.manifest.calibration.get("data", ""))
    if good is None and not (recorded and Path(recorded).is_dir()):
        raise DataError(
            f"{recipe.folder} holds nothing of its good parts that a refinement could use, and its images "
            f"({recorded or 'not recorded'}) are not there; name good images with --good"
        )
    data = good or Path(recorded)
    paths = [sample.path for sample in open_dataset(data, minimum_good=1).train]
    chosen = [paths[index] for index in np.linspace(0, len(paths) - 1, min(len(paths), MOST_PARTS)).astype(int)]
    say(f"learning scores and colours of good parts from {len(chosen)} images of {data}")
    network, preprocess = open_network(recipe, device)
    frames = (preprocess(torch.from_numpy(read_frame(path, recipe)).to(device)) for path in chosen)
    grey = recipe.manifest.geometry.channels == 1
    prior = fit_prior(network, frames, grey=grey, normalisation=recipe.manifest.normalisation)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(prior.tensors(), file, metadata={"recipe_hash": recipe.content_hash})
        except (OSError, SafetensorError) as error:
            raise DataError(f"{file} can't be written: {error}; choose another file with --prior") from error
    return prior


def output_stems(images: Sequence[Path]) -> list[str]:
    """Stems of the files to write: those of the images, with the folder's name before them where two are equal.

    Raises:
        DataError: Two images would write the same files.

    >>> output_stems([Path("a/1.png"), Path("b/1.png"), Path("c/2.png")])
    ['a-1', 'b-1', 'c-2']
    """
    stems = [path.stem for path in images]
    if len(set(stems)) < len(stems):
        stems = [f"{path.absolute().parent.name}-{path.stem}" for path in images]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise DataError(f"two of the images would both be written as {twice}; refine them in separate calls")
    return stems


def _read_prior(file: Path, recipe: Recipe) -> Prior:
    try:
        with safe_open(file, framework="pt") as tensors:
            metadata = tensors.metadata() or {}
        loaded = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file} can't be read as a refinement's prior: {error}") from error
    if metadata.get("recipe_hash") != recipe.content_hash:
        raise DataError(f"{file} was learnt with another recipe than {recipe.folder}; remove it or name another file")
    return prior_from_tensors(loaded)


def _png(pixels: Pixels) -> bytes:
    bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".png", bgr)[1].tobytes())


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"{path} can't be written: {error.strerror}; choose another folder with --output") from error
