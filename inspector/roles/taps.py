"""The worker's side of the processes beside the line: which frames it hands over. Nothing waits, and nothing is kept
for later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import zmq

from inspector.domain.archiving import sampled
from inspector.domain.frame import Frame, PixelFormat
from inspector.engines.base import Scored
from inspector.recipe.store import Recipe
from inspector.roles.job import Job
from inspector.wire.archive_socket import ArchiveOutbox
from inspector.wire.messages import FrameHeader


class ArchiveTap:
    """Chooses frames for the archive.

    Args:
        outbox: Where they go.
        threshold: The recipe's.
        pass_ratio: Share of the passed parts that are kept too.
    """

    def __init__(self, outbox: ArchiveOutbox, threshold: float, pass_ratio: float) -> None:
        self.outbox = outbox
        self._threshold = threshold
        self._pass_ratio = pass_ratio

    def wants(self, header: FrameHeader, scored: Scored | None) -> bool:
        """True for a frame that is worth keeping, and that the archive has room for.

        Args:
            header: The frame's.
            scored: What the network says of it; None if it could not say anything.
        """
        if scored is not None and self._passes(header, scored) and not sampled(header.trigger, self._pass_ratio):
            return False
        return self.outbox.has_room()

    def _passes(self, header: FrameHeader, scored: Scored) -> bool:
        return scored.score <= self._threshold and scored.computed_ns <= header.deadline_ns


@dataclass(frozen=True)
class Copied:
    """A frame on its way to processes beside the line.

    Attributes:
        frame: A copy.
        outboxes: Where it goes.
    """

    frame: Frame
    outboxes: tuple[ArchiveOutbox, ...]


class Taps:
    """Frames for the archive process and the shadow process.

    Args:
        archive: Chooses for the archive; None without one.
        shadow: Where every frame with a score goes; None without a shadow.
    """

    def __init__(self, archive: ArchiveTap | None, shadow: ArchiveOutbox | None) -> None:
        from inspector.cameras.bayer import demosaiced  # OpenCV, which a worker without taps need not load

        self._demosaiced = demosaiced
        self._archive = archive
        self._shadow = shadow

    def copy(self, header: FrameHeader, frame: Frame, scored: Scored | None) -> Copied | None:
        """A copy of a frame that somebody wants, to be made before the frame is released.

        Args:
            header: The frame's.
            frame: The frame.
            scored: What the network says of it; None if it could not say anything.
        """
        wanted = []
        if self._archive is not None and self._archive.wants(header, scored):
            wanted.append(self._archive.outbox)
        if self._shadow is not None and scored is not None and self._shadow.has_room():
            wanted.append(self._shadow)
        return Copied(frame.copy(), tuple(wanted)) if wanted else None

    def send(self, header: FrameHeader, copied: Copied) -> None:
        """Hands a copy over, after the gate has its result: as a picture, which people and a second recipe look at."""
        picture = self._demosaiced(copied.frame)
        header = replace(header, pixel_format=PixelFormat.of(picture))
        for outbox in copied.outboxes:
            outbox.frame(header, picture)

    def counts(self) -> dict[str, float]:
        """For the gate's metrics: frames that there was no room for."""
        counts = {}
        if self._archive is not None:
            counts["archive_refused"] = float(self._archive.outbox.refused)
        if self._shadow is not None:
            counts["shadow_refused"] = float(self._shadow.refused)
        return counts

    def close(self) -> None:
        """Closes the sockets. Idempotent."""
        if self._archive is not None:
            self._archive.outbox.close()
        if self._shadow is not None:
            self._shadow.close()


def open_taps(context: zmq.Context[zmq.Socket[bytes]], job: Job, recipe: Recipe) -> Taps | None:
    """The taps that the configuration asks for; None without any."""
    if job.config.archive is None and job.config.shadow is None:
        return None
    archive = shadow = None
    if job.config.archive is not None:
        outbox = ArchiveOutbox.for_frames(context, job.archive_endpoint)
        archive = ArchiveTap(outbox, recipe.manifest.threshold.value, job.config.archive.pass_ratio)
    if job.config.shadow is not None:
        shadow = ArchiveOutbox.for_frames(context, job.shadow_endpoint)
    return Taps(archive, shadow)
