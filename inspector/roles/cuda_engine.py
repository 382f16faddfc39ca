"""A detector on the CUDA engine: for the line, and for the scores that a calibration sets a threshold with."""

from __future__ import annotations

from inspector.domain.precision import Precision
from inspector.engines.cuda import DTYPES, CudaEngine
from inspector.engines.cuda_device import CudaDevice
from inspector.models.branches import set_branches
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.matrix_layers import use_matrix_layers
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.models.sharing import SharedTensors
from inspector.recipe.geometry import tiles
from inspector.recipe.manifest import Geometry


def build_cuda_engine(
    preprocess: Preprocess,
    network: Detector,
    precision: Precision,
    *,
    max_batch: int,
    convolutions: bool = False,
    shared: SharedTensors | None = None,
) -> CudaEngine:
    """The engine, captured, not warmed up.

    Args:
        preprocess: Moves to the device.
        network: In float32; it stays as it is.
        precision: Arithmetic of the body.
        max_batch: Largest batch.
        convolutions: Leave 1x1 convolutions as they are; to be measured against.
        shared: Weights of the process's other engines.

    Raises:
        EngineError: There is no CUDA device, or the network can't be captured on it.
    """
    device = CudaDevice()
    folded = fold_batch_norms(network)
    if not convolutions:
        use_matrix_layers(folded)
    body, head = partition(folded, DTYPES[precision])
    if shared is not None:
        shared.share(folded)
    set_branches(folded, device.in_branches)
    geometry = preprocess.geometry
    return CudaEngine(
        preprocess,
        body,
        head,
        device=device,
        input_px=geometry.network_px,
        tiles=len(tiles(geometry)),
        frame_shape=frame_shape(geometry),
        precision=precision,
        max_batch=max_batch,
    )


def frame_shape(geometry: Geometry) -> tuple[int, ...] | None:
    """Shape of the arrays of all frames; None where the calibration's frames differed.

    >>> frame_shape(Geometry(width_px=256, height_px=256, frame_px=(640, 480), channels=3))
    (480, 640, 3)
    """
    if geometry.frame_px is None or geometry.channels is None:
        return None
    width, height = geometry.frame_px
    return (height, width) if geometry.channels == 1 else (height, width, geometry.channels)
