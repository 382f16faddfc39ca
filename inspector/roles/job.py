"""What a child process is told at its start: one JSON document, so that it sees the gate's configuration."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from inspector.config.schema import InspectorConfig
from inspector.domain.errors import FatalError
from inspector.outputs.log_format import name_station, start_log
from inspector.wire.ring import RingHandle

log = logging.getLogger("inspector")


class Job(BaseModel):
    """A child's orders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: InspectorConfig
    """The gate's resolved configuration."""
    incarnation: int
    """Number of this process among those of its role in this run, 1 and up."""
    frames_endpoint: str
    """Where frames go."""
    gate_endpoint: str
    """Where messages to the gate go."""
    first_part: int = 0
    """Triggers that earlier camera processes of this run announced."""
    memory: Path | None = None
    """Folder in which a process keeps what the next one of its role in this run must know."""
    ring: RingHandle | None = None
    """Shared memory for frames, by a file descriptor that the process inherits; None sends them as messages."""
    archive_endpoint: str = ""
    """Where frames, verdicts and outlines for the archive go; of no meaning without an archive."""
    shadow_endpoint: str = ""
    """Where frames for the shadow go; of no meaning without one."""
    shadow_hash: str = ""
    """Content hash of the shadow recipe."""
    standby: bool = False
    """For a worker: take frames only when armed, and then in the place of one that is still at work."""
    recipe_hash: str = ""
    """Content hash of the recipe that the gate decides with."""
    further: tuple[Job, ...] = ()
    """For a worker: the orders of further lines that it judges for, with the same settings and incarnation."""

    @property
    def lines(self) -> tuple[Job, ...]:
        """The orders of each line of the process."""
        return (self, *self.further)

    @property
    def lease_ns(self) -> int:
        """After this time a frame is out of the worker's hands: a frame whose deadline is over is not taken up any
        more, and a worker that makes no progress for the heartbeat's limit is killed.
        """
        return round(self.config.line.deadline_ms * 1e6 + self.config.supervision.heartbeat_timeout_s * 1e9)


def run_child(role: str, work: Callable[[Job], None], argv: list[str]) -> int:
    """The `main` of a child process: orders from a file, one log line for an error, an exit code.

    Args:
        role: For the log.
        work: Does the work until it is told to stop.
        argv: The path of the job's JSON file.

    Returns:
        The exit code.
    """
    start_log(role, os.environ, text=f"%(levelname)s {role}[%(process)d]: %(message)s")
    # The gate alone answers the terminal and systemd; a child stops when its lifeline says so.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    path = Path(argv[0])
    job = Job.model_validate_json(path.read_bytes())
    with contextlib.suppress(OSError):
        path.unlink()
    name_station(job.config.station)
    try:
        work(job)
    except FatalError as error:
        log.error("%s", error)
        return error.exit_code
    except Exception:
        log.exception("%s: defect of the program", role)
        return 70
    return 0
