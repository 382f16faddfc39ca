"""Frames, and engines around small detectors, for the tests of the CUDA engine with and without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inspector.domain.frame import Frame, Mosaic, PixelFormat
from inspector.domain.precision import Precision
from inspector.engines.cuda import DTYPES, CudaEngine
from inspector.engines.eager import EagerEngine
from inspector.models.branches import set_branches
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.matrix_layers import use_matrix_layers
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.recipe.geometry import tiles
from inspector.recipe.manifest import Geometry, Normalisation, Region, Tiling

SHAPE = (70, 90)
WHOLE = Geometry(width_px=64, height_px=64)
PARTS = Geometry(
    width_px=96,
    height_px=64,
    tiling=Tiling(width_px=64, height_px=64, overlap_px=16),
    region_px=Region(left=4, top=2, width=80, height=60),
)


def frames(count: int, shape: tuple[int, ...] = SHAPE) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def mosaics(count: int) -> list[Mosaic]:
    """Raw frames of `SHAPE` in all Bayer formats by turns."""
    formats = [one for one in PixelFormat if one.red is not None]
    return [Mosaic(pixels, formats[number % len(formats)]) for number, pixels in enumerate(frames(count))]


def engine_of(
    network: Detector,
    device: Any,
    *,
    geometry: Geometry = WHOLE,
    precision: Precision = "float32",
    shape: tuple[int, ...] | None = SHAPE,
    max_batch: int = 4,
) -> CudaEngine:
    folded = fold_batch_norms(network)
    use_matrix_layers(folded)
    body, head = partition(folded, DTYPES[precision])
    set_branches(folded, device.in_branches)
    return CudaEngine(
        Preprocess(geometry, Normalisation()),
        body,
        head,
        device=device,
        input_px=geometry.network_px,
        tiles=len(tiles(geometry)),
        frame_shape=shape,
        precision=precision,
        max_batch=max_batch,
    )


def scores_of(engine: Any, given: Sequence[Frame]) -> list[float]:
    return [scored.score for scored in engine.infer(given)]


def plain_scores(network: Detector, given: Sequence[Frame], geometry: Geometry = WHOLE) -> list[float]:
    plain = EagerEngine(Preprocess(geometry, Normalisation()), network)
    return [plain.infer([frame])[0].score for frame in given]
