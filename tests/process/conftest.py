"""Starts real daemons: `python -m inspector run` with its children, on a folder of parts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from safetensors.numpy import save

from inspector.benchmark.checksum_worker import LARGEST, checksum
from inspector.cli.control import control
from inspector.recipe.store import GOLDEN_FRAME, SCORES, load_recipe, write_recipe

#: Longest wait for anything; a test that needs it has failed.
PATIENCE_S = 90.0


def wait_for(what: Callable[[], Any], message: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of `what`."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        value = what()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {patience_s:g} s for {message}")


@dataclass
class Daemon:
    """A running `inspector run` and what it leaves."""

    process: subprocess.Popen[str]
    config: Path
    log: Path
    output: Path

    def records(self) -> list[dict[str, Any]]:
        """The verdicts written so far."""
        if not self.log.exists():
            return []
        lines = self.log.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def status(self) -> dict[str, Any]:
        """How its line stands, as `inspector status` says it."""
        answer: dict[str, Any] = json.loads(control(self.config, "status", as_json=True))
        return answer

    def children(self, role: str) -> list[int]:
        """Process ids of the camera processes or the workers."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        names = (f"inspector.roles.{role}".encode(), f"quick_{role}.py".encode())
        found = []
        for pid in children:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (FileNotFoundError, ProcessLookupError):  # it ended just now
                continue
            if any(word.endswith(names) for word in command):
                found.append(int(pid))
        return found

    def wait_until_at_rest(self) -> int:
        """Waits until a paused line has settled its parts, the last one too that the camera process announced before it
        heard of the pause; the number of triggers.
        """
        calm_s = 1.0

        def at_rest() -> tuple[int, ...]:
            first = self.status()
            time.sleep(calm_s)
            second = self.status()
            rests = second["pending"] == 0 and first["triggered"] == second["triggered"]
            return (second["triggered"],) if rests else ()

        (triggered,) = wait_for(at_rest, "a line at rest")
        return int(triggered)

    def child(self, role: str) -> int | None:
        """Process id of the camera process or the worker; the first, where there are several."""
        return next(iter(self.children(role)), None)

    def wait_for_child(self, role: str, other_than: int | None = None) -> int:
        """A child that runs, and is not the given one."""

        def found() -> int | None:
            pid = self.child(role)
            return pid if pid != other_than else None

        return int(wait_for(found, f"a {role} process other than {other_than}\n{self.errors()}"))

    def wait_for_verdicts(self, count: int) -> None:
        """So many verdicts in the log."""
        wait_for(
            lambda: len(self.records()) >= count or self.process.poll() is not None,
            f"{count} verdicts\n{self.errors()}",
        )
        assert len(self.records()) >= count, self.errors()

    def finish(self, patience_s: float = PATIENCE_S) -> int:
        """Waits for the end and returns the exit code."""
        return self.process.wait(patience_s)

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def errors(self) -> str:
        """What it wrote to standard error."""
        return self.output.read_text()

    def sums(self) -> dict[str, int]:
        """The sums that it wrote at its end."""
        line = next(line for line in reversed(self.errors().splitlines()) if "stopped:" in line)
        numbers = [int(word) for word in line.replace("stopped:", "").split() if word.isdigit()]
        return dict(zip(("triggered", "pass", "fail", "not_inspected"), numbers, strict=True))

    def check_ledger(self) -> Counter[str]:
        """Every trigger has exactly one verdict, and the sums agree with the log. Returns the causes."""
        records, sums = self.records(), self.sums()
        triggers = [record["trigger"] for record in records]
        assert len(triggers) == len(set(triggers)), "a trigger with two verdicts"
        assert sorted(record["part"] for record in records) == list(range(1, len(records) + 1))
        assert len(records) == sums["triggered"]
        assert sums["triggered"] == sums["pass"] + sums["fail"] + sums["not_inspected"]
        decisions = Counter(record["decision"] for record in records)
        assert {name: decisions[name] for name in ("pass", "fail", "not_inspected")} == {
            name: sums[name] for name in ("pass", "fail", "not_inspected")
        }
        return Counter(record["cause"] for record in records)


def scrape(address: str) -> str:
    """What an endpoint of metrics answers; asked again where this process was too slow for the server's bounds."""
    for _ in range(10):
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return str(answer.read().decode())
        except (ConnectionResetError, BrokenPipeError, IncompleteRead):
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, (ConnectionResetError, BrokenPipeError)):
                raise
    raise AssertionError(f"{address} closed ten connections before its answer was read")


