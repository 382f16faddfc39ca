"""A child that lost its device is tried for as long as is configured; one that fails otherwise only a few times."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inspector.domain.restarts import LossRetry, RestartBudget
from inspector.roles.child import Child, Limits


class Bench:
    """A child whose processes end at once with a code, and a clock."""

    def __init__(self, folder: Path, code: int, give_up_ns: int | None) -> None:
        self.now_ns = 0
        self.child = Child(
            "camera",
            lambda incarnation: SimpleNamespace(model_dump_json=lambda: "{}"),  # type: ignore[arg-type,return-value]
            Limits(
                RestartBudget(restarts=2, window_ns=1_000_000, pause_ns=10),
                start_timeout_ns=10**12,
                heartbeat_timeout_ns=10**12,
                retry=LossRetry(give_up_ns, longest_pause_ns=1000, pause_ns=10),
            ),
            folder,
            command=[sys.executable, "-S", "-c", f"raise SystemExit({code})"],
        )
        self.child.start(0)

    def live(self, *, ready: bool) -> None:
        """The process begins, says that it is ready or not, and ends; the next one is due."""
        process: Any = self.child._process
        if ready:
            self.child.saw(self.child.incarnation, 1, self.now_ns)
        process.wait(60)
        assert self.child.watch(self.now_ns)
        self.now_ns += 2000
        self.child.watch(self.now_ns)


def test_lost_camera_is_tried_beyond_the_restart_budget(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 69, None)
    bench.live(ready=True)
    for _ in range(5):  # it is still unplugged: these never become ready
        bench.live(ready=False)
        assert not bench.child.exhausted
    assert bench.child.incarnation == 7
    bench.child.finish(60)


def test_lost_camera_is_given_up_after_the_configured_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path, 69, 3000)
    bench.live(ready=True)
    bench.live(ready=False)
    bench.live(ready=False)
    assert bench.child.exhausted
    assert bench.child.exit_code == 69
    assert "process gone (exit code 69), given up" in caplog.text


@pytest.mark.parametrize(("code", "ready"), [(69, False), (70, True)])
def test_camera_that_never_was_there_or_a_defect_has_the_budget_only(tmp_path: Path, code: int, ready: bool) -> None:
    bench = Bench(tmp_path, code, None)
    for _ in range(3):
        bench.live(ready=ready)
    assert bench.child.exhausted
    assert bench.child.incarnation == 3


class Stuck:
    """A process in a system call that does not come back: a dead network drive, a driver. It takes no signal."""

    pid = 4711
    stdin = None

    def __init__(self) -> None:
        self.kills = 0
        self.returncode: int | None = None

    def kill(self) -> None:
        self.kills += 1

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            raise subprocess.TimeoutExpired("stuck", timeout)
        return self.returncode


def test_a_process_that_can_not_be_killed_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # The gate waited for its end without a limit, and every other part waited with it.
    bench = Bench(tmp_path, 0, None)
    process: Any = bench.child._process
    process.wait(60)
    process.stdin.close()
    stuck: Any = Stuck()
    bench.child._process = stuck
    bench.child.limits = replace(bench.child.limits, heartbeat_timeout_ns=1000, start_timeout_ns=1000)
    assert not bench.child.watch(1001)
    for now_ns in range(1002, 1100):
        assert not bench.child.watch(now_ns)
    assert stuck.kills == 1
    assert "killed, and still there" in caplog.text
    stuck.returncode = -9
    assert bench.child.watch(1100)
    assert bench.child.exit_code == -9
    bench.child.finish(60)
