"""One child process under the gate: started anew, armed, watched, killed when it hangs, started again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inspector.domain.errors import CameraError, ConfigError, RecipeError
from inspector.domain.restarts import LossRetry, RestartBudget
from inspector.roles.job import Job

log = logging.getLogger("inspector")

#: Exit codes of errors that a new process would meet again.
_HOPELESS = frozenset({ConfigError.exit_code, RecipeError.exit_code})
#: A killed process is gone within so long, a worker that gives back a GPU's memory too.
_DEATH_S = 1.0
# OpenMP threads that spin at the end of every loop take the core that camera process and gate need; on two busy
# cores that makes the network many times slower. The environment may say otherwise.
_QUIET_OPENMP = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Limits:
    """When a child is given up, and when it is started again.

    Attributes:
        budget: When it may be started again.
        start_timeout_ns: A child that is not ready after so long is killed.
        heartbeat_timeout_ns: A ready child without progress for so long is killed.
        retry: When a child that had its camera and lost it is tried again, apart from the budget.
    """

    budget: RestartBudget
    start_timeout_ns: int
    heartbeat_timeout_ns: int
    retry: LossRetry | None = None


class Child:
    """A role's process. Never forked from the gate's state: a new interpreter with its orders in a file.

    Args:
        role: "camera" or "worker", the module under `inspector.roles`.
        make_job: Orders of an incarnation.
        limits: When it is given up, and when started again.
        folder: Private folder for the orders.
        number: Gives the number of the next incarnation; None counts up.
        pass_fds: File descriptors that the child inherits, under the same numbers.
        command: For trials: the command line before the path of the orders.

    Attributes:
        pass_fds: The same, for the next start.
        command: The same, for the next start.
        limits: The same; may be changed at any time.
        incarnation: Number of the present or last process, 1 and up; 0 before the first.
        ready: It has said that it is ready and has not died since.
        restarts: Starts after the first.
        retries: Those of them after the camera was lost, in vain or not.
        exhausted: It died and will not come back: the budget is used up, or starting again can't help.
        exit_code: How the last process ended; negative for a signal, None before the first end.
    """

    def __init__(
        self,
        role: str,
        make_job: Callable[[int], Job],
        limits: Limits,
        folder: Path,
        *,
        number: Callable[[], int] | None = None,
        pass_fds: tuple[int, ...] = (),
        command: list[str] | None = None,
    ) -> None:
        self.role = role
        self.incarnation = 0
        self.ready = False
        self.restarts = 0
        self.retries = 0
        self.exhausted = False
        self.exit_code: int | None = None
        self._make_job = make_job
        self.limits = limits
        self._number = number
        self._retired = False
        self.pass_fds = pass_fds
        self._folder = folder
        self.command = command or [sys.executable, "-m", f"inspector.roles.{role}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._start_due_ns: int | None = None
        self._started_ns = 0
        self._progress = -1
        self._progressed_ns = 0
        self._ready_ns: int | None = None
        self._was_ready = False

    @property
    def ready_ns(self) -> int:
        """Monotonic time at which the present process became ready; 0 before."""
        return self._ready_ns or 0

    @property
    def pid(self) -> int | None:
        """Process id while a process runs."""
        return self._process.pid if self._process is not None else None

    @property
    def alive(self) -> bool:
        """True while a process runs."""
        return self._process is not None

    def start(self, now_ns: int) -> None:
        """Starts a process. Its standard input is the lifeline; it dies with the gate, even by SIGKILL."""
        if self.incarnation:
            self.restarts += 1
            self.retries += self.exit_code == CameraError.exit_code
        self.incarnation = self.incarnation + 1 if self._number is None else self._number()
        self._start_due_ns = None
        orders = self._folder / f"{self.role}-{self.incarnation}.json"
        descriptor = os.open(orders, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self._make_job(self.incarnation).model_dump_json())
        # A session of its own keeps the terminal's Ctrl-C away from it: the gate decides when it stops.
        self._process = subprocess.Popen(
            [*self.command, str(orders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self.pass_fds,
            env=_QUIET_OPENMP | os.environ,
        )
        self.ready = False
        self._ready_ns = None
        self._started_ns = self._progressed_ns = now_ns
        self._progress = -1

    def saw(self, incarnation: int, progress: int, now_ns: int) -> None:
        """Takes up a state message: it is ready, and alive if its loop has moved on."""
        if incarnation != self.incarnation or self._process is None:
            return
        self.ready = self._was_ready = True
        if self._ready_ns is None:
            self._ready_ns = now_ns
        if progress != self._progress:
            self._progress = progress
            self._progressed_ns = now_ns

    def tell(self, command: str) -> None:
        """Writes a command to the lifeline: "arm", "disarm", "stop" or "leave LINE"."""
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:  # it died just now; `watch` will see it
            log.debug("%s: lifeline is broken", self.role)

    def watch(self, now_ns: int) -> bool:
        """Kills a hung process, notices a dead one, starts it again when it may.

        Returns:
            True if a process was found dead: its parts must be settled.
        """
        if self._process is None:
            if self._start_due_ns is not None and now_ns >= self._start_due_ns:
                self.start(now_ns)
            return False
        silent_ns = now_ns - self._progressed_ns
        limit_ns = self.limits.heartbeat_timeout_ns if self.ready else self.limits.start_timeout_ns
        if self._process.poll() is None and silent_ns > limit_ns:
            state = "no progress" if self.ready else "not ready"
            log.error("%s[%d]: %s for %.1f s, killed", self.role, self._process.pid, state, silent_ns / 1e9)
            self.kill(_DEATH_S)
            self._progressed_ns = now_ns  # not again at once if it is stuck in a driver and does not die
        return self._reap(now_ns)

    def _reap(self, now_ns: int) -> bool:
        if self._process is None or self._process.poll() is None:
            return False
        code = self.exit_code = self._process.returncode
        self._close()
        if self._retired:
            self.exhausted = True
            return True
        if code in _HOPELESS:
            self._start_due_ns, end = None, "starting it again would not help"
        elif code == CameraError.exit_code and self._was_ready and self.limits.retry is not None:
            well_ns = now_ns - self._ready_ns if self._ready_ns is not None else 0
            self._start_due_ns, end = self.limits.retry.next_start_ns(now_ns, well_ns=well_ns), "given up"
        else:
            self._start_due_ns, end = self.limits.budget.next_start_ns(now_ns), "restart budget used up"
        self.exhausted = self._start_due_ns is None
        after = end if self.exhausted else "starting again"
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        log.error("%s: process gone (%s), %s", self.role, reason, after)
        return True

    def retire(self) -> None:
        """Asks the process to stop, and starts no other; `watch` tells when it is gone."""
        self._retired = True
        self.tell("stop")

    def dismiss(self) -> None:
        """Ends the process at once, without waiting, and starts no other."""
        self._retired = True
        if self._process is not None:
            self._process.kill()

    def kill(self, patience_s: float) -> None:
        """Ends the process, even a stopped one, and waits for its end. One that is stuck in a driver or a dead disk
        ends later: the line goes on without it.
        """
        if self._process is not None:
            self._process.kill()
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                log.error("%s[%d]: killed, and still there after %.1f s", self.role, self._process.pid, patience_s)

    def finish(self, timeout_s: float) -> None:
        """Asks the process to stop, waits, kills it if it doesn't. Idempotent."""
        if self._process is None:
            return
        self.tell("stop")
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            log.error("%s[%d]: did not stop within %.1f s, killed", self.role, self._process.pid, timeout_s)
            self.kill(timeout_s)
        self._close()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                log.debug("%s: lifeline was broken", self.role)
        self._process = None
        self.ready = False
