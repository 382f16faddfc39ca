"""Triggers that a GenICam camera could not take, from a count of the line's pulses that comes with each frame."""

from __future__ import annotations

import logging
from typing import Any

from inspector.cameras.genicam_features import Kind, suggestion
from inspector.cameras.genicam_missed import JUMP, growth
from inspector.domain.errors import CameraError

log = logging.getLogger("inspector")

#: Counters have 32 bits, also where the chunk that carries them has more.
_LARGEST = (1 << 32) - 1
#: So many frames may have been triggered by pulses that were counted before, or come without a count.
_TOLERATED = 32


class PulseCounter:
    """Compares the pulses that a camera counted with its frames, at each frame that brings the count.

    Each pulse makes a frame or is missed. So between two frames the count goes on by the frames of that time, lost
    ones included, and by the missed triggers. The first frame says where the count begins.

    A camera that keeps a pulse while it is at work may count it with the frame before. It is told as missed then, and
    stands for the next trigger that is, so that such parts too many do not add up.

    Args:
        node_map: The remote device's node map, its features written.
        chunk: Name of the chunk's node.

    Attributes:
        chunk: The same.

    Raises:
        CameraError: The camera has no such node, it holds no whole number, or chunks are off.
    """

    def __init__(self, node_map: Any, chunk: str) -> None:
        self.chunk = chunk
        place = "camera.missed_triggers.chunk:"
        if not node_map.has_node(chunk):
            raise CameraError(f"{place} the camera has no node {chunk}{suggestion(chunk, node_map.nodes)}")
        self._node = node_map.get_node(chunk)
        if self._node.node.principal_interface_type != Kind.INTEGER:
            raise CameraError(f"{place} {chunk} holds no whole number; name the chunk of a counter")
        if not (node_map.has_node("ChunkModeActive") and node_map.get_node("ChunkModeActive").value):
            raise CameraError(f"{place} frames bring no chunks; set ChunkModeActive to true under camera.features")
        self._last: int | None = None
        self._frames = 0  # since the last count
        self._ahead = 0  # frames beyond the pulses
        self._without = 0
        log.info("missed triggers are told by %s, which is to count the pulses of the line", chunk)

    def missed(self, count: int | None, frames: int) -> int:
        """A frame has come.

        Args:
            count: Pulses as its chunk has them; None where it brings none.
            frames: Frames since the former one: this one, and those that were lost or incomplete.

        Returns:
            Triggers missed before this frame. Those before a frame without a count are told by the next one with it.

        Raises:
            CameraError: Frames bring no count, or it counts something else.
        """
        self._frames += frames
        if count is None:
            self._without += 1
            if self._without > _TOLERATED:
                raise CameraError(
                    f"camera.missed_triggers.chunk: frames bring no {self.chunk}; choose it with ChunkSelector and set "
                    "ChunkEnable to true under camera.features"
                )
            return 0
        last, self._last = self._last, count
        frames, self._frames, self._without = self._frames, 0, 0
        if last is None:
            return 0
        pulses = growth(last, count, min(int(self._node.max), _LARGEST))
        if pulses >= JUMP:
            raise self._counts_something_else(f"went from {last} to {count}")
        self._ahead += frames - pulses
        if self._ahead > _TOLERATED:
            raise self._counts_something_else(f"counted {self._ahead} pulses too few for the frames")
        missed = max(0, -self._ahead)
        self._ahead += missed
        return missed

    def _counts_something_else(self, why: str) -> CameraError:
        return CameraError(
            f"camera.missed_triggers.chunk: {self.chunk} {why}, which the trigger's pulses do not; set the counter's "
            "CounterEventSource and CounterEventActivation as TriggerSource and TriggerActivation, and mind the "
            "selectors of counter and chunk"
        )
