"""Who may touch which slot of the frame ring. Pure: words in, words out; no memory is mapped here.

A slot has four words of 64 bits, each written by one side only, so that no lock is needed that a killed process
could hold. A message names a slot only after all of it was written. All zero is a ring that nobody has used. The
table outlives the processes: a new camera process reads from it which slots the worker still holds.

========== ========= ===============================================================================
word       writer    meaning
========== ========= ===============================================================================
generation camera    odd while pixels are written, even when they are complete; only grows
worker     camera    incarnation of the worker that they are leased to, 0 for nobody
leased_ns  camera    monotonic time of the lease
released   worker    the generation that the worker has done with
========== ========= ===============================================================================

A lease ends when the worker releases its generation, when the worker is gone, or after a time in which a live
worker would long have answered. Its slot may then be written again; a reader that comes late finds another
generation and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Words(Protocol):
    """Words of 64 bits, one for each slot."""

    def __len__(self) -> int:
        """Number of slots."""

    def __getitem__(self, slot: int, /) -> int:
        """The word of a slot."""

    def __setitem__(self, slot: int, word: int, /) -> None:
        """Writes the word of a slot, whole."""


@dataclass(frozen=True)
class LeaseTable:
    """The words of all slots, as the module describes them.

    Attributes:
        generation: Of the pixels.
        worker: Who may read them.
        leased_ns: Since when.
        released: Which generation was read.
    """

    generation: Words
    worker: Words
    leased_ns: Words
    released: Words

    def intact(self, slot: int, generation: int) -> bool:
        """True while the slot holds the pixels of this generation."""
        return 0 <= slot < len(self.generation) and self.generation[slot] == generation

    def release(self, slot: int, generation: int) -> bool:
        """The worker has done with the pixels; the slot may be written again.

        Returns:
            True if they were those of this generation until now.
        """
        if not self.intact(slot, generation):
            return False  # the slot is another frame's by now
        self.released[slot] = generation
        return True


class SlotLeases:
    """The camera process's side: gives out slots to write to and takes them back.

    Made anew over the table of a former process, it goes on with that process's leases; a slot that was being
    written when it died is free.

    Args:
        table: The words.
        lease_ns: A lease that lasts so long is ended: longer than a worker that is alive may take.

    Attributes:
        expired: Leases that were ended by their time.
    """

    def __init__(self, table: LeaseTable, lease_ns: int) -> None:
        self._table = table
        self._lease_ns = lease_ns
        self._writing: set[int] = set()
        self.expired = 0

    def begin(self, now_ns: int) -> int | None:
        """A free slot, from now on this process's to write to; None if there is none.

        The lowest is taken: few slots then do most of the work, and stay in the processor's caches.
        """
        table = self._table
        for slot in range(len(table.generation)):
            if slot in self._writing:
                continue
            if self._leased(slot):
                if now_ns - table.leased_ns[slot] < self._lease_ns:
                    continue
                self.expired += 1
            table.generation[slot] = (table.generation[slot] + 1) | 1
            self._writing.add(slot)
            return slot
        return None

    def commit(self, slot: int, worker: int, now_ns: int) -> int:
        """The pixels are complete and leased to a worker.

        Returns:
            Their generation.
        """
        table = self._table
        self._writing.remove(slot)
        table.worker[slot] = worker
        table.leased_ns[slot] = now_ns
        generation = table.generation[slot] + 1
        table.generation[slot] = generation  # last: a process that dies before it has written nothing
        return generation

    def abandon(self, slot: int) -> None:
        """Takes a slot back that is being written, or whose frame could not be sent."""
        self._writing.discard(slot)
        self._table.worker[slot] = 0

    def end_former(self, worker: int) -> None:
        """Ends the leases of all workers before this one: it runs because they are gone."""
        for slot in range(len(self._table.worker)):
            if 0 < self._table.worker[slot] < worker:
                self._table.worker[slot] = 0

    @property
    def in_use(self) -> int:
        """Slots that are being written or leased."""
        return sum(slot in self._writing or self._leased(slot) for slot in range(len(self._table.generation)))

    def _leased(self, slot: int) -> bool:
        table = self._table
        generation = table.generation[slot]
        return generation % 2 == 0 and table.worker[slot] != 0 and table.released[slot] != generation
