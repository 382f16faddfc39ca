"""The engines alone, side by side in one run; a program of its own, so that only it loads torch."""

from __future__ import annotations

import contextlib
import copy
import json
import platform
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

import inspector
from inspector.benchmark.contender import Contender
from inspector.benchmark.machine import processor_name
from inspector.benchmark.plain import PlainMapping
from inspector.benchmark.samples import Latency, paired_ratio
from inspector.benchmark.trial import PAIRS, PairName, network_record, trial_network
from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.domain.precision import Precision
from inspector.engines.base import Engine, PipelinedEngine
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.engines.eager import EagerEngine
from inspector.engines.openvino_cpu import OpenVinoEngine
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.network import InspectionNetwork
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation
from inspector.roles.cuda_engine import build_cuda_engine

#: Largest relative difference of a score from the plain implementation's, by precision, on the CPU and on a GPU, whose
#: fastest convolutions round more.
TOLERANCES: dict[str, dict[Precision, float]] = {
    "cpu": {"float32": 1e-4, "bfloat16": 2e-2},
    "cuda": {"float32": 1e-3, "bfloat16": 2e-2, "float16": 5e-3},
}
_FRAMES = 16
_PLAIN = "plain PyTorch"
#: The CUDA engine without matrix products in the place of 1x1 convolutions.
_CONVOLUTIONS = "cuda float16, convolutions"


@dataclass(frozen=True)
class Orders:
    """What to measure.

    Attributes:
        pair: Name in `PAIRS`.
        size_px: Side of the network's input.
        frame_px: Side of the camera's frames, grey.
        threads: Threads of the CPU.
        device: "cpu" or "cuda".
        batches: Batch sizes.
        rounds: Rounds; each measures every contender once.
        round_s: Least time for a contender in each round.
        detectors: Other detectors, for comparison.
    """

    pair: PairName = "bundled"
    size_px: int = 256
    frame_px: int = 512
    threads: int = 2
    device: Literal["cpu", "cuda"] = "cpu"
    batches: tuple[int, ...] = (1, 4)
    rounds: int = 5
    round_s: float = 1.0
    detectors: tuple[Literal["pfm", "padim", "patchcore", "cflow-ad"], ...] = ()


