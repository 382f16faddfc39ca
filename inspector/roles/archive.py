"""The archive process: brings frames and verdicts together and writes them down, at the lowest priority.

No verdict waits for it. The worker and the gate hand over what it has room for and go on; when it dies, hangs or finds
the disk full, entries are lost and counted, and the gate starts it again.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from collections.abc import Callable

import zmq

from inspector.config.schema import Archive
from inspector.domain.archiving import Pairing
from inspector.domain.errors import FatalError
from inspector.domain.frame import Pixels
from inspector.outputs.archive import ArchiveFolder
from inspector.recipe.store import load_recipe
from inspector.roles.archive_writer import ArchiveWriter, DrawMap
from inspector.roles.heartbeat import Heartbeat
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.roles.priority import step_back
from inspector.wire.archive_socket import ArchivedFrame, ArchivedOutlines, ArchiveInbox
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.messages import State

log = logging.getLogger("inspector")

_TURN_MS = 50
_MESSAGES = 64
#: A frame's verdict is given by its deadline; then it has so long to arrive, and the frame too.
_PATIENCE_NS = 5_000_000_000
#: Verdicts that may wait for their frame; many never get one.
_VERDICTS = 1000
#: Told to stop, it waits such a share of the daemon's time to stop for verdicts of its frames, and again for the disk.
_LAST_SHARE = 0.1


class ArchiveRole:
    """One turn after the other: lifeline, messages, pairs to the writer, heartbeat.

    Args:
        job: The orders, with an archive.
        settings: The archive of the configuration.
        inbox: Frames, verdicts and outlines.
        gate: Where states go.
        writer: Takes the pairs; started.
        lifeline: The gate's commands.
        clock_ns: Monotonic clock.
    """

    def __init__(
        self,
        job: Job,
        settings: Archive,
        inbox: ArchiveInbox,
        gate: GateOutbox,
        writer: ArchiveWriter,
        lifeline: Lifeline,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._incarnation = job.incarnation
        self._inbox = inbox
        self._gate = gate
        self._writer = writer
        self._lifeline = lifeline
        self._clock_ns = clock_ns
        patience_ns = round(job.config.line.deadline_ms * 1e6) + _PATIENCE_NS
        self._pairs: Pairing[Pixels] = Pairing(patience_ns, settings.queue_frames, _VERDICTS)
        self._last_s = _LAST_SHARE * job.config.supervision.stop_timeout_s
        self._heart = Heartbeat(self._report, clock_ns)

    def run(self) -> None:
        """Works until the lifeline says stop, then for a moment longer: the last verdicts are on their way."""
        poller = zmq.Poller()
        poller.register(self._inbox.socket, zmq.POLLIN)
        poller.register(self._lifeline.fd, zmq.POLLIN)
        self._heart.say("ready")
        while not self._lifeline.stopping:
            poller.poll(_TURN_MS)
            self._lifeline.take()
            self._turn()
        poller.unregister(self._lifeline.fd)
        until_ns = self._clock_ns() + round(self._last_s * 1e9)
        while self._clock_ns() < until_ns and (poller.poll(_TURN_MS) or self._pairs.waiting):
            self._turn()
        self._writer.stop(self._last_s)
        self._heart.say("stopped")

    def _turn(self) -> None:
        now_ns = self._clock_ns()
        for message in self._inbox.messages(_MESSAGES):
            if isinstance(message, ArchivedOutlines):
                self._writer.outline(message)
                continue
            if isinstance(message, ArchivedFrame):
                pair = self._pairs.frame(message.header.trigger, message.pixels, now_ns)
            else:
                pair = self._pairs.verdict(message, now_ns)
            if pair is not None:
                self._writer.offer(*pair)
        self._pairs.expire(now_ns)
        self._heart.turn()

    def _report(self, state: str, turns: int) -> None:
        counts = {"malformed": self._inbox.malformed, "unmatched": self._pairs.unmatched, **self._writer.counts()}
        self._gate.send(State("archive", self._incarnation, state, progress=turns, details=counts))


def create_writer(job: Job, settings: Archive) -> ArchiveWriter:
    """The writer that the configuration asks for, not started yet."""

    def open_folder() -> ArchiveFolder:
        return ArchiveFolder(
            settings.folder,
            quota_bytes=settings.quota_bytes,
            quota_s=settings.quota_days * 86400,
            suffix=f".{settings.format}",
        )

    load_drawer = functools.partial(_map_drawer, job) if settings.heatmaps else None
    return ArchiveWriter(open_folder, settings.queue_frames, load_drawer)


def _map_drawer(job: Job) -> DrawMap | None:
    """Without it entries are kept all the same."""
    from inspector.roles.anomaly_picture import map_drawer  # torch, for those who ask for maps

    try:
        return map_drawer(load_recipe(job.config.recipe))
    except FatalError as error:
        log.error("archive: no anomaly maps: %s", error)
        return None


def work(job: Job) -> None:
    """Runs the archive process until it is told to stop."""
    settings = job.config.archive
    assert settings is not None
    step_back()
    writer = create_writer(job, settings)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    inbox = ArchiveInbox(context, job.archive_endpoint)
    gate = GateOutbox(context, job.gate_endpoint)
    try:
        writer.start()
        ArchiveRole(job, settings, inbox, gate, writer, Lifeline()).run()
    finally:
        inbox.close()
        gate.close()
        context.term()


if __name__ == "__main__":
    sys.exit(run_child("archive", work, sys.argv[1:]))
