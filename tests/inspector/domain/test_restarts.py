"""A child may be started again, but not for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.restarts import LossRetry, RestartBudget


@given(
    restarts=st.integers(0, 4),
    window_ns=st.integers(1, 100),
    pauses_ns=st.lists(st.integers(0, 60), max_size=40),
)
def test_never_more_restarts_than_allowed_within_any_window(
    restarts: int, window_ns: int, pauses_ns: list[int]
) -> None:
    budget = RestartBudget(restarts, window_ns, pause_ns=1)
    now_ns, allowed_ns = 0, []
    for pause_ns in pauses_ns:
        now_ns += pause_ns
        if budget.next_start_ns(now_ns) is None:
            recent = [time_ns for time_ns in allowed_ns if now_ns - time_ns < window_ns]
            assert len(recent) == restarts  # refused only where the budget is really used up
        else:
            allowed_ns.append(now_ns)
    for time_ns in allowed_ns:
        assert sum(time_ns <= other < time_ns + window_ns for other in allowed_ns) <= restarts


def test_pause_doubles_up_to_its_bound() -> None:
    budget = RestartBudget(restarts=10, window_ns=1_000_000, pause_ns=100, longest_pause_ns=500)
    assert [budget.next_start_ns(0) for _ in range(5)] == [100, 200, 400, 500, 500]


def test_pause_is_short_again_after_a_quiet_window() -> None:
    budget = RestartBudget(restarts=2, window_ns=1000, pause_ns=100)
    assert budget.next_start_ns(0) == 100
    assert budget.next_start_ns(10) == 210
    assert budget.next_start_ns(1010) == 1110


def test_no_restart_at_all() -> None:
    assert RestartBudget(restarts=0, window_ns=1000).next_start_ns(0) is None


@given(waits_ns=st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_a_lost_device_is_tried_for_ever_and_never_more_often_than_the_pause_says(waits_ns: list[int]) -> None:
    retry = LossRetry(give_up_ns=None, longest_pause_ns=40, pause_ns=5)
    now_ns, pauses = 0, []
    for wait_ns in waits_ns:
        due_ns = retry.next_start_ns(now_ns, well_ns=0)
        assert due_ns is not None
        pauses.append(due_ns - now_ns)
        now_ns = due_ns + wait_ns
    assert pauses == [5, 10, 20, *[40] * len(pauses)][: len(pauses)]


def test_a_device_that_was_well_again_begins_with_a_short_pause_and_all_its_time() -> None:
    retry = LossRetry(give_up_ns=100, longest_pause_ns=40, pause_ns=5)
    assert [retry.next_start_ns(now, well_ns=0) for now in (0, 50, 99)] == [5, 60, 119]
    assert retry.next_start_ns(1000, well_ns=39) is None  # it came for a moment only
    assert [retry.next_start_ns(now, well_ns=well) for now, well in ((2000, 40), (2050, 0))] == [2005, 2060]
