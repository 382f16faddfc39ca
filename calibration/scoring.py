"""Scores as the line will give them: the same preprocessing, the same network, the same precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from inspector.domain.frame import Pixels
from inspector.engines.openvino_cpu import OpenVinoEngine, Precision
from inspector.models.detector import Detector, Inference
from inspector.models.folding import fold_batch_norms
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess

#: Scores, float64 (n,), of n frames.
Scorer = Callable[[Sequence[Pixels]], Tensor]


def make_scorer(
    network: Detector, preprocess: Preprocess, precision: Precision, *, device: torch.device, batch: int
) -> Scorer:
    """What scores frames in the precision of the recipe.

    Args:
        network: On `device`, fitted.
        preprocess: On `device`.
        precision: In bfloat16 the network runs on the CPU, compiled as the line runs it.
        device: Where float32 is computed.
        batch: Most frames that it will be given at once.

    Raises:
        EngineError: This CPU has no bfloat16.
    """
    if precision == "float32":
        return lambda frames: _score(network, preprocess, device, frames)
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
    return lambda frames: torch.tensor([scored.score for scored in engine.infer(frames)], dtype=torch.float64)


def _score(network: Detector, preprocess: Preprocess, device: torch.device, frames: Sequence[Pixels]) -> Tensor:
    with torch.inference_mode():
        images = torch.cat([preprocess(torch.from_numpy(frame).to(device)) for frame in frames])
        found: Inference = network(images)
        return found.scores.double().cpu()
