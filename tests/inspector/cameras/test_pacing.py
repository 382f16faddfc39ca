"""A schedule on the monotonic clock: lateness shows, and no trigger is skipped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.base import SourceEnded
from inspector.cameras.pacing import Pace, Player, Still
from inspector.domain.verdict import Cause


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += max(1, round(seconds * 1e9))


@given(
    rate=st.floats(0.01, 10_000),
    turns=st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 5)), min_size=1, max_size=40),
)
def test_every_trigger_comes_once_in_order_and_never_early(rate: float, turns: list[tuple[float, float]]) -> None:
    """Whatever the caller waits and however late it comes back, trigger n has the time start + n / rate."""
    clock = Clock()
    pace = Pace(rate, clock, clock.sleep)
    pace.start()
    start_ns = clock.now_ns
    triggers = 0
    for timeout_s, busy_s in turns:
        called_ns = clock.now_ns
        due_ns = pace.wait(timeout_s)
        assert clock.now_ns - called_ns <= timeout_s * 1e9 + 1
        if due_ns is not None:
            assert due_ns == start_ns + round(triggers * 1e9 / rate)
            assert due_ns <= clock.now_ns
            triggers += 1
        else:
            assert start_ns + round(triggers * 1e9 / rate) > clock.now_ns
        clock.now_ns += round(busy_s * 1e9)


def test_late_caller_gets_all_that_was_due() -> None:
    clock = Clock()
    pace = Pace(10.0, clock, clock.sleep)
    pace.start()
    clock.now_ns += 350_000_000
    assert [pace.wait(0.0) for _ in range(5)] == [1_000, 100_001_000, 200_001_000, 300_001_000, None]


def test_sleep_that_ends_early_gives_no_early_trigger() -> None:
    clock = Clock()
    pace = Pace(1.0, clock, lambda seconds: clock.sleep(seconds / 2))
    pace.start()
    assert pace.wait(0.0) == 1_000
    assert pace.wait(2.0) == 1_000_001_000
    assert clock.now_ns >= 1_000_001_000


def test_start_begins_the_schedule_anew() -> None:
    clock = Clock()
    pace = Pace(1.0, clock, clock.sleep)
    with pytest.raises(RuntimeError, match="before its start"):
        pace.wait(0.0)
    pace.start()
    assert pace.wait(0.0) == 1_000
    clock.now_ns = 7_000
    pace.start()
    assert pace.wait(0.0) == 7_000


def test_next_still_is_read_before_the_wait_and_its_time_counts() -> None:
    """Decoding takes 80 ms of the 250 ms between two triggers: the trigger is handed over on time all the same."""
    clock = Clock()
    reads: list[int] = []

    def read() -> Still:
        reads.append(clock.now_ns)
        clock.now_ns += 80_000_000
        return Still(np.zeros((2, 2), np.uint8), f"part {len(reads)}")

    player = Player(read, 4.0, clock, clock.sleep)
    player.start()
    first = player.capture(0.1)
    assert first is not None
    assert (first.triggered_ns, first.captured_ns) == (1_000, 80_001_000)
    assert player.capture(0.1) is None
    assert clock.now_ns == 180_001_000  # reading and waiting together took the timeout
    second = player.capture(0.1)
    assert second is not None
    assert (second.source, second.triggered_ns, second.captured_ns) == ("part 2", 250_001_000, 250_001_000)
    assert len(reads) == 2


def test_on_demand_a_part_is_read_when_it_is_asked_for() -> None:
    clock = Clock()
    stills = iter([Still(None, "broken", Cause.FRAME_CORRUPT), None])

    def read() -> Still | None:
        clock.now_ns += 30
        return next(stills)

    player = Player(read, None, clock, clock.sleep)
    player.start()
    capture = player.capture(0.0)
    assert capture is not None
    assert (capture.triggered_ns, capture.captured_ns, capture.problem) == (1_000, 1_030, Cause.FRAME_CORRUPT)
    for _ in range(3):
        with pytest.raises(SourceEnded):
            player.capture(0.0)
