"""Scores as the line will give them: the same preprocessing, the same network, the same precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspector.domain.frame import Pixels
from inspector.domain.precision import Precision
from inspector.engines.base import Engine
from inspector.engines.openvino_cpu import OpenVinoEngine
from inspector.models.detector import Detector, Inference
from inspector.models.folding import fold_batch_norms
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.roles.cuda_engine import build_cuda_engine

#: Scores, float64 (n,), of n frames.
Scorer = Callable[[Sequence[Pixels]], Tensor]


def make_scorer(
    network: Detector, preprocess: Preprocess, precision: Precision, *, device: torch.device, batch: int
) -> Scorer:
    """What scores frames in the precision of the recipe.

    Args:
        network: On `device`, fitted.
        preprocess: On `device`.
        precision: In float32 the network runs as it is; else on the engine that the line runs it on.
        device: Where it is computed. float16 needs a GPU.
        batch: Most frames that it will be given at once.

    Raises:
        EngineError: This CPU has no bfloat16, or the GPU can't run the network.
    """
    if precision == "float32":
        return lambda frames: _score(network, preprocess, device, frames)
    engine: Engine
    if device.type == "cuda":
        engine = build_cuda_engine(preprocess, network, precision, max_batch=batch)
        return lambda frames: _scores_of(engine, frames)
    assert precision == "bfloat16"  # the plan's own rule
    body, head = partition(fold_batch_norms(network).to("cpu"))
    engine = OpenVinoEngine(
        copy.deepcopy(preprocess).to("cpu"),
        body,
        head,
        input_px=preprocess.geometry.network_px,
        tiles=len(preprocess.places),
        precision=precision,
        threads=torch.get_num_threads(),
        max_batch=batch,
    )
    return lambda frames: _scores_of(engine, frames)


def _scores_of(engine: Engine, frames: Sequence[Pixels]) -> Tensor:
    return torch.tensor([scored.score for scored in engine.infer(frames)], dtype=torch.float64)


def _score(network: Detector, preprocess: Preprocess, device: torch.device, frames: Sequence[Pixels]) -> Tensor:
    # TensorFloat-32 has ten bits: not what the line's CUDA engine means by float32.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        images = torch.cat([preprocess(torch.from_numpy(frame).to(device)) for frame in frames])
        found: Inference = network(images)
        return found.scores.double().cpu()
