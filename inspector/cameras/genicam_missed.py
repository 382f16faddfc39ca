"""Triggers that a GenICam camera could not take: it was exposing or reading out, and only its counter tells of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from inspector.cameras.genicam_features import Access, Kind, suggestion
from inspector.config.cameras import MissedTriggers
from inspector.domain.errors import CameraError

log = logging.getLogger("inspector")

#: More than this between two looks is no train of pulses: the node counts something else.
JUMP = 1 << 15


def growth(last: int, now: int, largest: int) -> int:
    """How far a counter went between two looks.

    Args:
        last: What it said before.
        now: What it says.
        largest: The largest value it can have; the next one is 0.

    Returns:
        Counts, 0 and up. A counter that was set to 0 meanwhile has counted what it says.

    >>> growth(7, 9, 65535), growth(65534, 1, 65535), growth(7, 2, 65535)
    (2, 3, 2)
    """
    step = now - last
    if step >= 0:
        return step
    wrapped = step + largest + 1
    return wrapped if 0 <= wrapped < JUMP else now


class Reconciled:
    """Parts from two witnesses of the same missed triggers: the camera's counter, and the ids that it left out.

    What the counter told first is taken off the next gap in the ids, and the other way round. The counter knows of a
    missed trigger before its gap is seen, so what it does not explain of the gaps before a look was lost on the way,
    and explains nothing later.
    """

    def __init__(self) -> None:
        self._told = 0  # by the counter, their gap not met yet
        self._gaps = 0  # met since the last look at the counter

    def counted(self, missed: int) -> int:
        """The counter went so far; how many of them are new parts."""
        new = max(0, missed - self._gaps)
        self._gaps = 0
        self._told += new
        return new

    def left_out(self, gap: int) -> int:
        """So many ids were left out before a frame; how many of them are new parts."""
        new = max(0, gap - self._told)
        self._told -= gap - new
        self._gaps += new
        return new

    def ids_say_nothing(self) -> None:
        """The ids begin, or begin anew: a gap that was waited for will not be met, and must not hide another one."""
        self._told = 0


class MissedTriggerCounter:
    """The counter of an open camera, read so often while it is at work.

    Args:
        node_map: The remote device's node map, its features written.
        name: Name of the node.
        config: How often to read it.
        clock_ns: Monotonic clock.

    Raises:
        CameraError: The camera has no such node, or it holds no whole number that can be read.
    """

    def __init__(self, node_map: Any, name: str, config: MissedTriggers, clock_ns: Callable[[], int]) -> None:
        self.reconciled = Reconciled() if config.skip_ids else None
        self._name = name
        self._check_ns = round(config.check_s * 1e9)
        self._clock_ns = clock_ns
        self._last = 0
        self._read_ns = 0
        place = "camera.missed_triggers.node:"
        if not node_map.has_node(name):
            raise CameraError(f"{place} the camera has no node {name}{suggestion(name, node_map.nodes)}")
        self._node = node_map.get_node(name)
        kind, access = self._node.node.principal_interface_type, self._node.get_access_mode()
        if kind != Kind.INTEGER or access not in (Access.READ_ONLY, Access.READ_WRITE):
            raise CameraError(f"{place} {name} holds no whole number that can be read; name a counter")
        self._largest = int(self._node.max)
        selectors = [node_map.get_node(one.node.name) for one in self._node.node.selecting_features]
        places = ", ".join(f"{one.node.name} {one.value}" for one in selectors)
        log.info("missed triggers are counted by %s%s", name, f" of {places}" if places else "")

    def start(self) -> None:
        """To be called before the acquisition starts: what the counter says now was before the first part."""
        self._last = self._read()
        self._read_ns = self._clock_ns()

    def running(self) -> None:
        """The acquisition has started: a camera may set its counters to 0 with it."""
        if self._read() < self._last:
            self._last = 0

    def due(self, *, idle: bool) -> bool:
        """True where it is time to read: at once while no frame waits, and a little later in any case."""
        return self._clock_ns() - self._read_ns >= (self._check_ns if idle else 2 * self._check_ns)

    def look(self) -> int:
        """Reads the counter.

        Returns:
            Triggers that were missed since the last look and that no gap in the ids has told.

        Raises:
            CameraError: It jumped, so that it counts something else.
            Exception: One of `GENICAM_ERRORS` where the camera does not answer.
        """
        last, self._last = self._last, self._read()
        self._read_ns = self._clock_ns()
        missed = growth(last, self._last, self._largest)
        if missed >= JUMP:
            raise CameraError(
                f"camera.missed_triggers.node: {self._name} went from {last} to {self._last}, which no pulses do; name "
                "the node in which the camera counts missed triggers, and mind its selector"
            )
        if missed and self._last == self._largest:
            log.warning("%s has reached its end, %d; unless it begins anew it counts no more", self._name, self._last)
        return missed if self.reconciled is None else self.reconciled.counted(missed)

    def _read(self) -> int:
        return int(self._node.get_value(ignore_cache=True))
