"""Frames through the ring: pixels in shared memory, and a small message that says where.

The messages, credits and restarts are those of the ZeroMQ transport; a frame that no slot can take goes its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import zmq

from inspector.domain.frame import Pixels
from inspector.domain.verdict import Cause
from inspector.wire.frames import ReceivedFrame, ZeromqReceiver, ZeromqSender
from inspector.wire.leases import LeaseTable, SlotLeases
from inspector.wire.messages import FrameHeader, Kind, SlotFrame, kind_of
from inspector.wire.ring import Ring


class RingSender(ZeromqSender):
    """The camera process's end.

    Args:
        context: ZeroMQ context.
        endpoint: Bound here.
        ring: The shared memory.
        lease_ns: Longest time that a live worker takes from the frame's leaving to its release.
        clock_ns: Monotonic clock, that of the former camera processes of the run.

    Attributes:
        written: Frames sent through a slot. `sent` counts those too large for one, or for which none was free.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str,
        ring: Ring,
        lease_ns: int,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(context, endpoint)
        self._ring = ring
        self._leases = SlotLeases(ring.table, lease_ns)
        self._clock_ns = clock_ns
        self.written = 0

    def counts(self) -> dict[str, float]:
        """As `FrameSender.counts`."""
        return {
            **super().counts(),
            "slots_in_use": self._leases.in_use,
            "expired_leases": self._leases.expired,
            "frames_by_slot": self.written,
        }

    def allocate(self, shape: tuple[int, ...]) -> Pixels:
        """Memory for a frame, a slot where one is free; it is given back where the frame is dropped unsent."""
        slot = self._leases.begin(self._clock_ns()) if 0 < prod(shape) <= self._ring.slot_bytes else None
        if slot is None:
            return super().allocate(shape)
        return np.asarray(_Claim(self._ring, self._leases, slot, shape))

    def send(self, worker: int, header: FrameHeader, pixels: Pixels) -> Cause | None:
        """As `FrameSender.send`; pixels that lie in their slot already are not copied."""
        slot = _claimed_slot(pixels)
        if slot is None:
            slot = self._copy_in(pixels)
        if slot is None:
            return super().send(worker, header, pixels)
        generation = self._leases.commit(slot, worker, self._clock_ns())
        refusal = self._deliver(worker, SlotFrame(slot, generation, header).encode())
        if refusal is None:
            self.written += 1
        else:
            self._leases.abandon(slot)
        return refusal

    def _copy_in(self, pixels: Pixels) -> int | None:
        """The slot that has a copy of the pixels now; None if there is none for them."""
        if pixels.nbytes > self._ring.slot_bytes:
            return None
        slot = self._leases.begin(self._clock_ns())
        if slot is not None:
            np.copyto(self._ring.slot(slot, pixels.nbytes), pixels.reshape(-1))
        return slot

    def _forget_former(self, worker: int) -> None:
        self._leases.end_former(worker)


class _Claim:
    """A slot that a camera writes to; the arrays made of it keep it, and it gives the slot back with the last."""

    def __init__(self, ring: Ring, leases: SlotLeases, slot: int, shape: tuple[int, ...]) -> None:
        self._memory = ring.slot(slot, prod(shape))
        self._leases = leases
        self._slot: int | None = slot
        interface = self._memory.__array_interface__
        self.__array_interface__: dict[str, Any] = {**interface, "shape": shape, "strides": None}

    def take(self) -> int | None:
        """The slot, once: whoever has it answers for it."""
        slot, self._slot = self._slot, None
        return slot

    def __del__(self) -> None:
        slot = self.take()
        if slot is not None:
            self._leases.abandon(slot)


def _claimed_slot(pixels: Pixels) -> int | None:
    """The slot that the pixels fill from its start; None if they lie elsewhere."""
    claim: object = pixels
    while isinstance(claim, np.ndarray):
        claim = claim.base
    if not isinstance(claim, _Claim) or not pixels.flags.c_contiguous:
        return None
    if pixels.__array_interface__["data"][0] != claim.__array_interface__["data"][0]:
        return None
    return claim.take()


@dataclass(frozen=True)
class _SlottedFrame(ReceivedFrame):
    """A frame that lies in a slot."""

    slot: int = 0
    generation: int = 0
    table: LeaseTable | None = None

    def release(self) -> bool:
        return self.table is not None and self.table.release(self.slot, self.generation)


class RingReceiver(ZeromqReceiver):
    """The worker's end.

    Args:
        context: ZeroMQ context.
        endpoint: Of the camera process.
        worker: This worker's incarnation, 1 and up.
        ring: The shared memory.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, worker: int, ring: Ring) -> None:
        super().__init__(context, endpoint, worker)
        self._ring = ring

    @property
    def memory(self) -> Pixels | None:
        """As `FrameReceiver.memory`: all slots of the ring, if they are as large as a frame and not as any could be."""
        return self._ring.pixels if self._ring.allocated else None

    def _unpack(self, parts: list[memoryview]) -> ReceivedFrame:
        if kind_of(parts[0]) is not Kind.SLOT:
            return super()._unpack(parts)
        frame = SlotFrame.decode(parts[0])
        header, slot, table = frame.header, frame.slot, self._ring.table
        length_bytes = header.pixel_bytes
        if len(parts) != 1 or slot >= self._ring.slots or not 0 < length_bytes <= self._ring.slot_bytes:
            return ReceivedFrame(header, None)
        if not table.intact(slot, frame.generation):
            return ReceivedFrame(header, None, Cause.FRAME_OVERWRITTEN)
        pixels = header.frame(self._ring.slot(slot, length_bytes))
        return _SlottedFrame(header, pixels, slot=slot, generation=frame.generation, table=table)
