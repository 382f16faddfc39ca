"""How often a second recipe agrees with the line, part by part. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict

from inspector.domain.verdict import Decision

#: The line's decision, the shadow's.
Pair = tuple[Decision, Decision]


class Agreement:
    """Brings the line's verdict and the shadow's opinion of a part together, whichever comes first.

    Parts that the line did not inspect are not compared: it had no score.

    Args:
        capacity: Parts that may wait for the other side; the oldest goes first.

    Attributes:
        counts: Parts by what both said.

    >>> agreement = Agreement(capacity=10)
    >>> agreement.verdict(1, Decision.PASS), agreement.opinion(1, Decision.FAIL)
    (None, (<Decision.PASS: 'pass'>, <Decision.FAIL: 'fail'>))
    """

    def __init__(self, capacity: int) -> None:
        self.counts: Counter[Pair] = Counter()
        self._capacity = capacity
        self._verdicts: OrderedDict[int, Decision] = OrderedDict()
        self._opinions: OrderedDict[int, Decision] = OrderedDict()

    def verdict(self, trigger: int, decision: Decision) -> Pair | None:
        """Takes the line's verdict; both, if the opinion is there already."""
        opinion = self._opinions.pop(trigger, None)
        if decision is Decision.NOT_INSPECTED:
            return None
        return self._matched(decision, opinion, self._verdicts, trigger, decision)

    def opinion(self, trigger: int, decision: Decision) -> Pair | None:
        """Takes the shadow's opinion; both, if the verdict is there already."""
        verdict = self._verdicts.pop(trigger, None)
        return self._matched(verdict, decision, self._opinions, trigger, decision)

    @property
    def compared(self) -> int:
        """Parts that both have judged."""
        return sum(self.counts.values())

    def alone(self, rejects: str) -> int:
        """Parts that only one of them rejects.

        Args:
            rejects: "line" or "shadow".
        """
        index = ("line", "shadow").index(rejects)
        return sum(
            count
            for pair, count in self.counts.items()
            if pair[index] is not Decision.PASS and pair[1 - index] is Decision.PASS
        )

    def _matched(
        self,
        verdict: Decision | None,
        opinion: Decision | None,
        waiting: OrderedDict[int, Decision],
        trigger: int,
        said: Decision,
    ) -> Pair | None:
        if verdict is None or opinion is None:
            waiting[trigger] = said
            if len(waiting) > self._capacity:
                waiting.popitem(last=False)
            return None
        self.counts[verdict, opinion] += 1
        return verdict, opinion
