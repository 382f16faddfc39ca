"""How many frames are computed together, and what a batch of another size is filled up to. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """The batch sizes that are prepared: powers of two, and the largest.

    >>> batch_sizes(32), batch_sizes(5)
    ((1, 2, 4, 8, 16, 32), (1, 2, 4, 5))
    """
    powers = [1 << power for power in range(max_batch.bit_length())]
    return tuple(sorted({*(size for size in powers if size <= max_batch), max_batch}))


def padded(frames: int, sizes: Sequence[int]) -> int:
    """The prepared size that a batch is computed at: the smallest that holds it.

    Args:
        frames: In the batch.
        sizes: Prepared sizes in ascending order.

    Raises:
        ValueError: No size holds so many.

    >>> padded(3, (1, 2, 4))
    4
    """
    index = bisect_left(sizes, frames)
    if frames < 1 or index == len(sizes):
        raise ValueError(f"a batch of {frames} frames; the engine takes 1 to {sizes[-1]}")
    return sizes[index]


def frames_in_time(deadlines_ns: Sequence[int], start_ns: int, expected_ns: Callable[[int], int]) -> int:
    """How many of the frames that wait can be computed together without one missing a deadline for it.

    A frame that would miss its deadline even alone holds nobody up.

    Args:
        deadlines_ns: Of the frames in their order, at least one; monotonic time.
        start_ns: When the batch can begin.
        expected_ns: Time that a batch of so many frames takes; must not fall.

    Returns:
        The largest number, at least 1.

    >>> frames_in_time([100, 100, 40], 0, lambda frames: 15 * frames)
    2
    """
    alone_ns = start_ns + expected_ns(1)
    earliest_ns: int | None = None
    chosen = 1
    for frames, deadline_ns in enumerate(deadlines_ns, start=1):
        if deadline_ns >= alone_ns:
            earliest_ns = deadline_ns if earliest_ns is None else min(earliest_ns, deadline_ns)
        if earliest_ns is None or start_ns + expected_ns(frames) <= earliest_ns:
            chosen = frames
    return chosen
