"""Whether garbage collector, GIL and allocator show in the slowest parts: the line with notes, and with each changed.

The line runs in turns, each way once in every turn, so that a machine that is slower for a while hits all alike. Every
part's latency is laid beside what the processes went through meanwhile (`inspector.benchmark.tail_causes`).
"""

from __future__ import annotations

import mmap
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inspector.benchmark.line import line_config, show_parts, write_pictures
from inspector.benchmark.machine import machine_facts
from inspector.benchmark.samples import Latency
from inspector.benchmark.scraper import scraped
from inspector.benchmark.tail_causes import Parts, group, lay_over, process_figures, stamps_of, together
from inspector.benchmark.trace import Recorder, Trace
from inspector.benchmark.traced_child import CollectorMode, collector
from inspector.config.schema import Worker
from inspector.domain.errors import FatalError
from inspector.domain.verdict import Verdict
from inspector.roles.daemon import Station

#: The first parts find caches cold that no later part does.
_SETTLING_S = 1.0
#: Shares of the parts that are looked at.
SHARES = {"all": 1.0, "slowest 1 %": 0.01, "slowest 0.1 %": 0.001}
_ROLES = ("camera", "worker", "gate")


@dataclass(frozen=True)
class Way:
    """A way to run the line.

    Attributes:
        told: What it is, for people.
        collector: Of all three processes.
        environment: More variables of camera process and worker.
        scraped: Metrics are asked for ten times a second, by threads of the gate that want its GIL.
    """

    told: str
    collector: CollectorMode = "frozen"
    environment: tuple[str, ...] = ()
    scraped: bool = False


#: glibc takes no larger threshold for mmap than 32 MiB.
_KEEP = ("MALLOC_MMAP_THRESHOLD_=33554432", "MALLOC_TRIM_THRESHOLD_=1073741824", "MALLOC_TOP_PAD_=67108864")
WAYS = {
    "as-it-is": Way("as the daemon runs"),
    "collector-default": Way("nothing frozen, as Python does it", collector="default"),
    "collector-off": Way("no garbage collections", collector="off"),
    "memory-kept": Way("glibc gives no memory back to the kernel", environment=_KEEP),
    "metrics-scraped": Way("/metrics asked for ten times a second", scraped=True),
    # What a full collection costs, and that it would be seen; Python's own come once in a long while.
    "forced-frozen": Way("as the daemon runs, and all garbage collected once a second", collector="frozen-forced"),
    "forced-default": Way("nothing frozen, and all garbage collected once a second", collector="default-forced"),
}


@dataclass(frozen=True)
class TailOrders:
    """What to run.

    Attributes:
        recipe: A trial recipe (`inspector.benchmark.trial`).
        worker: Settings of the worker.
        ways: Names in `WAYS`.
        rate: Triggers a second.
        turns: Times that each way is run.
        seconds: Length of each run.
        frame_px: Side of the frames, grey.
        deadline_ms: Deadline of a verdict.
    """

    recipe: Path
    worker: Worker
    ways: tuple[str, ...]
    rate: float
    turns: int
    seconds: float
    frame_px: int
    deadline_ms: float


@dataclass
class _Runs:
    """What the runs of one way came to."""

    parts: list[Parts] = field(default_factory=list)
    refused: int = 0
    processes: list[dict[str, dict[str, float]]] = field(default_factory=list)


