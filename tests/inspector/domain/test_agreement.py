"""Two recipes are compared part by part, whichever speaks first, and nothing waits for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.agreement import Agreement
from inspector.domain.verdict import Decision

PASS, FAIL, NOT = Decision.PASS, Decision.FAIL, Decision.NOT_INSPECTED
DECISIONS = st.sampled_from(Decision)


def test_who_rejects_alone_is_told_apart() -> None:
    agreement = Agreement(10)
    for trigger, (line, shadow) in enumerate([(PASS, PASS), (PASS, FAIL), (PASS, NOT), (FAIL, PASS), (FAIL, FAIL)]):
        agreement.verdict(trigger, line)
        assert agreement.opinion(trigger, shadow) == (line, shadow)
    assert agreement.compared == 5
    assert agreement.alone("shadow") == 2
    assert agreement.alone("line") == 1


@given(st.permutations([(side, part) for side in ("verdict", "opinion") for part in range(6)]), st.data())
def test_the_order_of_the_two_does_not_matter(order: list[tuple[str, int]], data: st.DataObject) -> None:
    said = {(side, part): data.draw(DECISIONS) for side, part in order}
    agreement = Agreement(10)
    for side, part in order:
        getattr(agreement, side)(part, said[side, part])
    expected = Counter(
        (said["verdict", part], said["opinion", part]) for part in range(6) if said["verdict", part] is not NOT
    )
    assert agreement.counts == expected


def test_parts_that_only_one_has_seen_are_bounded() -> None:
    agreement = Agreement(3)
    for trigger in range(10):
        agreement.verdict(trigger, PASS)
        agreement.opinion(100 + trigger, PASS)
    assert agreement.opinion(6, PASS) is None, "forgotten"
    assert agreement.opinion(9, PASS) == (PASS, PASS)
    assert len(agreement._opinions) == 3 + 0
