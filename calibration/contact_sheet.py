"""A picture for people: frames beside their anomaly maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from calibration.images import read_image
from inspector.domain.errors import DataError
from inspector.domain.frame import Pixels
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.recipe.store import Recipe

_TILE_PX = 224
_GAP_PX = 8
_CAPTION_PX = 24
_PAIRS_IN_ROW = 3
_PAPER = 245
_INK = (40, 40, 40)


def write_sheet(recipe: Recipe, images: Sequence[Path], sheet: Path) -> None:
    """Writes a PNG with each image beside its anomaly map, in the given order.

    The map's colours run from 0 to twice the threshold, so that what is above it is warm in every picture.

    Args:
        recipe: Scores the images.
        images: Files that fit the recipe.
        sheet: The PNG to write.

    Raises:
        DataError: An image can't be read, or the sheet can't be written.
    """
    network = load_network(recipe)
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation)
    threshold = recipe.manifest.threshold.value
    tiles = []
    for path in images:
        pixels = read_image(path)
        with torch.inference_mode():
            result = network(preprocess(torch.from_numpy(pixels)))
        caption = f"{path.parent.name}/{path.stem}  {float(result.scores[0]) / threshold:.2f} x threshold"
        tiles.append(_pair(pixels, result.anomaly_maps[0, 0].numpy(), threshold, caption))
    ok, data = cv2.imencode(".png", cv2.cvtColor(_arranged(tiles), cv2.COLOR_RGB2BGR))
    try:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.write_bytes(data.tobytes() if ok else b"")
    except OSError as error:
        raise DataError(f"{sheet}: can't be written: {error.strerror}") from error


def heat_overlay(image: Pixels, anomaly_map: NDArray[np.float32], low: float, high: float) -> Pixels:
    """An anomaly map in colours over its image.

    Args:
        image: uint8 RGB, (H, W, 3).
        anomaly_map: (h, w), of any size; it is stretched over the image.
        low: Value of the coldest colour.
        high: Value of the warmest colour.

    Returns:
        uint8 RGB, (H, W, 3).
    """
    heat = np.clip((anomaly_map - low) / max(high - low, 1e-12), 0, 1)
    coloured = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    overlay = cv2.resize(np.ascontiguousarray(coloured), (image.shape[1], image.shape[0]))
    return np.asarray(cv2.addWeighted(image, 0.35, overlay, 0.65, 0), np.uint8)


def three_channels(pixels: Pixels) -> Pixels:
    """Grey pixels as RGB, RGB as it is."""
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8) if pixels.ndim == 2 else pixels


def _pair(pixels: Pixels, anomaly_map: NDArray[np.float32], threshold: float, caption: str) -> Pixels:
    image = three_channels(pixels)
    tile = np.full((_TILE_PX + _CAPTION_PX, 2 * _TILE_PX + _GAP_PX // 2, 3), _PAPER, np.uint8)
    tile[:_TILE_PX, :_TILE_PX] = _fitted(image)
    tile[:_TILE_PX, -_TILE_PX:] = _fitted(heat_overlay(image, anomaly_map, 0.0, 2 * threshold))
    cv2.putText(tile, caption, (2, _TILE_PX + 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
    return tile


def _fitted(image: Pixels) -> Pixels:
    """The image in a square of the tile's size, its aspect kept."""
    height, width = image.shape[:2]
    scale = _TILE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.full((_TILE_PX, _TILE_PX, 3), _PAPER, np.uint8)
    top, left = (_TILE_PX - size[1]) // 2, (_TILE_PX - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def _arranged(tiles: Sequence[Pixels]) -> Pixels:
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // _PAIRS_IN_ROW)
    columns = min(len(tiles), _PAIRS_IN_ROW)
    shape = rows * (height + _GAP_PX) + _GAP_PX, columns * (width + _GAP_PX) + _GAP_PX, 3
    sheet = np.full(shape, _PAPER, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, _PAIRS_IN_ROW)
        top, left = _GAP_PX + row * (height + _GAP_PX), _GAP_PX + column * (width + _GAP_PX)
        sheet[top : top + height, left : left + width] = tile
    return sheet