def measure_engines(orders: Orders, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Runs every contender and returns the record for JSON.

    Args:
        orders: What to measure.
        say: Told what is being done.

    Raises:
        EngineError: An engine is not to be had here, or gives other scores than the plain implementation.
    """
    torch.set_num_threads(orders.threads)
    pool = np.random.default_rng(0).integers(0, 256, (_FRAMES, orders.frame_px, orders.frame_px), np.uint8)
    frames = list(pool)
    torch.backends.cudnn.allow_tf32 = False  # for the check; each is measured in its own arithmetic
    contenders = _contenders(orders, say)
    for contender in contenders:
        if contender.engine is not None:
            memory = pool.copy()
            contender.engine.register(memory)  # as the line's frame ring
            contender.frames = list(memory)
    say("checking that the scores agree")
    expected = contenders[0].score(frames)
    differences = {}
    for contender in contenders:
        if contender.compared:
            tolerance = TOLERANCES[orders.device][contender.precision]
            differences[contender.name] = _difference(contender, frames, expected, tolerance)
        contender.measure(frames, 0.0)  # warm-up
        contender.forget()
    for number in range(orders.rounds):
        say(f"round {number + 1} of {orders.rounds}")
        for contender in contenders:
            contender.measure(frames, orders.round_s)
    plain = contenders[0].per_frame_ms[1]
    return {
        "orders": vars(orders),
        "machine": machine(),
        "contenders": [
            {
                "name": contender.name,
                "precision": contender.precision,
                "largest_score_difference": differences.get(contender.name),
                "latency": Latency.of(contender.calls_ms).as_record(),
                "latency_on_device": Latency.of(contender.device_ms).as_record() if contender.device_ms else None,
                "frames_per_second": {
                    str(batch): round(1e3 / float(np.median(times)), 2)
                    for batch, times in contender.per_frame_ms.items()
                },
                "times_plain": {
                    str(batch): round(paired_ratio(times, plain), 3) for batch, times in contender.per_frame_ms.items()
                },
                "cpu_ms_per_frame": round(float(np.median(contender.cpu_ms)), 3),
            }
            for contender in contenders
        ],
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_device_memory_bytes": torch.cuda.max_memory_allocated() if orders.device == "cuda" else None,
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import openvino

    return {
        "cpu": processor_name(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda_version": torch.version.cuda,
        "bfloat16": cpu_has_bfloat16(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "openvino": openvino.get_version(),
        "inspector": inspector.__version__,
    }


def _contenders(orders: Orders, say: Callable[[str], None]) -> list[Contender]:
    """The plain implementation first, then the engines, then the other detectors."""
    pair = PAIRS[orders.pair]
    input_px = (orders.size_px, orders.size_px)
    if orders.device == "cuda" and not torch.cuda.is_available():
        raise EngineError("PyTorch finds no CUDA device; take --device cpu")
    side = orders.frame_px
    geometry = Geometry(width_px=orders.size_px, height_px=orders.size_px, frame_px=(side, side), channels=1)
    preprocess = Preprocess(geometry, Normalisation())
    network = trial_network(network_record(pair, "mb-pfm"), input_px)
    assert isinstance(network, InspectionNetwork)
    plain = PlainMapping(preprocess, copy.deepcopy(network), orders.device)
    contenders = [Contender(_PLAIN, "float32", plain.scores, (1,), arithmetic=_as_pytorch_is)]
    for name, precision in _engines(orders.device):
        say(f"building {name}")
        contenders.append(_contender(name, name, precision, preprocess, network, orders))
    for detector in orders.detectors:
        say(f"building {detector}")
        other = trial_network(network_record(pair, detector), input_px)
        name, precision = _engines(orders.device)[0]
        contenders.append(_contender(f"{detector}, {name}", name, precision, preprocess, other, orders, compared=False))
    return contenders


def _contender(
    title: str,
    engine_name: str,
    precision: Precision,
    preprocess: Preprocess,
    network: Detector,
    orders: Orders,
    *,
    compared: bool = True,
) -> Contender:
    engine = _engine(engine_name, precision, copy.deepcopy(preprocess), network, orders)
    return Contender(
        title,
        precision,
        _scores_of(engine),
        orders.batches,
        compared,
        engine=engine if isinstance(engine, PipelinedEngine) else None,
        arithmetic=_as_pytorch_is if isinstance(engine, EagerEngine) else nullcontext,
    )


@contextlib.contextmanager
def _as_pytorch_is() -> Iterator[None]:
    """PyTorch's defaults, which who takes it as it is gets: TensorFloat-32 on a GPU, no search for algorithms."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=True):
        yield


def _engines(device: str) -> list[tuple[str, Precision]]:
    if device == "cuda":
        cuda: tuple[Precision, ...] = ("float32", "bfloat16", "float16")
        captured = [(f"cuda {precision}", precision) for precision in cuda]
        return [("pytorch float32", "float32"), *captured, (_CONVOLUTIONS, "float16")]
    engines: list[tuple[str, Precision]] = [("pytorch float32", "float32"), ("openvino float32", "float32")]
    return [*engines, ("openvino bfloat16", "bfloat16")] if cpu_has_bfloat16() else engines


def _engine(name: str, precision: Precision, preprocess: Preprocess, network: Detector, orders: Orders) -> Engine:
    if name.startswith("cuda"):
        engine = build_cuda_engine(
            preprocess, network, precision, max_batch=max(orders.batches), convolutions=name == _CONVOLUTIONS
        )
        engine.warm_up(np.zeros((orders.frame_px, orders.frame_px), np.uint8))
        return engine
    folded = fold_batch_norms(network)
    if name.startswith("pytorch"):
        return EagerEngine(preprocess, folded, device=orders.device, max_batch=max(orders.batches))
    assert precision != "float16"  # not in _engines for the CPU
    body, head = partition(folded)
    return OpenVinoEngine(
        preprocess,
        body,
        head,
        input_px=(orders.size_px, orders.size_px),
        precision=precision,
        threads=orders.threads,
        max_batch=max(orders.batches),
    )


def _scores_of(engine: Engine) -> Callable[[Sequence[Pixels]], list[float]]:
    return lambda frames: [scored.score for scored in engine.infer(frames)]


def _difference(contender: Contender, frames: Sequence[Pixels], expected: Sequence[float], tolerance: float) -> float:
    scores = [contender.score([frame])[0] for frame in frames]
    worst = max(abs(score / wanted - 1) for score, wanted in zip(scores, expected, strict=True))
    if not worst <= tolerance:
        raise EngineError(
            f"{contender.name}: a score differs by {worst:.2%} from the plain implementation's, more than "
            f"{tolerance:.2%}; its speed means nothing"
        )
    return worst


def main(arguments: Sequence[str]) -> int:
    """Measures what the JSON object in the first argument orders; prints the record."""
    try:
        orders = TypeAdapter(Orders).validate_json(arguments[0])
        record = measure_engines(orders, lambda text: print(text, file=sys.stderr, flush=True))
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ValidationError as error:
        print("error: " + "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in error.errors()), file=sys.stderr)
        return 2
    print(json.dumps(record))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
