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
    daemon = start(camera=CONVEYOR, line={"deadline_ms": 60, "queue_frames": 8})
    wait_for(lambda: judged(daemon) > 10, f"verdicts in peace\n{daemon.errors()}")
    begun_ns = time.monotonic_ns()
    # Shared fairly among so many, the worker's part of the processor is too small for the rate.
    with programs("while True: pass", 8 * (os.cpu_count() or 1)):
        time.sleep(5)
        ended_ns = time.monotonic_ns()
    recovered(daemon, ended_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["deadline_missed"] + causes["expired_in_queue"] + causes["queue_full"] > 0
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
    meanwhile = [record for record in daemon.records() if begun_ns < record["triggered_ns"] < ended_ns]
    assert len(meanwhile) > 50
    in_time = [record for record in meanwhile if record["decision"] != "not_inspected"]
    assert all(record["decided_ns"] <= record["deadline_ns"] for record in in_time)
    assert "starting again" not in daemon.errors()


def judged(daemon: Daemon) -> int:
    return sum(record["decision"] != "not_inspected" for record in daemon.records())


@pytest.fixture
def large_parts(tmp_path: Path) -> dict[str, object]:
    """A camera whose frames take fresh memory of the worker each time: too large for what the allocator keeps."""
    folder = tmp_path / "large"
    folder.mkdir()
    for number in range(2):
        picture = np.random.default_rng(number).integers(0, 256, (4000, 4000), np.uint8)
        cv2.imwrite(str(folder / f"{number}.bmp"), picture)
    return {"kind": "folder", "path": str(folder), "rate": 3, "loop": True}


def test_a_worker_without_memory_leaves_and_is_replaced(
    start: StartDaemon, recovered: Recovered, large_parts: dict[str, object]
) -> None:
    """Its address space may hardly grow any more, so that the next frame finds no room; a new process is free again."""
    daemon = start(camera=large_parts)
    wait_for(lambda: judged(daemon) > 4, f"verdicts\n{daemon.errors()}")
    worker, limited_ns = daemon.wait_for_child("worker"), time.monotonic_ns()
    status = Path(f"/proc/{worker}/status").read_text()
    present_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize"))
    # Room to say what is wrong; a frame of 16 megapixels in float32 takes 64 MB.
    resource.prlimit(worker, resource.RLIMIT_AS, ((present_kb << 10) + (16 << 20), resource.RLIM_INFINITY))
    daemon.wait_for_child("worker", other_than=worker)
    recovered(daemon, limited_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] + causes["worker_not_ready"] + causes["queue_full"] > 0
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
    start: StartDaemon, recovered: Recovered, memory_group: MemoryGroup, large_parts: dict[str, object]
) -> None:
    """As with MemoryMax of the service: the largest process goes first, and that is the worker."""
    daemon = start(camera=large_parts)
    wait_for(lambda: judged(daemon) > 4, f"verdicts\n{daemon.errors()}")
    worker = daemon.wait_for_child("worker")
    memory_group.take_in(worker)
    memory_group.bound(4096)  # what it holds already counts where it was; not a page more
    killed_ns = time.monotonic_ns()
    try:
        daemon.wait_for_child("worker", other_than=worker)
    finally:
        memory_group.unbound()
    recovered(daemon, killed_ns)
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["worker_lost"] + causes["worker_not_ready"] + causes["queue_full"] > 0
    assert "worker: process gone (killed by signal 9), starting again" in daemon.errors()
