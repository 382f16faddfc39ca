"""What is kept, and how halves find each other, in bounded time and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.archiving import Pairing, sampled
from inspector.domain.ledger import trigger_key


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("incarnation", [1, 7])
def test_the_sample_has_the_share_that_was_asked_for(ratio: float, incarnation: int) -> None:
    kept = sum(sampled(trigger_key(incarnation, number), ratio) for number in range(10_000))
    assert kept == pytest.approx(10_000 * ratio, abs=3)


@pytest.mark.parametrize("cavities", [2, 8, 10, 16])
def test_a_mould_with_several_cavities_is_sampled_in_all_of_them(cavities: int) -> None:
    kept = [number % cavities for number in range(20_000) if sampled(trigger_key(1, number), 1 / cavities)]
    for cavity in range(cavities):
        assert kept.count(cavity) == pytest.approx(len(kept) / cavities, rel=0.2)


@given(st.permutations([(kind, trigger) for kind in "fv" for trigger in range(6)]))
def test_halves_find_each_other_in_any_order(messages: list[tuple[str, int]]) -> None:
    pairs: Pairing[str] = Pairing(patience_ns=100, frames=10, verdicts=10)
    found = []
    for kind, trigger in messages:
        record = {"trigger": trigger}
        pair = pairs.frame(trigger, f"frame {trigger}", 0) if kind == "f" else pairs.verdict(record, 0)
        found += [] if pair is None else [pair]
    assert sorted((record["trigger"], frame) for record, frame in found) == [(n, f"frame {n}") for n in range(6)]
    assert pairs.waiting == pairs.unmatched == 0


def test_what_waits_is_bounded_and_the_oldest_goes_first() -> None:
    pairs: Pairing[str] = Pairing(patience_ns=100, frames=3, verdicts=2)
    for trigger in range(5):
        pairs.frame(trigger, "frame", 0)
        pairs.verdict({"trigger": 100 + trigger}, 0)
    assert (pairs.waiting, pairs.unmatched) == (3, 2)
    assert pairs.verdict({"trigger": 1}, 0) is None, "dropped"
    assert pairs.verdict({"trigger": 2}, 0) is not None
    assert pairs.frame(102, "frame", 0) is None, "its verdict was dropped"
    assert pairs.frame(104, "frame", 0) is not None


def test_what_waits_too_long_is_dropped() -> None:
    pairs: Pairing[str] = Pairing(patience_ns=100, frames=3, verdicts=2)
    pairs.frame(1, "frame", 0)
    pairs.verdict({"trigger": 2}, 0)
    pairs.frame(3, "frame", 50)
    pairs.expire(100)
    assert (pairs.waiting, pairs.unmatched) == (2, 0)
    pairs.expire(101)
    assert (pairs.waiting, pairs.unmatched) == (1, 1)
    assert pairs.frame(2, "frame", 101) is None
