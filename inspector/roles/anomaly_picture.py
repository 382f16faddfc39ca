"""The anomaly map of a frame, drawn over it: for people who look at rejects."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from inspector.domain.frame import Pixels
from inspector.models.folding import fold_batch_norms
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.geometry import check_frame
from inspector.recipe.store import Recipe
from inspector.roles.archive_writer import DrawMap

#: Width of the drawn picture at most; a map says no more than that.
_WIDEST_PX = 1024


def map_drawer(recipe: Recipe) -> DrawMap:
    """Draws maps with the recipe's network in float32 on one thread of the CPU.

    Returns:
        A function from a frame to a picture, uint8 RGB, of the inspected region: the frame under the map's colours,
        from 0 (blue) to twice the threshold (red). It raises PartError for a frame that doesn't fit the recipe.

    Raises:
        RecipeError: The recipe's network can't be loaded.
    """
    torch.set_num_threads(1)
    geometry = recipe.manifest.geometry
    preprocess = Preprocess(geometry, recipe.manifest.normalisation)
    network = fold_batch_norms(load_network(recipe))
    hottest = max(2 * recipe.manifest.threshold.value, 1e-12)

    def draw(pixels: Pixels) -> Pixels:
        check_frame(pixels, geometry)
        with torch.inference_mode():
            anomaly_map = network(preprocess(torch.from_numpy(pixels))).anomaly_maps[0, 0].numpy()
        region = geometry.region_px
        if region is not None:
            pixels = pixels[region.top : region.top + region.height, region.left : region.left + region.width]
        image = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
        height_px, width_px = image.shape[:2]
        scale = min(1.0, _WIDEST_PX / width_px)
        size = max(1, round(width_px * scale)), max(1, round(height_px * scale))
        heat = (np.clip(anomaly_map / hottest, 0, 1) * 255).astype(np.uint8)
        coloured = cv2.resize(cv2.applyColorMap(heat, cv2.COLORMAP_TURBO)[..., ::-1], size)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.addWeighted(image, 0.5, coloured, 0.5, 0), np.uint8)

    return draw
