"""Which parts are worth keeping, and which picture belongs to which verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

#: 2**64 over the golden ratio: multiples of it spread evenly, and no cycle of the line (cavities, pallets) meets them.
_GOLDEN = 0x9E3779B97F4A7C15
_RANGE = 1 << 64

FrameT = TypeVar("FrameT")


def sampled(trigger: int, ratio: float) -> bool:
    """Whether a part is kept though it passed; every process that asks gets the same answer.

    Args:
        trigger: Its `inspector.domain.ledger.trigger_key`.
        ratio: Share of the parts to keep, in [0, 1].

    >>> sum(sampled(trigger, 0.01) for trigger in range(10_000))
    101
    """
    return trigger * _GOLDEN % _RANGE < ratio * _RANGE


@dataclass
class Pairing(Generic[FrameT]):
    """Brings frames and verdicts of the same part together, whichever comes first, in bounded time and memory.

    Attributes:
        patience_ns: What waits longer for its other half is dropped.
        frames: Frames that may wait.
        verdicts: Verdicts that may wait.
        unmatched: Frames dropped without a verdict. Verdicts without a frame are not counted: many have none.
    """

    patience_ns: int
    frames: int
    verdicts: int
    unmatched: int = 0
    _frames: dict[int, tuple[int, FrameT]] = field(default_factory=dict)
    _verdicts: dict[int, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Frames that wait for their verdict."""
        return len(self._frames)

    def frame(self, trigger: int, frame: FrameT, now_ns: int) -> tuple[dict[str, Any], FrameT] | None:
        """Takes up a frame; the pair if its verdict is there."""
        verdict = self._verdicts.pop(trigger, None)
        if verdict is not None:
            return verdict[1], frame
        self._frames[trigger] = now_ns, frame
        if len(self._frames) > self.frames:
            self._drop_frame(next(iter(self._frames)))
        return None

    def verdict(self, record: dict[str, Any], now_ns: int) -> tuple[dict[str, Any], FrameT] | None:
        """Takes up a verdict's record; the pair if its frame is there."""
        trigger: int = record["trigger"]
        frame = self._frames.pop(trigger, None)
        if frame is not None:
            return record, frame[1]
        self._verdicts[trigger] = now_ns, record
        if len(self._verdicts) > self.verdicts:
            del self._verdicts[next(iter(self._verdicts))]
        return None

    def expire(self, now_ns: int) -> None:
        """Drops what has waited too long; both wait in the order of their arrival."""
        while self._frames and now_ns - next(iter(self._frames.values()))[0] > self.patience_ns:
            self._drop_frame(next(iter(self._frames)))
        while self._verdicts and now_ns - next(iter(self._verdicts.values()))[0] > self.patience_ns:
            del self._verdicts[next(iter(self._verdicts))]

    def _drop_frame(self, trigger: int) -> None:
        del self._frames[trigger]
        self.unmatched += 1
