"""The judgement of a part: a decision, its cause, and what it rests on."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class Decision(enum.Enum):
    """What is said of a part. Anything that isn't PASS is a reject."""

    PASS = "pass"
    FAIL = "fail"
    NOT_INSPECTED = "not_inspected"


class Cause(enum.Enum):
    """Why a part got its decision. One cause for each verdict, named in the metrics."""

    #: pass: the score is at most the threshold.
    SCORE_WITHIN_THRESHOLD = "score_within_threshold"
    #: fail: the score is above the threshold.
    SCORE_ABOVE_THRESHOLD = "score_above_threshold"
    #: not inspected: no result arrived before the deadline, and nothing better is known.
    DEADLINE_MISSED = "deadline_missed"
    #: not inspected: the worker found the frame's deadline already over and did not compute it.
    EXPIRED_IN_QUEUE = "expired_in_queue"
    #: not inspected: the worker's queue was full, the frame was refused.
    QUEUE_FULL = "queue_full"
    #: not inspected: no worker was ready when the frame came.
    WORKER_NOT_READY = "worker_not_ready"
    #: not inspected: the worker died or was killed with the frame in its hands.
    WORKER_LOST = "worker_lost"
    #: not inspected: the camera process died before it handed the frame over.
    CAMERA_LOST = "camera_lost"
    #: not inspected: a trigger came, its frame never did.
    FRAME_MISSING = "frame_missing"
    #: not inspected: the frame is incomplete (packets lost, truncated transfer).
    FRAME_INCOMPLETE = "frame_incomplete"
    #: not inspected: the frame can't be decoded, or its header and pixels disagree.
    FRAME_CORRUPT = "frame_corrupt"
    #: not inspected: the frame's slot in shared memory was written anew before the worker had done with it.
    FRAME_OVERWRITTEN = "frame_overwritten"
    #: not inspected: the frame's size or channels are not those of the recipe.
    FRAME_GEOMETRY = "frame_geometry"
    #: not inspected: the score is NaN or infinite; a pass must be proven.
    SCORE_NOT_FINITE = "score_not_finite"
    #: not inspected: the network raised an error on this part.
    ENGINE_ERROR = "engine_error"
    #: not inspected: the worker judged with another recipe than the gate's.
    RECIPE_MISMATCH = "recipe_mismatch"
    #: not inspected: more parts were open than the ledger's bound.
    LEDGER_FULL = "ledger_full"
    #: not inspected: one of the cameras that look at the part announced nothing.
    VIEW_MISSING = "view_missing"
    #: not inspected: the daemon stopped before the part was judged.
    SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class Verdict:
    """The one judgement of a part.

    Attributes:
        part: Number of the part in this run of the station, 1 and up, never reused.
        trigger: Identity of the trigger, see `inspector.domain.ledger.trigger_key`.
        decision: Pass, fail or not inspected.
        cause: Why.
        score: Anomaly score, None where none was computed.
        p_value: Conformal p-value of the score among the calibration's good parts, in (0, 1].
        triggered_ns: Monotonic time of the trigger.
        decided_ns: Monotonic time of the verdict.
        deadline_ns: Monotonic time by which the verdict was due.
        source: Where the frame came from: a file's name, a camera's frame id, a rendered part's label.
        stages_ns: Durations by stage (capture, queue, copy, compute, verdict), as far as known.
    """

    part: int
    trigger: int
    decision: Decision
    cause: Cause
    score: float | None
    p_value: float | None
    triggered_ns: int
    decided_ns: int
    deadline_ns: int
    source: str = ""
    stages_ns: dict[str, int] = field(default_factory=dict)

    @property
    def rejected(self) -> bool:
        """True unless the part passed: silence, lateness and doubt are rejects."""
        return self.decision is not Decision.PASS

    @property
    def whole_ns(self) -> int:
        """Nanoseconds from the trigger to the verdict."""
        return self.decided_ns - self.triggered_ns

    def as_record(self) -> dict[str, Any]:
        """The verdict as a JSON-ready dict with durations in milliseconds."""
        return {
            "part": self.part,
            "trigger": self.trigger,
            "decision": self.decision.value,
            "cause": self.cause.value,
            "score": self.score,
            "p_value": self.p_value,
            "source": self.source,
            "triggered_ns": self.triggered_ns,
            "decided_ns": self.decided_ns,
            "deadline_ns": self.deadline_ns,
            "whole_ms": round(self.whole_ns / 1e6, 4),
            "stages_ms": {stage: round(ns / 1e6, 4) for stage, ns in self.stages_ns.items()},
        }
