"""The worker's side of the archive: which frames it hands over. Nothing waits, and nothing is kept for later."""

from __future__ import annotations

import zmq

from inspector.domain.archiving import sampled
from inspector.domain.frame import Pixels
from inspector.engines.base import Scored
from inspector.recipe.store import Recipe
from inspector.roles.job import Job
from inspector.wire.archive_socket import ArchiveOutbox
from inspector.wire.messages import FrameHeader


class ArchiveTap:
    """Frames for the archive process.

    Args:
        outbox: Where they go.
        threshold: The recipe's.
        pass_ratio: Share of the passed parts that are kept too.
    """

    def __init__(self, outbox: ArchiveOutbox, threshold: float, pass_ratio: float) -> None:
        self._outbox = outbox
        self._threshold = threshold
        self._pass_ratio = pass_ratio

    def copy(self, header: FrameHeader, pixels: Pixels, scored: Scored | None) -> Pixels | None:
        """A copy of a frame that is worth keeping, to be made before the frame is released.

        Args:
            header: The frame's.
            pixels: The frame.
            scored: What the network says of it; None if it could not say anything.

        Returns:
            The copy; None for a frame that is not kept, or that the archive has no room for.
        """
        if scored is not None and self._passes(header, scored) and not sampled(header.trigger, self._pass_ratio):
            return None
        return pixels.copy() if self._outbox.has_room() else None

    def _passes(self, header: FrameHeader, scored: Scored) -> bool:
        return scored.score <= self._threshold and scored.computed_ns <= header.deadline_ns

    def send(self, header: FrameHeader, copied: Pixels) -> None:
        """Hands a copy over, after the gate has its result."""
        self._outbox.frame(header, copied)

    def counts(self) -> dict[str, float]:
        """For the gate's metrics."""
        return {"archive_refused": self._outbox.refused}

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        self._outbox.close()


def open_tap(context: zmq.Context[zmq.Socket[bytes]], job: Job, recipe: Recipe) -> ArchiveTap | None:
    """The tap that the configuration asks for; None without an archive."""
    if job.config.archive is None:
        return None
    outbox = ArchiveOutbox.for_frames(context, job.archive_endpoint)
    return ArchiveTap(outbox, recipe.manifest.threshold.value, job.config.archive.pass_ratio)
