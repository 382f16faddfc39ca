"""No set of buffers is ever two batches'."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.in_flight import Flights


@given(st.integers(1, 4), st.lists(st.integers(0, 5), max_size=40))
def test_a_set_belongs_to_one_batch_until_this_ends(sets: int, moves: list[int]) -> None:
    flights = Flights(sets)
    busy: list[int] = []
    for move in moves:
        if move < len(busy):
            flights.end(busy.pop(move))
        elif len(busy) < sets:
            index = flights.begin()
            assert 0 <= index < sets
            assert index not in busy
            busy.append(index)
        else:
            with pytest.raises(ValueError, match="collect one first"):
                flights.begin()
        assert flights.busy == len(busy)


def test_a_set_ends_once() -> None:
    flights = Flights(2)
    flights.end(flights.begin())
    with pytest.raises(ValueError, match="collected before"):
        flights.end(0)
