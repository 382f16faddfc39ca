"""What made the slowest parts slow: what the processes went through, laid over the times of the parts. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.benchmark.trace import Trace
from inspector.domain.verdict import Verdict

Floats = NDArray[np.float64]

STAGES = ("capture", "queue", "copy", "compute", "verdict")
#: First and last stamp of the time in which a process has the part, among the STAGES' six bounds: the camera process
#: until it has sent the frame, the worker from the moment at which there was one.
_HELD = {"camera": (0, 1), "worker": (1, 4), "gate": (4, 5)}
#: So many readings after it has captured a frame the camera process has sent it.
_SENDING = 2

COLLECTIONS = "garbage collections"
GIL = "other Python threads at work"
FAULTS = "page faults"
QUEUE = "waiting for a processor"
QUEUE_BESIDE = "other threads waiting for one"
COMPUTING = "main threads at work"
#: A cause is felt by a part if it takes at least this share of its latency.
_FELT = 0.01


@dataclass(frozen=True)
class Parts:
    """Judged parts, and the time that each possible cause had of each of them.

    Attributes:
        stages_ms: (P, len(STAGES)).
        causes_ms: By cause, (P,). They are no disjoint shares: a page fault happens while a thread is at work. What
            the other Python threads worked is the most that the main threads can have waited for the GIL.
    """

    stages_ms: Floats
    causes_ms: Mapping[str, Floats]

    @property
    def whole_ms(self) -> Floats:
        """From trigger to verdict, (P,)."""
        whole: Floats = self.stages_ms.sum(axis=1)
        return whole


@dataclass(frozen=True)
class Weight:
    """What something has of the latency of a group of parts.

    Attributes:
        ms: Mean for a part.
        felt: Share of the parts that it takes a hundredth of their latency from, or more.
        excess: Its share of what these parts took longer than the mean of all; None of all parts.
    """

    ms: float
    felt: float
    excess: float | None


@dataclass(frozen=True)
class Group:
    """Some of the parts.

    Attributes:
        parts: How many.
        whole_ms: Mean latency.
        stages: Weights of the stages; together they are the whole.
        causes: Weights of the causes.
    """

    parts: int
    whole_ms: float
    stages: dict[str, Weight]
    causes: dict[str, Weight]

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def stamps_of(verdicts: Sequence[Verdict]) -> NDArray[np.int64]:
    """Six moments of each judged part: trigger, captured, received, copied, computed, decided; int64, (P, 6)."""
    rows = [
        [verdict.triggered_ns, *(verdict.stages_ns[stage] for stage in STAGES)]
        for verdict in verdicts
        if len(verdict.stages_ns) == len(STAGES)
    ]
    return np.cumsum(np.array(rows, np.int64).reshape(-1, 1 + len(STAGES)), axis=1)


def lay_over(stamps: NDArray[np.int64], traces: Mapping[str, Trace], fault_ns: float) -> Parts:
    """What each process went through while it had each part.

    Args:
        stamps: Of `stamps_of`.
        traces: Of "camera", "worker" and "gate".
        fault_ns: What a page fault costs on this machine.
    """
    causes = {name: np.zeros(len(stamps)) for name in (COLLECTIONS, GIL, FAULTS, QUEUE, QUEUE_BESIDE, COMPUTING)}
    for role, (first, last) in _HELD.items():
        trace, begin_ns, end_ns = traces[role], stamps[:, first], stamps[:, last]
        # A stamp that a process sets itself is one of its notes; before others' lies its last note that isn't later.
        since, until = _at_most(trace, begin_ns), _at_least(trace, end_ns)
        if role == "camera":
            until = np.minimum(until + _SENDING, len(trace.notes) - 1)
            end_ns = trace.column("time_ns")[until]

        def during(column: str, trace: Trace = trace, since: Any = since, until: Any = until) -> Floats:
            values = trace.column(column)
            grown: Floats = np.maximum(values[until] - values[since], 0).astype(np.float64)
            return grown

        causes[COLLECTIONS] += overlap(trace.collections[:, 1:], begin_ns, end_ns)
        if trace.python_threads > 1:
            causes[GIL] += during("python_ns")
        causes[FAULTS] += fault_ns * (during("minor_faults") + during("major_faults"))
        causes[QUEUE] += during("waiting_ns")
        causes[QUEUE_BESIDE] += during("waiting_beside_ns")
        causes[COMPUTING] += during("running_ns")
    return Parts(np.diff(stamps, axis=1) / 1e6, {name: values / 1e6 for name, values in causes.items()})


def _at_most(trace: Trace, times_ns: NDArray[np.int64]) -> NDArray[np.intp]:
    """Index of the last note that is not later; the first where all are."""
    return np.maximum(np.searchsorted(trace.column("time_ns"), times_ns, side="right") - 1, 0)


def _at_least(trace: Trace, times_ns: NDArray[np.int64]) -> NDArray[np.intp]:
    """Index of the first note that is not earlier; the last where all are."""
    return np.minimum(np.searchsorted(trace.column("time_ns"), times_ns, side="left"), len(trace.notes) - 1)


def overlap(intervals: NDArray[np.int64], begin_ns: NDArray[np.int64], end_ns: NDArray[np.int64]) -> Floats:
    """How much of each time span lies in any of the intervals.

    Args:
        intervals: (M, 2), begin and end, disjoint and ascending.
        begin_ns: Of the spans, (P,).
        end_ns: Likewise.

    Returns:
        Nanoseconds, (P,).

    >>> overlap(np.array([[10, 20], [30, 40]]), np.array([0, 15, 20]), np.array([100, 35, 30])).tolist()
    [20.0, 10.0, 0.0]
    """
    if not len(intervals):
        return np.zeros(len(begin_ns))
    origin_ns = intervals[0, 0]
    edges = (intervals - origin_ns).reshape(-1)
    lengths = np.diff(intervals, axis=1).reshape(-1)
    covered = np.stack([np.cumsum(lengths) - lengths, np.cumsum(lengths)], axis=1).reshape(-1)
    until: Floats = np.interp(end_ns - origin_ns, edges, covered)
    since: Floats = np.interp(begin_ns - origin_ns, edges, covered)
    return until - since


def together(several: Sequence[Parts]) -> Parts:
    """The parts of several runs as those of one."""
    causes = {name: np.concatenate([parts.causes_ms[name] for parts in several]) for name in several[0].causes_ms}
    return Parts(np.concatenate([parts.stages_ms for parts in several]), causes)


def group(parts: Parts, slowest: float = 1.0) -> Group:
    """The slowest parts against all.

    Args:
        parts: At least one.
        slowest: Share of the parts, above 0 and at most 1; the number of parts is rounded up.
    """
    whole_ms = parts.whole_ms
    count = max(1, math.ceil(round(slowest * len(whole_ms), 9)))
    chosen = np.argsort(whole_ms, kind="stable")[-count:]
    excess_ms = float(whole_ms[chosen].mean() - whole_ms.mean())

    def weigh(values_ms: Floats) -> Weight:
        grown_ms = float(values_ms[chosen].mean() - values_ms.mean())
        return Weight(
            ms=float(values_ms[chosen].mean()),
            felt=float((values_ms[chosen] >= _FELT * whole_ms[chosen]).mean()),
            excess=grown_ms / excess_ms if count < len(whole_ms) and excess_ms > 0 else None,
        )

    return Group(
        parts=count,
        whole_ms=float(whole_ms[chosen].mean()),
        stages={name: weigh(parts.stages_ms[:, index]) for index, name in enumerate(STAGES)},
        causes={name: weigh(values_ms) for name, values_ms in parts.causes_ms.items()},
    )


def process_figures(trace: Trace, begin_ns: int, end_ns: int, parts: int) -> dict[str, float]:
    """What a process went through over a whole run, idle times included.

    Args:
        trace: Its notes.
        begin_ns: Monotonic time from which it counts.
        end_ns: Until then.
        parts: In this time, at least one.

    Returns:
        For each part "notes", "faults", "preemptions", "running_ms", "python_ms" and "waiting_ms"; besides
        "collections_a_second", "longest_collection_ms", and the trace's "python_threads", "frozen_objects",
        "collecting" and "lost".
    """
    first, last = (int(found(trace, np.array([at]))[0]) for found, at in ((_at_most, begin_ns), (_at_least, end_ns)))

    def each(*names: str) -> float:
        return sum(int(trace.column(name)[last] - trace.column(name)[first]) for name in names) / parts

    inside = trace.collections[(trace.collections[:, 1] >= begin_ns) & (trace.collections[:, 2] <= end_ns)]
    lengths_ns = inside[:, 2] - inside[:, 1]
    return {
        "notes": (last - first) / parts,
        "faults": each("minor_faults", "major_faults"),
        "preemptions": each("preemptions"),
        "running_ms": each("running_ns") / 1e6,
        "python_ms": each("python_ns") / 1e6,
        "waiting_ms": each("waiting_ns", "waiting_beside_ns") / 1e6,
        "collections_a_second": len(inside) / max(end_ns - begin_ns, 1) * 1e9,
        "longest_collection_ms": float(lengths_ns.max(initial=0)) / 1e6,
        "python_threads": trace.python_threads,
        "frozen_objects": trace.frozen_objects,
        "collecting": trace.collecting,
        "lost": trace.lost,
    }
