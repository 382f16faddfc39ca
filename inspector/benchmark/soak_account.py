"""What a soak keeps account of, in memory that doesn't grow with the parts."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inspector.domain.verdict import Decision, Verdict

#: Latencies are counted in classes whose bounds grow by this factor, from `_FIRST_MS` up.
_FACTOR = 1.02
_FIRST_MS = 0.01
_CLASSES = 900
#: Samples that are kept; with more, every second one goes and the next come half as often.
_SAMPLES = 600
#: Before this share of the run memory is not yet what it will be.
_SETTLING_SHARE = 0.25
#: With fewer settled samples nothing can be said of growth.
_LEAST_SAMPLES = 12


class Account:
    """Told every verdict: one for each part, each on its own pixels, and how long faults were felt.

    Args:
        same: Largest relative difference between scores of one picture.
        scores: Score of each picture by its name; a picture that isn't there is learned from its first verdict.

    Attributes:
        causes: Parts by decision and cause.
        strays: Verdicts for a part that had one.
        scored: Scores that were compared with that of their picture.
        foreign: Scores that are not their picture's.
        recoveries_s: By fault, the time from its injection to the next good verdict on a part that came after it.
    """

    def __init__(self, same: float, scores: dict[str, float] | None = None) -> None:
        self.causes: Counter[tuple[str, str]] = Counter()
        self.strays = 0
        self.scored = 0
        self.foreign = 0
        self.recoveries_s: dict[str, list[float]] = {}
        self.parts = 0
        self._same = same
        self._scores = {} if scores is None else dict(scores)
        self._below = 1  # every part below this number has its verdict
        self._ahead: set[int] = set()
        self._faults: list[tuple[str, int]] = []
        self._classes = np.zeros(_CLASSES, np.int64)

    def __call__(self, verdict: Verdict) -> None:
        """Takes up a verdict."""
        self.parts += 1
        self.causes[verdict.decision.value, verdict.cause.value] += 1
        if verdict.part < self._below or verdict.part in self._ahead:
            self.strays += 1
        else:
            self._ahead.add(verdict.part)
        while self._below in self._ahead:
            self._ahead.remove(self._below)
            self._below += 1
        place = math.log(max(verdict.whole_ns / 1e6, _FIRST_MS) / _FIRST_MS) / math.log(_FACTOR)
        self._classes[min(round(place), _CLASSES - 1)] += 1
        if verdict.score is not None:
            self._check_score(verdict.source, verdict.score)
        if verdict.decision is not Decision.NOT_INSPECTED and self._faults:
            self._recovered(verdict)

    def fault(self, kind: str, now_ns: int) -> None:
        """A fault was injected."""
        self._faults.append((kind, now_ns))

    @property
    def missing(self) -> int:
        """Parts without a verdict below the highest number that has one."""
        return max(self._ahead, default=self._below - 1) - (self._below - 1) - len(self._ahead)

    def latency_ms(self) -> dict[str, float]:
        """Quantiles from trigger to verdict, each to 2 %."""
        counted = np.cumsum(self._classes)
        if not counted[-1]:
            return {}
        shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "largest": 1.0}
        return {
            name: round(_FIRST_MS * _FACTOR ** int(np.searchsorted(counted, share * counted[-1])), 3)
            for name, share in shares.items()
        }

    def _check_score(self, picture: str, score: float) -> None:
        self.scored += 1
        known = self._scores.setdefault(picture, score)
        if not abs(score - known) <= self._same * abs(known):
            self.foreign += 1

    def _recovered(self, verdict: Verdict) -> None:
        felt = [fault for fault in self._faults if fault[1] < verdict.triggered_ns]
        for kind, injected_ns in felt:
            self._faults.remove((kind, injected_ns))
            self.recoveries_s.setdefault(kind, []).append((verdict.decided_ns - injected_ns) / 1e9)


@dataclass
class Samples:
    """What the processes hold over time.

    Attributes:
        interval_s: Time between two samples.
        time_s: Since the start.
        parts: Parts with a verdict so far.
        memory_mb: By process, anonymous memory in use; None while it isn't there.
        descriptors: By process, open file descriptors; None while it isn't there.
    """

    interval_s: float = 1.0
    time_s: list[float] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    memory_mb: dict[str, list[float | None]] = field(default_factory=dict)
    descriptors: dict[str, list[int | None]] = field(default_factory=dict)

    def take(self, now_s: float, parts: int, pids: dict[str, int | None]) -> None:
        """Looks at the processes; the same names in each call."""
        self.time_s.append(round(now_s, 3))
        self.parts.append(parts)
        for name, pid in pids.items():
            memory_mb, descriptors = process_figures(pid)
            self.memory_mb.setdefault(name, []).append(memory_mb)
            self.descriptors.setdefault(name, []).append(descriptors)
        if len(self.time_s) >= _SAMPLES:
            self.interval_s *= 2
            series: list[list[Any]] = [self.time_s, self.parts, *self.memory_mb.values(), *self.descriptors.values()]
            for values in series:
                del values[1::2]

    def growth(self) -> dict[str, dict[str, float]]:
        """By process, by how much the last third of the settled samples exceeds the first, at their medians.

        Returns:
            "memory_mb" and "descriptors"; a process with too few samples is left out.
        """
        found: dict[str, dict[str, float]] = {}
        for name in self.memory_mb:
            figures = {
                "memory_mb": rise(self.memory_mb[name]),
                "descriptors": rise(self.descriptors[name]),
            }
            if not any(math.isnan(value) for value in figures.values()):
                found[name] = {key: round(value, 2) for key, value in figures.items()}
        return found


def process_figures(pid: int | None) -> tuple[float | None, int | None]:
    """Anonymous memory in MB and open descriptors of a process; None for one that isn't there."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        memory_kb = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
        return round(memory_kb / 1024, 2), len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, StopIteration):  # no process, or one that is just ending
        return None, None


def rise(values: Iterable[float | None]) -> float:
    """By how much the median of the last third exceeds that of the first, the run's beginning left out.

    Returns:
        NaN where there are too few values.

    >>> rise([9.0] * 10 + [1.0] * 10 + [2.0] * 20)
    1.0
    """
    known = np.array([math.nan if value is None else value for value in values], float)
    settled = known[int(len(known) * _SETTLING_SHARE) :]
    settled = settled[~np.isnan(settled)]
    if len(settled) < _LEAST_SAMPLES:
        return math.nan
    third = len(settled) // 3
    return float(np.median(settled[-third:]) - np.median(settled[:third]))


def read_log(path: Path) -> dict[str, Any]:
    """Sums of a verdict log.

    Returns:
        "records", "by_decision", and "twice": parts with more than one record.
    """
    by_decision: Counter[str] = Counter()
    seen: Counter[int] = Counter()  # by part; a run's file, not a plant's
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            by_decision[record["decision"]] += 1
            seen[record["part"]] += 1
    return {
        "records": sum(by_decision.values()),
        "by_decision": dict(by_decision),
        "twice": sum(count > 1 for count in seen.values()),
    }