def metrics(daemon: Daemon) -> str:
    """The daemon's metrics; nothing before it answers."""
    address = re.search(r"http://127\.0\.0\.1:\d+/metrics", daemon.errors())
    return "" if address is None else scrape(address.group())


def samples(daemon: Daemon, name: str) -> list[Sample]:
    """The series of this name among the daemon's metrics; none before it answers."""
    families = text_string_to_metric_families(metrics(daemon))
    return [sample for family in families for sample in family.samples if sample.name == name]


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty small pictures."""
    folder = tmp_path_factory.mktemp("parts")
    generator = np.random.default_rng(1)
    for number in range(60):
        cv2.imwrite(str(folder / f"{number:03d}.png"), generator.integers(0, 256, (64, 64), np.uint8))
    return folder


@pytest.fixture(scope="session")
def quick_recipe(random_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe for the worker without a network; it passes half of all parts, and every part of one grey level."""
    manifest = load_recipe(random_recipe).manifest
    golden = np.random.default_rng(7).integers(0, 256, (64, 64), np.uint8)
    scores = np.linspace(0, LARGEST / 2, 100)
    manifest = manifest.model_copy(
        update={
            "name": "quick",
            "threshold": manifest.threshold.model_copy(update={"value": float(scores[-1])}),
            "golden": manifest.golden.model_copy(update={"score": checksum(golden)}),
        }
    )
    weights = save({SCORES: scores, GOLDEN_FRAME: golden})
    return write_recipe(tmp_path_factory.mktemp("recipes") / "quick", manifest, weights).folder


StartDaemon = Callable[..., Daemon]


@pytest.fixture
def start(random_recipe: Path, parts: Path, tmp_path: Path) -> Iterator[StartDaemon]:
    """Starts a daemon; keyword arguments override sections of its configuration."""
    with _starting([sys.executable, "-m", "inspector"], random_recipe, parts, tmp_path) as start_one:
        yield start_one


@pytest.fixture
def start_quick(quick_recipe: Path, parts: Path, tmp_path: Path) -> Iterator[StartDaemon]:
    """As `start`, but no process loads torch: the score of a part is the checksum of its frame."""
    with _starting(
        [sys.executable, str(Path(__file__).with_name("quick_daemon.py"))], quick_recipe, parts, tmp_path
    ) as start_one:
        yield start_one


@contextmanager
def _starting(command: list[str], recipe: Path, parts: Path, tmp_path: Path) -> Iterator[StartDaemon]:
    daemons: list[Daemon] = []

    def start_one(name: str = "station", **sections: Any) -> Daemon:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        runtime = folder / "run"
        config: dict[str, Any] = {
            "station": name,
            "recipe": str(recipe),
            "camera": {"kind": "folder", "path": str(parts)},
            "line": {"deadline_ms": 20_000},
            # the engine that starts soonest
            "worker": {"allow_random_weights": True, "threads": 1, "engine": "pytorch"},
            "verdicts": {"endpoint": f"ipc://{runtime}-verdicts", "log": str(folder / "verdicts.jsonl")},
            "metrics": {"port": 0},
            "supervision": {"stop_timeout_s": 8},
            "runtime_dir": str(runtime),
        }
        for section, values in sections.items():
            if isinstance(values, dict) and "kind" not in values:
                config[section] = config.get(section, {}) | values
            else:
                config[section] = values
        path = folder / "inspector.yaml"
        path.write_text(yaml.safe_dump(config))
        output = folder / "stderr.txt"
        with output.open("w") as stream:
            process = subprocess.Popen(
                [*command, "run", "-c", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                text=True,
                env=os.environ | {"OMP_WAIT_POLICY": "PASSIVE"},
            )
        daemon = Daemon(process, path, folder / "verdicts.jsonl", output)
        daemons.append(daemon)
        return daemon

    try:
        yield start_one
    finally:
        for daemon in daemons:
            for pid in (daemon.child("worker"), daemon.child("camera")):
                if pid is not None and daemon.process.poll() is None:
                    os.kill(pid, signal.SIGCONT)
            if daemon.process.poll() is None:
                daemon.process.kill()
            daemon.process.wait(PATIENCE_S)
