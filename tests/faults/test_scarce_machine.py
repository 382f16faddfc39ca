"""Other programs take the processor, or memory runs out: late is a reject, nothing is lost, and it comes back."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ..process.conftest import Daemon, StartDaemon, wait_for
from ..recovery import Recovered

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 60, "width_px": 64, "height_px": 64}


@contextlib.contextmanager
def programs(code: str, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Python programs beside the line."""
    # In sessions of their own, as the line's processes are: Linux may share the processor by session first.
    command = [sys.executable, "-S", "-c", code]
    running = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield running
    finally:
        for program in running:
            program.kill()
        for program in running:
            program.wait()


def test_a_processor_hog_makes_late_parts_rejects_and_loses_none(start: StartDaemon, recovered: Recovered) -> None:
    daemon = start(
        camera=CONVEYOR,
        line={"deadline_ms": 60, "queue_frames": 8},
        supervision={"heartbeat_timeout_s": 60},  # starved is not hung
    )
    wait_for(lambda: judged(daemon) > 10, f"verdicts in peace\n{daemon.errors()}")
    begun_ns = time.monotonic_ns()
    hard = {"deadline_missed", "expired_in_queue", "queue_full"}

    def since() -> list[dict[str, Any]]:
        return [record for record in daemon.records() if record["triggered_ns"] > begun_ns]

    # Shared fairly among so many, the worker's part of the processor is too small for the rate.
    with programs("while True: pass", 8 * (os.cpu_count() or 1)):
        wait_for(
            lambda: len(since()) > 100 and any(record["cause"] in hard for record in since()),
            f"parts that are late\n{daemon.errors()}",
        )
        ended_ns = time.monotonic_ns()
    recovered(daemon, ended_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert set(causes) <= {
        "score_within_threshold",
        "score_above_threshold",
        "deadline_missed",
        "expired_in_queue",
        "queue_full",
        "worker_not_ready",
        "frame_overwritten",
        "shutdown",
    }, causes
    meanwhile = [record for record in since() if record["triggered_ns"] < ended_ns]
    assert hard & {record["cause"] for record in meanwhile}
    in_time = [record for record in meanwhile if record["decision"] != "not_inspected"]
    assert all(record["decided_ns"] <= record["deadline_ns"] for record in in_time)
    assert "starting again" not in daemon.errors()


def judged(daemon: Daemon) -> int:
    return sum(record["decision"] != "not_inspected" for record in daemon.records())


class Belt:
    """A hot folder, where parts come when a test wants them to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "belt"
        self._folder.mkdir()
        self._scratch = folder / "part.bmp"
        self._parts = 0

    def camera(self) -> dict[str, object]:
        return {"kind": "folder", "path": str(self._folder), "watch": True, "complete_after_s": 0.1}

    def bring(self, parts: int, side_px: int = 64) -> None:
        for _ in range(parts):
            picture = np.random.default_rng(self._parts).integers(0, 256, (side_px, side_px), np.uint8)
            cv2.imwrite(str(self._scratch), picture)
            self._scratch.rename(self._folder / f"{self._parts:03d}.bmp")
            self._parts += 1

    def bring_large_one(self) -> None:
        """16 megapixels in float32 take 64 MB, more than the worker's allocator keeps: it asks the kernel."""
        self.bring(1, side_px=4000)


@pytest.fixture
def belt(tmp_path: Path) -> Belt:
    return Belt(tmp_path)


def begin(start: StartDaemon, belt: Belt) -> Daemon:
    daemon = start(camera=belt.camera())
    wait_for(lambda: "ready: station" in daemon.errors(), f"the line\n{daemon.errors()}")
    belt.bring(5)
    wait_for(lambda: judged(daemon) == 5, f"verdicts\n{daemon.errors()}")
    return daemon


def test_a_worker_without_memory_leaves_and_is_replaced(start: StartDaemon, recovered: Recovered, belt: Belt) -> None:
    """Its address space may hardly grow any more, so that a large frame finds no room; a new process is free again."""
    daemon = begin(start, belt)
    worker, limited_ns = daemon.wait_for_child("worker"), time.monotonic_ns()
    status = Path(f"/proc/{worker}/status").read_text()
    present_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize"))
    # Room to say what is wrong.
    resource.prlimit(worker, resource.RLIMIT_AS, ((present_kb << 10) + (16 << 20), resource.RLIM_INFINITY))
    belt.bring_large_one()
    daemon.wait_for_child("worker", other_than=worker)
    belt.bring(5)
    recovered(daemon, limited_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] > 0
    assert "out of memory" in daemon.errors()


class MemoryGroup:
    """A control group with a bound on memory, of either version."""

    def __init__(self, folder: Path, limit: str, unlimited: str) -> None:
        self._folder = folder
        self._limit = folder / limit
        self._unlimited = unlimited

    def take_in(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))

    def bound(self, limit_bytes: int) -> None:
        self._limit.write_text(str(limit_bytes))

    def unbound(self) -> None:
        self._limit.write_text(self._unlimited)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._folder.rmdir()


@pytest.fixture
def memory_group() -> Iterator[MemoryGroup]:
    """Skips where this user may not make one."""
    name, root = f"inspector-test-{os.getpid()}", Path("/sys/fs/cgroup")
    for base, limit, unlimited in ((root / "memory", "memory.limit_in_bytes", "-1"), (root, "memory.max", "max")):
        folder = base / name
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / limit).exists():
            group = MemoryGroup(folder, limit, unlimited)
            yield group
            group.remove()
            return
        folder.rmdir()
    pytest.skip("no control group for memory can be made here (needs root and a cgroup file system)")


def test_the_kernel_kills_the_worker_at_a_memory_limit_and_the_line_comes_back(
    start: StartDaemon, recovered: Recovered, memory_group: MemoryGroup, belt: Belt
) -> None:
    """As with MemoryMax of the service: the largest process goes first, and that is the worker."""
    daemon = begin(start, belt)
    worker = daemon.wait_for_child("worker")
    memory_group.take_in(worker)
    memory_group.bound(4096)  # what it holds already counts where it was; not a page more
    killed_ns = time.monotonic_ns()
    try:
        belt.bring_large_one()
        daemon.wait_for_child("worker", other_than=worker)
    finally:
        memory_group.unbound()
    belt.bring(5)
    recovered(daemon, killed_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] + causes["worker_not_ready"] + causes["queue_full"] > 0
    assert "worker: process gone (killed by signal 9), starting again" in daemon.errors()
