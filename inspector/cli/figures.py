"""What a run over labelled parts came to: sums, rates, ranking and latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from inspector.domain.ledger import Tally
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Decision, Verdict

#: The class of good parts in a source label such as "good/000017".
GOOD = "good"

#: The class of a part of which nobody knows which one it was.
UNKNOWN = "unknown"


def class_of(source: str) -> str:
    """The class that a labelled source names: its first folder.

    >>> class_of("scratch/000018"), class_of("good/001.png")
    ('scratch', 'good')
    """
    return source.split("/", 1)[0]


@dataclass(frozen=True)
class Run:
    """Figures of a run over parts whose class is known.

    Attributes:
        tally: The ledger's sums at the end.
        image_auroc: Over the parts that were scored; NaN if one of the classes is missing.
        good: Good parts.
        good_rejected: Good parts that did not pass, whatever the cause.
        by_class: Parts and rejects of each class of defects.
        unknown: Parts of unknown class; they count among neither the good nor the defective ones.
        causes: Parts by cause.
        latency_ms: Sorted latencies from trigger to verdict.
        seconds: From the first trigger to the last verdict.
    """

    tally: Tally
    image_auroc: float
    good: int
    good_rejected: int
    by_class: dict[str, tuple[int, int]]
    unknown: int
    causes: dict[str, int]
    latency_ms: tuple[float, ...]
    seconds: float

    @property
    def false_reject_rate(self) -> float:
        """Share of the good parts that were rejected; NaN without good parts."""
        return self.good_rejected / self.good if self.good else math.nan

    @property
    def bad(self) -> int:
        """Defective parts."""
        return sum(parts for parts, _ in self.by_class.values())

    @property
    def bad_rejected(self) -> int:
        """Defective parts that did not pass."""
        return sum(rejected for _, rejected in self.by_class.values())

    @property
    def detection_rate(self) -> float:
        """Share of the defective parts that were rejected; NaN without defective parts."""
        return self.bad_rejected / self.bad if self.bad else math.nan

    @property
    def frames_per_second(self) -> float:
        """Parts by the time that they took; NaN for fewer than two."""
        return self.tally.triggered / self.seconds if self.seconds > 0 else math.nan

    def latency(self, percent: float) -> float:
        """A percentile of the latency in milliseconds; NaN without verdicts."""
        return float(np.percentile(self.latency_ms, percent)) if self.latency_ms else math.nan

    def false_reject_interval(self) -> tuple[float, float]:
        """Two-sided 95 % interval of the false-reject rate (Clopper and Pearson 1934); NaN without good parts."""
        if not self.good:
            return math.nan, math.nan
        interval = binomtest(self.good_rejected, self.good).proportion_ci(0.95)
        return float(interval.low), float(interval.high)

    def keeps(self, promise: float) -> bool:
        """False if so many false rejects would be a surprise (below 5 %) under the promised rate."""
        if not self.good:
            return True
        return bool(binomtest(self.good_rejected, self.good, promise, alternative="greater").pvalue >= 0.05)

    def as_record(self, threshold: Threshold) -> dict[str, Any]:
        """JSON-ready figures; what can't be formed is null."""
        low, high = self.false_reject_interval()
        record: dict[str, Any] = {
            "triggered": self.tally.triggered,
            "pass": self.tally.passed,
            "fail": self.tally.failed,
            "not_inspected": self.tally.not_inspected,
            "pending": self.tally.pending,
            "image_auroc": self.image_auroc,
            "good_parts": self.good,
            "good_rejected": self.good_rejected,
            "false_reject_rate": self.false_reject_rate,
            "false_reject_rate_low": low,
            "false_reject_rate_high": high,
            "false_reject_promise": threshold.promise,
            "false_reject_confidence": threshold.confidence,
            "promise_kept": self.keeps(threshold.promise),
            "defective_parts": self.bad,
            "defective_rejected": self.bad_rejected,
            "detection_rate": self.detection_rate,
            "unknown_parts": self.unknown,
            "latency_p50_ms": self.latency(50),
            "latency_p99_ms": self.latency(99),
            "frames_per_second": self.frames_per_second,
            "causes": self.causes,
            "by_class": {name: {"parts": parts, "rejected": r} for name, (parts, r) in self.by_class.items()},
        }
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in record.items()}


def measure(verdicts: Sequence[Verdict], tally: Tally) -> Run:
    """Figures of a run.

    Args:
        verdicts: Of all parts; their sources begin with the class, which may be `UNKNOWN`.
        tally: The ledger's sums.
    """
    known = [verdict for verdict in verdicts if class_of(verdict.source) != UNKNOWN]
    scored = [verdict for verdict in known if verdict.score is not None]
    labels = [class_of(verdict.source) != GOOD for verdict in scored]
    both = any(labels) and not all(labels)
    good = [verdict for verdict in known if class_of(verdict.source) == GOOD]
    by_class: dict[str, tuple[int, int]] = {}
    causes: dict[str, int] = {}
    for verdict in verdicts:
        causes[verdict.cause.value] = causes.get(verdict.cause.value, 0) + 1
    for verdict in known:
        name = class_of(verdict.source)
        if name != GOOD:
            parts, rejected = by_class.get(name, (0, 0))
            by_class[name] = parts + 1, rejected + verdict.rejected
    first_ns = min((verdict.triggered_ns for verdict in verdicts), default=0)
    last_ns = max((verdict.decided_ns for verdict in verdicts), default=0)
    return Run(
        tally=tally,
        image_auroc=float(roc_auc_score(labels, [verdict.score for verdict in scored])) if both else math.nan,
        good=len(good),
        good_rejected=sum(verdict.rejected for verdict in good),
        by_class=dict(sorted(by_class.items())),
        unknown=len(verdicts) - len(known),
        causes=dict(sorted(causes.items())),
        latency_ms=tuple(sorted(verdict.whole_ns / 1e6 for verdict in verdicts)),
        seconds=(last_ns - first_ns) / 1e9,
    )


def worst_rejects(verdicts: Sequence[Verdict], count: int) -> list[Verdict]:
    """The failed parts with the highest scores, highest first."""
    failed = [verdict for verdict in verdicts if verdict.decision is Decision.FAIL and verdict.score is not None]
    return sorted(failed, key=lambda verdict: -(verdict.score or 0.0))[:count]
