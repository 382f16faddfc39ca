"""Faults come by their seed, hit the process that they name, and leave nothing behind."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.benchmark.soak_faults import ALL_FAULTS, FaultInjector, FaultKind, schedule

from ...process_state import state_of


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def wait_until(told: list[str], count: int = 1) -> None:
    until = time.monotonic() + 20
    while len(told) < count and time.monotonic() < until:
        time.sleep(0.005)
    assert len(told) >= count


def injector(kind: FaultKind, victim: subprocess.Popen[bytes], folder: Path, told: list[str]) -> FaultInjector:
    return FaultInjector(
        (kind,),
        0.01,
        1,
        pids=lambda: {"worker": victim.pid, "camera": None, "archive": None},
        pictures=folder,
        longest_stop_s=60.0,
        injected=lambda kind, now_ns: told.append(kind),
    )


def test_one_seed_draws_the_same_faults_again_and_another_does_not() -> None:
    first, second, other = (list(itertools.islice(schedule(ALL_FAULTS, 5.0, seed), 200)) for seed in (1, 1, 2))
    assert first == second != other
    assert {kind for _, kind, _ in first} == set(ALL_FAULTS)
    assert sum(pause for pause, _, _ in first) / 200 == pytest.approx(5.0, rel=0.25)


def test_kill_kills(victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    told: list[str] = []
    faults = injector("kill-worker", victim, tmp_path, told)
    faults.start()
    assert victim.wait(20) == -9
    faults.stop()
    assert faults.counts["kill-worker"] == len(told) >= 1


@pytest.mark.parametrize("kind", ["stop-worker", "slow-worker"])
def test_a_stopped_process_goes_on_at_the_end(kind: FaultKind, victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    told: list[str] = []
    faults = injector(kind, victim, tmp_path, told)
    faults.start()
    wait_until(told)
    until = time.monotonic() + 20
    while state_of(victim.pid) != "T":  # a slow one only for moments
        assert time.monotonic() < until
        time.sleep(0.002)
    faults.stop()
    until = time.monotonic() + 20
    while state_of(victim.pid) == "T":
        assert time.monotonic() < until
        time.sleep(0.002)


def test_corrupt_pictures_are_whole_again_at_the_end(victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.bmp").write_bytes(bytes([number + 1]) * 100)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    told: list[str] = []
    faults = injector("corrupt-frames", victim, folder, told)
    faults.start()
    wait_until(told)
    until = time.monotonic() + 20
    changed: list[str] = []
    while not changed:  # at one look: they are whole again before long
        assert time.monotonic() < until
        changed = [path.name for path in folder.iterdir() if path.read_bytes() != before[path.name]]
    faults.stop()
    assert len(changed) <= 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_process_that_is_not_there_is_let_be(victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    told: list[str] = []
    faults = injector("kill-camera", victim, tmp_path, told)
    faults.start()
    time.sleep(0.1)
    faults.stop()
    assert told == []
    assert victim.poll() is None
