"""Which set of buffers a batch occupies while it is on its way through the device. Pure."""

from __future__ import annotations


class Flights:
    """Gives out sets of buffers, each to one batch at a time.

    A set is a batch's from `begin`, before its first byte is written, to `end`, after its scores were read. In between
    nobody else writes to it, so copies and computations of different batches may overlap.

    Args:
        sets: Number of sets.

    >>> flights = Flights(2)
    >>> flights.begin(), flights.begin()
    (0, 1)
    >>> flights.end(0)
    >>> flights.begin()
    0
    """

    def __init__(self, sets: int) -> None:
        self._free = list(range(sets))
        self._busy: set[int] = set()

    @property
    def busy(self) -> int:
        """Sets in use."""
        return len(self._busy)

    def begin(self) -> int:
        """A set for a batch: the one that has been free for longest.

        Raises:
            ValueError: All sets are in use; a batch must be collected first.
        """
        if not self._free:
            raise ValueError(f"{len(self._busy)} batches are on their way already; collect one first")
        chosen = self._free.pop(0)
        self._busy.add(chosen)
        return chosen

    def end(self, index: int) -> None:
        """The batch that had the set is done with it.

        Raises:
            ValueError: The set is in nobody's use.
        """
        if index not in self._busy:
            raise ValueError(f"set {index} is in nobody's use: its batch was collected before")
        self._busy.remove(index)
        self._free.append(index)
