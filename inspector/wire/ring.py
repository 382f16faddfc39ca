"""The frame ring: slots for pixels in memory that camera process and worker share.

The memory is a memfd: it has no name that a killed process could leave behind or a stranger could open, and is
gone with the last process that holds it. The gate makes it and hands it down by its file descriptor; it is sealed
against resizing, so that no process can take mapped pages away from another.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspector.domain.errors import ConfigError, FatalError
from inspector.wire.leases import LeaseTable

#: Words of `LeaseTable`, each in an array of its own before the slots.
_TABLES = 4
_WORD_BYTES = 8


@dataclass(frozen=True)
class RingHandle:
    """What a process needs to map a ring.

    Attributes:
        fd: File descriptor of the memory, the same number in the gate and its children.
        slots: Number of slots.
        slot_bytes: Bytes of a slot, whole pages.
    """

    fd: int
    slots: int
    slot_bytes: int

    @property
    def table_bytes(self) -> int:
        """Bytes before the first slot."""
        return _whole_pages(_TABLES * _WORD_BYTES * self.slots)

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole memory."""
        return self.table_bytes + self.slots * self.slot_bytes


def available() -> bool:
    """True where the system has memfd: Linux."""
    return hasattr(os, "memfd_create")


def create_ring(slots: int, frame_bytes: int, *, allocate: bool) -> RingHandle:
    """Makes the memory of a ring; `close_ring` lets go of it.

    Args:
        slots: Number of slots.
        frame_bytes: Largest frame that a slot takes.
        allocate: Take all memory now, so that none can be missing later. Otherwise a page is taken when it is
            first written to.

    Raises:
        ConfigError: There is no memfd, or not enough memory.
    """
    if sys.platform != "linux":
        raise ConfigError("transport: shared_memory needs Linux; set transport: zeromq")
    try:
        fd = os.memfd_create("inspector-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise ConfigError(
            f"transport: no shared memory can be had ({error.strerror}); allow memfd_create, or set transport: zeromq"
        ) from error
    handle = RingHandle(fd, slots, _whole_pages(frame_bytes))
    try:
        os.ftruncate(fd, handle.size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        if allocate:
            _allocate(handle)
    except OSError as error:
        os.close(fd)
        raise ConfigError(
            f"transport: {slots} slots of {frame_bytes / 1e6:.1f} MB can't be had: {error.strerror}; lower "
            "line.queue_frames, or set transport: zeromq"
        ) from error
    return handle


def _allocate(handle: RingHandle) -> None:
    # The kernel would rather kill a process than refuse it memory: what can't be is refused here.
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if handle.size_bytes > memory_bytes // 2:
        raise OSError(errno.ENOMEM, f"half of the machine's memory is {memory_bytes / 2e9:.1f} GB")
    os.posix_fallocate(handle.fd, 0, handle.size_bytes)


def close_ring(handle: RingHandle) -> None:
    """Lets go of the memory; processes that have mapped it keep it."""
    os.close(handle.fd)


class Ring:
    """A ring as one process has it mapped; it stays mapped for as long as anything made from it is held.

    Args:
        handle: Of `create_ring`, in this process or the one that started it.

    Attributes:
        slots: Number of slots.
        slot_bytes: Bytes of a slot.
        table: Who may touch which slot.
        pixels: uint8, the memory of all slots.
        allocated: True if all of it is there; otherwise its pages come with the frames, far fewer than it spans.

    Raises:
        FatalError: The descriptor is not that of a ring of this size.
    """

    def __init__(self, handle: RingHandle) -> None:
        try:
            found = os.fstat(handle.fd)
            sealed = fcntl.fcntl(handle.fd, fcntl.F_GET_SEALS)
        except OSError as error:
            raise FatalError(f"the frame ring can't be mapped: {error.strerror}") from error
        if found.st_size != handle.size_bytes or not sealed & fcntl.F_SEAL_SHRINK:
            raise FatalError(f"the frame ring has {found.st_size} bytes, {handle.size_bytes} were announced")
        self.slots = handle.slots
        self.slot_bytes = handle.slot_bytes
        self.allocated = found.st_blocks * 512 >= found.st_size
        flags = mmap.MAP_SHARED | (mmap.MAP_POPULATE if self.allocated else 0)  # no page fault when frames come
        try:
            memory = mmap.mmap(handle.fd, handle.size_bytes, flags=flags)
        except OSError as error:
            raise FatalError(f"the frame ring can't be mapped: {error.strerror}") from error
        words = memoryview(memory)[: _TABLES * _WORD_BYTES * self.slots].cast("Q")
        self.table = LeaseTable(*(words[column * self.slots : (column + 1) * self.slots] for column in range(_TABLES)))
        self.pixels: NDArray[np.uint8] = np.frombuffer(memory, np.uint8, offset=handle.table_bytes)

    def slot(self, number: int, length_bytes: int) -> NDArray[np.uint8]:
        """The first bytes of a slot: uint8, (length_bytes,), a view.

        Raises:
            ValueError: There is no such slot, or it is smaller.
        """
        if not (0 <= number < self.slots and 0 <= length_bytes <= self.slot_bytes):
            raise ValueError(f"slot {number} with {length_bytes} bytes")
        start = number * self.slot_bytes
        return self.pixels[start : start + length_bytes]


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
