"""The shared memory: sealed, of the announced size, the same in every process, gone with the last of them."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

from inspector.domain.errors import ConfigError, FatalError
from inspector.wire.ring import Ring, RingHandle, close_ring, create_ring


def test_two_mappings_show_the_same_words_and_pixels(ring: RingHandle) -> None:
    one, other = Ring(ring), Ring(ring)
    for column, words in enumerate((one.table.generation, one.table.worker, one.table.leased_ns, one.table.released)):
        for slot in range(ring.slots):
            words[slot] = 2**63 + 100 * column + slot
    seen = (other.table.generation, other.table.worker, other.table.leased_ns, other.table.released)
    assert [list(words) for words in seen] == [  # type: ignore[call-overload]
        [2**63 + 100 * column + slot for slot in range(ring.slots)] for column in range(4)
    ]
    pictures = np.random.default_rng(1).integers(0, 256, (ring.slots, 1000), np.uint8)
    for slot, picture in enumerate(pictures):
        one.slot(slot, 1000)[:] = picture
    assert all(np.array_equal(other.slot(slot, 1000), picture) for slot, picture in enumerate(pictures))
    assert list(other.table.generation) == [2**63 + slot for slot in range(ring.slots)]  # type: ignore[call-overload]


def test_slots_are_whole_pages_side_by_side(ring: RingHandle) -> None:
    mapped = Ring(ring)
    starts = [mapped.slot(slot, ring.slot_bytes).ctypes.data for slot in range(ring.slots)]
    assert set(np.diff(starts)) == {ring.slot_bytes}
    assert all(start % os.sysconf("SC_PAGE_SIZE") == 0 for start in starts)


@pytest.mark.parametrize(("slot", "length_bytes"), [(-1, 1), (8, 1), (0, -1), (0, 10**9)])
def test_what_is_no_part_of_the_ring_is_refused(ring: RingHandle, slot: int, length_bytes: int) -> None:
    with pytest.raises(ValueError, match="slot"):
        Ring(ring).slot(slot, length_bytes)


def test_nobody_can_resize_it(ring: RingHandle) -> None:
    # A process that shrank it would kill every other that touches its pages.
    for size in (0, ring.size_bytes + 4096):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.fd, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(ring.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_memory_is_taken_at_once_or_when_it_is_written_to() -> None:
    now, later = create_ring(4, 1 << 20, allocate=True), create_ring(1000, 64 << 20, allocate=False)
    try:
        assert os.fstat(now.fd).st_blocks * 512 >= now.size_bytes
        Ring(later).slot(999, 1)[:] = 7
        assert 0 < os.fstat(later.fd).st_blocks * 512 < 1 << 22
        assert Ring(later).slot(999, 1)[0] == 7
    finally:
        close_ring(now)
        close_ring(later)


def test_more_than_the_machine_has_is_refused_at_the_start_not_in_the_middle_of_the_shift() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError, match=r"lower line\.queue_frames, or set transport"):
        create_ring(1024, 1 << 32, allocate=True)
    assert set(os.listdir("/proc/self/fd")) == before


def test_address_space_that_is_too_small_for_it_is_told(ring: RingHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(FatalError, match="can't be mapped: Cannot allocate memory"):
        Ring(ring)


def test_other_descriptors_are_refused(ring: RingHandle) -> None:
    read, write = os.pipe()
    try:
        for fd in (read, 10_000):
            with pytest.raises(FatalError):
                Ring(RingHandle(fd, ring.slots, ring.slot_bytes))
        with pytest.raises(FatalError, match="were announced"):
            Ring(RingHandle(ring.fd, ring.slots + 1, ring.slot_bytes))
    finally:
        os.close(read)
        os.close(write)


def test_a_process_that_is_handed_the_descriptor_sees_it_and_another_does_not(ring: RingHandle) -> None:
    Ring(ring).slot(3, 5)[:] = list(b"hello")
    program = (
        "from inspector.wire.ring import Ring, RingHandle\n"
        f"print(bytes(Ring(RingHandle({ring.fd}, {ring.slots}, {ring.slot_bytes})).slot(3, 5)).decode())\n"
    )

    def run(pass_fds: tuple[int, ...]) -> str:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, pass_fds=pass_fds, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    assert run((ring.fd,)) == "hello"
    assert run(()) == ""
