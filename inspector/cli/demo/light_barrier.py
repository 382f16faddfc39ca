"""The light barrier of the simulated plant: pulses on the camera's line, one for each part that comes by."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from inspector.cameras.simulator import SERIAL, states, tell
from inspector.domain.errors import CameraError

#: Longest pause between two looks.
_LOOK_S = 0.02


class PulsePlan:
    """How many pulses are due: as verdicts come back, or at a rate.

    Args:
        total: Parts in all.
        rate: Pulses a second; None sends one whenever fewer than `room` parts are open.
        room: Parts that may be open at a time.
        patience_s: Without any verdict for so long, pulses without one were not seen: their camera was away.

    >>> plan = PulsePlan(total=5, rate=None, room=2, patience_s=1.0)
    >>> plan.due(verdicts=0, now_s=0.0), plan.due(verdicts=1, now_s=0.1), plan.due(verdicts=1, now_s=0.2)
    (2, 1, 0)
    """

    def __init__(self, total: int, rate: float | None, room: int, patience_s: float) -> None:
        self._total = total
        self._rate = rate
        self._room = room
        self._patience_s = patience_s
        self._sent = 0
        self._verdicts = 0
        self._start_s: float | None = None
        self._heard_s = 0.0

    def due(self, verdicts: int, now_s: float) -> int:
        """Pulses to send now; they are taken to be sent.

        Args:
            verdicts: That came back so far.
            now_s: Monotonic time.
        """
        if self._start_s is None:
            self._start_s = self._heard_s = now_s
        if verdicts > self._verdicts:
            self._verdicts, self._heard_s = verdicts, now_s
        if self._rate is not None:
            count = min(self._total, int((now_s - self._start_s) * self._rate) + 1) - self._sent
        else:
            if now_s - self._heard_s > self._patience_s:
                self._sent, self._heard_s = verdicts, now_s
            open_parts = max(0, self._sent - verdicts)
            count = min(self._room, self._total - verdicts) - open_parts
        count = max(0, count)
        self._sent += count
        return count

    @property
    def look_s(self) -> float:
        """Longest pause between two looks at it."""
        return _LOOK_S if self._rate is None else min(_LOOK_S, 1 / self._rate)

    def finished(self, verdicts: int, now_s: float) -> bool:
        """True once every part has its verdict, or can have none."""
        if verdicts >= self._total:
            return True
        return self._rate is not None and self._sent >= self._total and now_s - self._heard_s > self._patience_s


class LightBarrier:
    """A thread that sends the pulses of a plan over the simulator's control socket.

    Args:
        folder: The simulator's.
        plan: When a part comes by.
        verdicts: Verdicts so far.
        done: Called once, when the plan is finished.
        clock_s: Monotonic clock.
    """

    def __init__(
        self,
        folder: Path,
        plan: PulsePlan,
        verdicts: Callable[[], int],
        done: Callable[[], None],
        clock_s: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._verdicts = verdicts
        self._done = done
        self._clock_s = clock_s
        self._news = threading.Event()
        self._stopping = False
        self._failure: CameraError | None = None
        self._thread = threading.Thread(target=self._run, name="light barrier", daemon=True)

    def start(self) -> None:
        """Lets the parts come."""
        self._thread.start()

    def wake(self) -> None:
        """There is a new verdict."""
        self._news.set()

    def stop(self) -> None:
        """Ends the thread.

        Raises:
            CameraError: The simulator refused its pulses.
        """
        self._stopping = True
        self._news.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._watch_over()
        except CameraError as error:
            self._failure = error
            self._done()

    def _watch_over(self) -> None:
        seen = False
        while not self._stopping:
            seen = seen or plays(self._folder)
            if seen:
                verdicts, now_s = self._verdicts(), self._clock_s()
                if self._plan.finished(verdicts, now_s):
                    self._done()
                    return
                count = self._plan.due(verdicts, now_s)
                if count:
                    seen = send(self._folder, count)
            self._news.wait(self._plan.look_s)
            self._news.clear()


def plays(folder: Path) -> bool:
    """True while a process takes pictures with the simulator's camera."""
    return any(state["grabbing"] for state in states(folder))


def send(folder: Path, count: int) -> bool:
    """So many pulses on the camera's line. False if no process plays the camera any more."""
    return bool(tell(folder, f"trigger {SERIAL} {count}"))
