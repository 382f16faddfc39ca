"""The clock of another machine, told by round trips. Pure.

A round trip that began at t0 and ended at t1 and met the other clock at r says that r was some moment between t0 and
t1: the other clock is ahead by r - (t0 + t1) / 2, give or take (t1 - t0) / 2 (Cristian, Probabilistic clock
synchronization, 1989). The shortest trip says it best, and the longer ago it was, the less it says: both clocks run a
little wrong.
"""

from __future__ import annotations

import math

#: How much faster one clock may run than another, at most: each of two clocks may be 100 ppm off by itself and
#: another 500 ppm while NTP slews it, all of that in opposite directions, and something to spare.
_DRIFT = 1.5e-3


class RemoteClock:
    """What is known of the other clock."""

    def __init__(self) -> None:
        self._ahead_ns = 0
        self._middle_ns = 0  # of the trip that says it best, by this machine's clock
        self._half_ns: int | None = None

    def met(self, sent_ns: int, remote_ns: int, received_ns: int) -> None:
        """Takes up a round trip.

        Args:
            sent_ns: This machine's clock at its begin.
            remote_ns: The other machine's clock on the way.
            received_ns: This machine's clock at its end.
        """
        half_ns = (received_ns - sent_ns + 1) // 2
        if self._half_ns is None or half_ns * (1 + _DRIFT) <= self.error_ns(received_ns):
            self._half_ns = half_ns
            self._middle_ns = (sent_ns + received_ns) // 2
            self._ahead_ns = remote_ns - self._middle_ns

    @property
    def known(self) -> bool:
        """True after the first round trip."""
        return self._half_ns is not None

    def error_ns(self, when_ns: int) -> int:
        """How far a translated time may be off, at most.

        Args:
            when_ns: The time, by this machine's clock.
        """
        assert self._half_ns is not None
        return self._half_ns + math.ceil(abs(when_ns - self._middle_ns) * _DRIFT)

    def earliest_ns(self, remote_ns: int) -> int:
        """A time of the other clock on this one: the earliest that it can have been, so that nothing that counts from
        it ends too late.

        >>> clock = RemoteClock()
        >>> clock.met(sent_ns=1000, remote_ns=51_500, received_ns=2000)
        >>> clock.earliest_ns(51_600)
        1099
        """
        local_ns = remote_ns - self._ahead_ns
        return local_ns - self.error_ns(local_ns)
