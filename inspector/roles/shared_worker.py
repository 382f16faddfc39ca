"""One worker process for several lines: to each of them it looks like a worker of its own; no torch here."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from inspector.roles.child import Child, Limits
from inspector.roles.job import Job


class SharedWorker:
    """The process, and who sits in it.

    Args:
        limits: When it is given up, and when started again.
        folder: Private folder for the orders.

    Attributes:
        child: The process.
        numbers: Gives the number of the next worker of any of the lines, 1 and up.
        deaths: Numbers of the processes that died, in order.
    """

    def __init__(self, limits: Limits, folder: Path) -> None:
        self.numbers = itertools.count(1)
        self.child = Child("worker", self._orders, limits, folder, number=lambda: next(self.numbers))
        self.deaths: list[int] = []
        self._seats: list[SeatedWorker] = []

    def join(self, line: str, orders: Callable[[int], Job], pass_fds: tuple[int, ...]) -> SeatedWorker:
        """A line's worker.

        Args:
            line: The line's name.
            orders: Its orders to an incarnation.
            pass_fds: File descriptors that they name.
        """
        seat = SeatedWorker(self, line, orders)
        self._seats.append(seat)
        self.child.pass_fds += pass_fds
        return seat

    def leave(self, seat: SeatedWorker) -> bool:
        """A line needs the process no more.

        Returns:
            True if it was the last: the process ends with it.
        """
        self._seats.remove(seat)
        if self._seats:
            self.child.tell(f"leave {seat.line}")
            return False
        self.child.retire()
        return True

    def watch(self, now_ns: int) -> None:
        """Watches the process, and takes note of its death."""
        incarnation = self.child.incarnation
        if self.child.watch(now_ns):
            self.deaths.append(incarnation)

    @property
    def needed(self) -> bool:
        """True while a line needs the process."""
        return bool(self._seats)

    def _orders(self, incarnation: int) -> Job:
        first, *further = [seat.orders(incarnation) for seat in self._seats]
        return first.model_copy(update={"further": tuple(further)})


class SeatedWorker:
    """A line's share of a worker process.

    Each line settles the parts of a process that died before it knows of the next one.

    Args:
        shared: The process.
        line: The line's name.
        orders: The line's orders to an incarnation.

    Attributes:
        line: The same.
        orders: The same.
    """

    role = "worker"

    def __init__(self, shared: SharedWorker, line: str, orders: Callable[[int], Job]) -> None:
        self.line = line
        self.orders = orders
        self._shared = shared
        self._mourned = 0
        self._ready_at = 0
        self._left = self._last = False

    @property
    def incarnation(self) -> int:
        """Number of the process, of a dead one until `watch` has told of its death."""
        unknown = self._shared.deaths[self._mourned :]
        return unknown[0] if unknown else self._shared.child.incarnation

    @property
    def alive(self) -> bool:
        """True while the process runs, and this line takes part or was the last to."""
        takes_part = self._last or not self._left
        return takes_part and self._mourned == len(self._shared.deaths) and self._shared.child.alive

    @property
    def ready(self) -> bool:
        """It has said to this line that it is ready and has not died since."""
        return (
            not self._left
            and self.alive
            and self._shared.child.ready
            and self._ready_at == self._shared.child.incarnation
        )

    @property
    def restarts(self) -> int:
        """Starts after the first."""
        return self._shared.child.restarts

    @property
    def exhausted(self) -> bool:
        """It died and will not come back."""
        return self._shared.child.exhausted

    @property
    def exit_code(self) -> int | None:
        """How the last process ended."""
        return self._shared.child.exit_code

    @property
    def limits(self) -> Limits:
        """When it is given up, and when started again: the same for all its lines."""
        return self._shared.child.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._shared.child.limits = limits

    @property
    def command(self) -> list[str]:
        """For trials: the command line before the path of the orders."""
        return self._shared.child.command

    @command.setter
    def command(self, command: list[str]) -> None:
        self._shared.child.command = command

    def start(self, now_ns: int) -> None:
        """Starts the process; the first line that asks does it for all."""
        if not self._shared.child.incarnation:
            self._shared.child.start(now_ns)

    def saw(self, incarnation: int, progress: int, now_ns: int) -> None:
        """As `Child.saw`: the process speaks to each line."""
        self._ready_at = incarnation
        self._shared.child.saw(incarnation, progress, now_ns)

    def tell(self, command: str) -> None:
        """As `Child.tell`; "stop" is this line's own."""
        if command == "stop":
            self.retire()

    def watch(self, now_ns: int) -> bool:
        """As `Child.watch`: True once for each line if a process was found dead."""
        if self._left and not self._last:
            return False
        self._shared.watch(now_ns)
        if self._mourned == len(self._shared.deaths):
            return False
        self._mourned += 1
        return True

    def retire(self) -> None:
        """This line needs the process no more. Idempotent."""
        if not self._left:
            self._left = True
            self._last = self._shared.leave(self)

    def dismiss(self) -> None:
        """The same: the others still need it."""
        self.retire()

    def finish(self, timeout_s: float) -> None:
        """Waits for the end of a process that no line needs any more."""
        self.retire()
        if not self._shared.needed:
            self._shared.child.finish(timeout_s)


#: What judges for a line: a process of its own, or its share of one.
Worker = Child | SeatedWorker
