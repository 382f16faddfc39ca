"""Batches take what waits, fit a prepared size, and cost no frame its deadline."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engines.batching import batch_sizes, frames_in_time, padded


@given(st.integers(1, 64))
def test_every_batch_has_the_smallest_prepared_size_that_holds_it(max_batch: int) -> None:
    sizes = batch_sizes(max_batch)
    assert list(sizes) == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, max_batch)
    for frames in range(1, max_batch + 1):
        size = padded(frames, sizes)
        assert frames <= size < 2 * frames
        assert not any(frames <= other < size for other in sizes)


@pytest.mark.parametrize("frames", [0, 5])
def test_a_batch_that_no_size_holds_is_refused(frames: int) -> None:
    with pytest.raises(ValueError, match=f"a batch of {frames} frames; the engine takes 1 to 4"):
        padded(frames, (1, 2, 4))


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12), st.integers(0, 100), st.integers(0, 40))
def test_no_frame_misses_its_deadline_for_the_company_it_is_in(deadlines: list[int], start: int, each: int) -> None:
    def expected(frames: int) -> int:
        return each * padded(frames, batch_sizes(16))

    chosen = frames_in_time(deadlines, start, expected)
    assert 1 <= chosen <= len(deadlines)
    taken = deadlines[:chosen]
    hopeful = [deadline for deadline in taken if deadline >= start + expected(1)]
    if chosen > 1:
        assert all(deadline >= start + expected(chosen) for deadline in hopeful)
    # And no more could have been taken.
    for more in range(chosen + 1, len(deadlines) + 1):
        others = [deadline for deadline in deadlines[:more] if deadline >= start + expected(1)]
        assert any(deadline < start + expected(more) for deadline in others)
