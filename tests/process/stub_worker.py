"""A worker for tests of the transport only: the daemon's own loop, with an engine that knows no network.

Its score is a checksum of all pixels, so that every verdict says which frame it was given on. It is far faster than
a network on a CPU, as one on a GPU would be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
import zmq

from inspector.domain.frame import Pixels
from inspector.engines.base import Scored
from inspector.recipe.store import load_recipe
from inspector.roles.job import Job, run_child
from inspector.roles.lifeline import Lifeline
from inspector.roles.worker import WorkerRole
from inspector.wire.gate_socket import GateOutbox
from inspector.wire.transport import open_receiver


def checksum(pixels: Pixels) -> float:
    """All bytes, read once; a whole number below 2**32."""
    words = pixels.reshape(-1)[: pixels.size // 8 * 8].view(np.uint64)
    whole = int(np.bitwise_xor.reduce(words))
    return float((whole ^ whole >> 32) & 0xFFFFFFFF)


class ChecksumEngine:
    def warm_up(self, frame: Pixels) -> float:
        return checksum(frame)

    def infer(self, frames: Sequence[Pixels]) -> list[Scored]:
        copied_ns = time.monotonic_ns()
        return [Scored(checksum(frame), copied_ns, time.monotonic_ns()) for frame in frames]


def work(job: Job) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    gate = GateOutbox(context, job.gate_endpoint)
    receiver = open_receiver(context, job.frames_endpoint, job.incarnation, job.ring)
    geometry = load_recipe(job.config.recipe).manifest.geometry
    try:
        WorkerRole(job, geometry, ChecksumEngine(), receiver, gate, Lifeline()).run()
    finally:
        receiver.close()
        gate.close()
        context.term()


if __name__ == "__main__":
    sys.exit(run_child("worker", work, sys.argv[1:]))
