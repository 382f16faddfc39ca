"""A translated time is never later than the true one, and by no more earlier than is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.remote_clock import RemoteClock

MS = 1_000_000


@given(
    ahead_ns=st.integers(-(10**15), 10**15),
    drift=st.floats(-1.2e-3, 1.2e-3),
    trips=st.lists(st.tuples(st.integers(0, 500 * MS), st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1),
    after_ns=st.integers(-2000 * MS, 5000 * MS),
)
def test_the_true_time_lies_within_what_is_said(
    ahead_ns: int, drift: float, trips: list[tuple[int, int, int]], after_ns: int
) -> None:
    def remote(local_ns: int) -> int:
        return ahead_ns + local_ns + round(local_ns * drift)

    clock, now_ns = RemoteClock(), 3000 * MS
    for pause_ns, out_ns, back_ns in trips:
        sent_ns = now_ns + pause_ns
        now_ns = sent_ns + out_ns + back_ns
        clock.met(sent_ns, remote(sent_ns + out_ns), now_ns)
    true_ns = now_ns + after_ns
    earliest_ns = clock.earliest_ns(remote(true_ns))
    slack_ns = 2  # rounding
    assert earliest_ns <= true_ns + slack_ns
    assert true_ns <= earliest_ns + 2.01 * clock.error_ns(true_ns) + slack_ns


def test_the_shortest_trip_counts_until_it_is_too_long_ago() -> None:
    clock = RemoteClock()
    assert not clock.known
    clock.met(0, 1000 * MS, 2 * MS)
    assert clock.known
    assert clock.error_ns(MS) == MS
    clock.met(10 * MS, 1010 * MS, 20 * MS)  # worse
    assert clock.error_ns(20 * MS) < 2 * MS
    clock.met(30 * MS, 1030 * MS, 30 * MS + 100)  # better
    assert clock.error_ns(30 * MS + 100) == 51
    assert clock.error_ns(1030 * MS) > MS
    clock.met(1031 * MS, 2032 * MS, 1033 * MS)  # no better than the first, but fresh
    assert clock.error_ns(1032 * MS) == MS