def measure_tail(orders: TailOrders, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Runs every way in turns and returns the record for JSON.

    Args:
        orders: What to run.
        say: Told what is being done.

    Raises:
        FatalError: The station can't run, a part has no verdict, or nothing was judged.
        KeyboardInterrupt: It was stopped.
    """
    fault_ns = page_fault_ns()
    runs = {name: _Runs() for name in orders.ways}
    with tempfile.TemporaryDirectory(prefix="inspector-tail-") as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        parts = max(2, round(orders.rate * orders.seconds))
        write_pictures(folder / "parts", orders.frame_px, parts)
        for turn, way in schedule(orders.ways, orders.turns):
            say(f"turn {turn + 1} of {orders.turns}: {way}, {WAYS[way].told}")
            _run(orders, WAYS[way], folder, parts, fault_ns, runs[way])
    return {
        "machine": machine_facts(),
        "orders": {
            name: getattr(orders, name) for name in ("rate", "turns", "seconds", "frame_px", "deadline_ms", "ways")
        }
        | {"worker": orders.worker.model_dump(mode="json")},
        "page_fault_us": round(fault_ns / 1e3, 3),
        "ways": {name: _summary(run) for name, run in runs.items()},
    }


def schedule(ways: Sequence[str], turns: int) -> Iterator[tuple[int, str]]:
    """Each way once in every turn, every other turn backwards.

    >>> list(schedule(["a", "b"], 2))
    [(0, 'a'), (0, 'b'), (1, 'b'), (1, 'a')]
    """
    for turn in range(turns):
        for way in ways if turn % 2 == 0 else ways[::-1]:
            yield turn, way


def _run(orders: TailOrders, way: Way, folder: Path, parts: int, fault_ns: float, runs: _Runs) -> None:
    config = line_config(folder, orders.recipe, orders.worker, orders.rate, orders.deadline_ms)
    for role in _ROLES:
        (folder / f"{role}.npz").unlink(missing_ok=True)
    verdicts: list[Verdict] = []

    def beside(station: Station) -> AbstractContextManager[None]:
        for role, child in (("camera", station.gate.lines[0].camera), ("worker", station.gate.lines[0].worker)):
            program = [sys.executable, "-m", "inspector.benchmark.traced_child", role, way.collector, str(folder)]
            child.command = ["env", *way.environment, *program]
        return scraped(station.metrics_port) if way.scraped else nullcontext()

    with collector(way.collector), closing(Recorder()) as recorder:
        show_parts(config, parts, verdicts.append, clock_ns=recorder, beside=beside)
        gate = recorder.trace()
    (folder / "verdicts.jsonl").unlink()
    traces = {"gate": gate, **{role: _trace(folder, role) for role in ("camera", "worker")}}
    settled_ns = verdicts[0].triggered_ns + round(_SETTLING_S * 1e9)
    counted = [verdict for verdict in verdicts if verdict.triggered_ns >= settled_ns]
    stamps = stamps_of(counted)
    if not len(stamps):
        raise FatalError(f"of {len(counted)} parts after the first second none was judged; take a lower --rate")
    runs.parts.append(lay_over(stamps, traces, fault_ns))
    runs.refused += len(counted) - len(stamps)
    runs.processes.append(
        {role: process_figures(traces[role], settled_ns, int(stamps[-1, -1]), len(counted)) for role in _ROLES}
    )


def _trace(folder: Path, role: str) -> Trace:
    try:
        return Trace.load(folder / f"{role}.npz")
    except FileNotFoundError:
        raise FatalError(f"the {role} process has left no trace: it was killed") from None


def _summary(runs: _Runs) -> dict[str, Any]:
    parts = together(runs.parts)
    return {
        "parts": len(parts.whole_ms) + runs.refused,
        "refused": runs.refused,
        "latency": Latency.of(parts.whole_ms.tolist()).as_record(),
        "latency_by_turn": [Latency.of(run.whole_ms.tolist()).as_record() for run in runs.parts],
        "groups": {name: group(parts, share).as_record() for name, share in SHARES.items()},
        "processes": {role: _over_turns([run[role] for run in runs.processes]) for role in _ROLES},
    }


def _over_turns(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each figure, but the longest collection of all."""
    means = {name: float(np.mean([turn[name] for turn in turns])) for name in turns[0]}
    longest_ms = max(turn["longest_collection_ms"] for turn in turns)
    return {name: round(value, 4) for name, value in {**means, "longest_collection_ms": longest_ms}.items()}


def page_fault_ns(size_bytes: int = 16 << 20, repeats: int = 5) -> float:
    """What it costs a process to touch a page of memory that the kernel has not given it yet, in nanoseconds."""
    costs_ns = []
    for _ in range(repeats):
        with mmap.mmap(-1, size_bytes) as memory:
            if hasattr(mmap, "MADV_NOHUGEPAGE"):
                memory.madvise(mmap.MADV_NOHUGEPAGE)
            first_ns, second_ns = _touch(memory), _touch(memory)
            costs_ns.append((first_ns - second_ns) / (size_bytes // mmap.PAGESIZE))
    return max(float(np.median(costs_ns)), 0.0)


def _touch(memory: mmap.mmap) -> int:
    begun_ns = time.perf_counter_ns()
    for place in range(0, len(memory), mmap.PAGESIZE):
        memory[place] = 1
    return time.perf_counter_ns() - begun_ns
