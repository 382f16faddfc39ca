"""Refines image files with a recipe: masks, recovered images, outlines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from calibration.datasets import open_dataset
from calibration.images import read_image
from calibration.refinement.fit import MOST_PARTS, fit_prior
from inspector.domain.errors import DataError, PartError
from inspector.domain.frame import Pixels
from inspector.domain.threshold import Threshold, decide
from inspector.models.refinement.frame_refiner import FrameRefiner, RefinedFrame, open_network, stored_prior
from inspector.models.refinement.optimise import Progress
from inspector.models.refinement.outlines import draw_outlines
from inspector.models.refinement.prior import Prior, prior_from_tensors
from inspector.recipe.geometry import check_frame
from inspector.recipe.store import Recipe


def refine_file(
    refiner: FrameRefiner,
    path: Path,
    output: Path,
    stem: str,
    progress: Progress = lambda iteration, loss: None,
) -> tuple[RefinedFrame, str]:
    """Refines a file and writes ``stem_mask.png``, ``_recovered.png``, ``_overlay.png`` and ``_outlines.json``.

    Args:
        refiner: With the recipe and its prior.
        path: The image.
        output: Folder of the results.
        stem: Of their names.
        progress: Told after each iteration how it goes.

    Returns:
        What was found, and the decision at the recipe's threshold, which the refinement does not change.

    Raises:
        DataError: The image can't be read, does not fit the recipe, or the results can't be written.
    """
    recipe = refiner.recipe
    pixels = read_frame(path, recipe)
    found = refiner.refine(pixels, progress)
    decision = decide(found.score, Threshold(**recipe.manifest.threshold.model_dump()))[0].value
    record = found.as_record(str(path), recipe, score=found.score, decision=decision)
    _write(output / f"{stem}_mask.png", _png(found.mask.astype(np.uint8) * 255))
    _write(output / f"{stem}_recovered.png", _png(found.recovered))
    _write(output / f"{stem}_overlay.png", _png(draw_outlines(pixels, found.outlines)))
    text = json.dumps(record, indent=2, allow_nan=False)
    _write(output / f"{stem}_outlines.json", (text + "\n").encode())
    return found, decision


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
        return stored_prior(recipe)
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
