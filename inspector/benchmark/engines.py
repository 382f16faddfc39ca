"""The engines alone, side by side in one run; a program of its own, so that only it loads torch."""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

import inspector
from inspector.benchmark.machine import processor_name
from inspector.benchmark.plain import PlainMapping
from inspector.benchmark.samples import Latency, paired_ratio
from inspector.benchmark.trial import PAIRS, PairName, network_record, trial_network
from inspector.domain.errors import EngineError
from inspector.domain.frame import Pixels
from inspector.engines.base import Engine
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.engines.eager import EagerEngine
from inspector.engines.openvino_cpu import OpenVinoEngine, Precision
from inspector.models.detector import Detector
from inspector.models.folding import fold_batch_norms
from inspector.models.network import InspectionNetwork
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation

#: Largest relative difference of a score from the plain implementation's, by precision.
TOLERANCES: dict[str, float] = {"float32": 1e-4, "bfloat16": 2e-2}
_FRAMES = 16
_PLAIN = "plain PyTorch"


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


@dataclass
class Contender:
    """Something that scores frames, and how long it took."""

    name: str
    precision: str
    score: Callable[[Sequence[Pixels]], list[float]]
    batches: tuple[int, ...]
    compared: bool = True
    per_frame_ms: dict[int, list[float]] = field(default_factory=dict)
    calls_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def measure(self, frames: Sequence[Pixels], seconds: float) -> None:
        """One round: each batch size for `seconds`, at least three calls."""
        for batch in self.batches:
            calls: list[float] = []
            cpu = time.process_time()
            begun = time.perf_counter()
            while len(calls) < 3 or time.perf_counter() - begun < seconds:
                chosen = [frames[(len(calls) * batch + index) % len(frames)] for index in range(batch)]
                start = time.perf_counter()
                self.score(chosen)
                calls.append(1e3 * (time.perf_counter() - start))
            self.per_frame_ms.setdefault(batch, []).append(float(np.median(calls)) / batch)
            if batch == 1:
                self.calls_ms += calls
                self.cpu_ms.append(1e3 * (time.process_time() - cpu) / len(calls))


def measure_engines(orders: Orders, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Runs every contender and returns the record for JSON.

    Args:
        orders: What to measure.
        say: Told what is being done.

    Raises:
        EngineError: An engine is not to be had here, or gives other scores than the plain implementation.
    """
    torch.set_num_threads(orders.threads)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (orders.frame_px, orders.frame_px), np.uint8) for _ in range(_FRAMES)]
    contenders = _contenders(orders, say)
    say("checking that the scores agree")
    expected = contenders[0].score(frames)
    differences = {}
    for contender in contenders:
        if contender.compared:
            differences[contender.name] = _difference(contender, frames, expected)
        contender.measure(frames, 0.0)  # warm-up
        contender.per_frame_ms, contender.calls_ms, contender.cpu_ms = {}, [], []
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
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import openvino

    return {
        "cpu": processor_name(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
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
    preprocess = Preprocess(Geometry(width_px=orders.size_px, height_px=orders.size_px), Normalisation())
    network = trial_network(network_record(pair, "mb-pfm"), input_px)
    assert isinstance(network, InspectionNetwork)
    plain = PlainMapping(preprocess, network, orders.device)
    contenders = [Contender(_PLAIN, "float32", plain.scores, (1,))]
    for name, precision in _engines(orders.device):
        say(f"building {name}")
        engine = _engine(name, precision, preprocess, network, orders)
        contenders.append(Contender(name, precision, _scores_of(engine), orders.batches))
    for detector in orders.detectors:
        say(f"building {detector}")
        other = trial_network(network_record(pair, detector), input_px)
        name, precision = _engines(orders.device)[0]
        engine = _engine(name, precision, preprocess, other, orders)
        contenders.append(Contender(f"{detector}, {name}", precision, _scores_of(engine), orders.batches, False))
    return contenders


def _engines(device: str) -> list[tuple[str, Precision]]:
    if device == "cuda":
        return [("pytorch float32", "float32")]
    engines: list[tuple[str, Precision]] = [("pytorch float32", "float32"), ("openvino float32", "float32")]
    return [*engines, ("openvino bfloat16", "bfloat16")] if cpu_has_bfloat16() else engines


def _engine(name: str, precision: Precision, preprocess: Preprocess, network: Detector, orders: Orders) -> Engine:
    folded = fold_batch_norms(network)
    if name.startswith("pytorch"):
        return EagerEngine(preprocess, folded, device=orders.device, max_batch=max(orders.batches))
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


def _difference(contender: Contender, frames: Sequence[Pixels], expected: Sequence[float]) -> float:
    scores = [contender.score([frame])[0] for frame in frames]
    worst = max(abs(score / wanted - 1) for score, wanted in zip(scores, expected, strict=True))
    if not worst <= TOLERANCES[contender.precision]:
        raise EngineError(
            f"{contender.name}: a score differs by {worst:.2%} from the plain implementation's, more than "
            f"{TOLERANCES[contender.precision]:.2%}; its speed means nothing"
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
