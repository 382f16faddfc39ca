"""Refines frames with a recipe and what it knows of its good parts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from inspector.domain.errors import DataError, EngineError, RecipeError
from inspector.domain.frame import Mask, Pixels
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.models.refinement.frame import frame_mask, recovered_frame
from inspector.models.refinement.optimise import Progress, refine
from inspector.models.refinement.outlines import Outline, find_outlines
from inspector.models.refinement.prior import PREFIX, Prior, prior_from_tensors
from inspector.models.refinement.settings import Settings
from inspector.recipe.geometry import check_frame
from inspector.recipe.store import Recipe


@dataclass(frozen=True)
class RefinedFrame:
    """What was found in a frame, all of it in the frame's own pixels.

    Attributes:
        score: Of the detector in float32, before the refinement.
        mask: bool, (H, W): the defects.
        recovered: uint8, like the frame: the frame without them.
        outlines: Defects, the largest first.
        coarse_px: Area of the detector's own mask.
        iterations: Of the optimisation.
        seconds: Network, optimisation and outlines.
    """

    score: float
    mask: Mask
    recovered: Pixels
    outlines: tuple[Outline, ...]
    coarse_px: int
    iterations: int
    seconds: float

    @property
    def area_px(self) -> int:
        """Area of all defects."""
        return sum(outline.area_px for outline in self.outlines)

    def as_record(self, image: str, recipe: Recipe, *, score: float | None, decision: str) -> dict[str, Any]:
        """Everything but the pictures as a JSON-ready dict.

        Args:
            image: What the frame is called.
            recipe: It was refined with.
            score: That the decision was made by.
            decision: "pass" or "fail"; the refinement does not change it.
        """
        height_px, width_px = self.mask.shape
        return {
            "image": image,
            "frame_px": [width_px, height_px],
            "recipe": f"{recipe.manifest.name} v{recipe.manifest.version}",
            "recipe_hash": recipe.content_hash,
            "score": score,
            "threshold": recipe.manifest.threshold.value,
            "decision": decision,
            "area_px": self.area_px,
            "coarse_area_px": self.coarse_px,
            "defects": [outline.as_record() for outline in self.outlines],
            "iterations": self.iterations,
            "seconds": round(self.seconds, 3),
        }


class FrameRefiner:
    """A recipe's network with its prior, ready to refine frames.

    Args:
        recipe: Whose network is refined.
        prior: Learnt with the same recipe.
        settings: Weights and windows.
        device: "cpu" or "cuda".

    Raises:
        RecipeError: The recipe's tensors don't fit its manifest.
        EngineError: There is no such device.
        DataError: The recipe inspects in tiles.
    """

    def __init__(self, recipe: Recipe, prior: Prior, settings: Settings | None = None, device: str = "cpu") -> None:
        self.recipe = recipe
        self.prior = prior
        self.settings = settings or Settings()
        self.network, self.preprocess = open_network(recipe, device)
        self._device = device

    def refine(self, pixels: Pixels, progress: Progress = lambda iteration, loss: None) -> RefinedFrame:
        """Refines a frame.

        Args:
            pixels: uint8, (H, W) grey or (H, W, 3) RGB.
            progress: Told after each iteration how it goes.

        Raises:
            PartError: The frame does not fit the recipe.
        """
        manifest = self.recipe.manifest
        check_frame(pixels, manifest.geometry)
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
        seconds = time.perf_counter() - started
        return RefinedFrame(score, mask, clean, outlines, int(np.count_nonzero(coarse)), found.iterations, seconds)


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


def stored_prior(recipe: Recipe) -> Prior:
    """The prior that the calibration put into the recipe.

    Raises:
        RecipeError: It holds none, or none that can be read.
    """
    if recipe.manifest.prior is None:
        raise RecipeError(f"{recipe.folder} holds no prior of its good parts; calibrate again to refine with it")
    try:
        with safe_open(recipe.weights_path, framework="pt") as tensors:
            names = [name for name in tensors.keys() if name.startswith(PREFIX)]  # noqa: SIM118
            return prior_from_tensors({name: tensors.get_tensor(name) for name in names})
    except (OSError, SafetensorError, DataError) as error:
        raise RecipeError(f"{recipe.weights_path}: its prior can't be read: {error}; calibrate again") from error
