"""Somebody scrapes /metrics as no Prometheus would, all at once and for seconds: the gate does not feel it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from inspector.benchmark.soak_account import process_figures
from inspector.outputs.metrics_server import PLACES

from ..process.conftest import StartDaemon, wait_for
from ..recovery import Recovered

pytestmark = pytest.mark.process

SECONDS = 4.0


class Attack:
    """Connections that are opened, misused and opened again until the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self._idle: list[socket.socket] = []
        self.tries = 0
        self._threads = [threading.Thread(target=self._assail, args=(what,)) for what in self._requests()]

    @staticmethod
    def _requests() -> list[bytes]:
        return [
            b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",  # its answer is never read
            b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
            os.urandom(20_000),
            b"GET /metr",  # and then nothing
        ]

    def begin(self) -> None:
        for _ in range(300):
            with contextlib.suppress(OSError):
                self._idle.append(socket.create_connection(("127.0.0.1", self._port), timeout=1))
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for connection in self._idle:
            connection.close()

    def _assail(self, what: bytes) -> None:
        held: list[socket.socket] = []
        while not self._over.wait(0.005):
            self.tries += 1
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", self._port), timeout=1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                held.append(connection)
                connection.sendall(what)
            if len(held) > 100:
                held.pop(0).close()
        for connection in held:
            connection.close()


def threads_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^Threads:\s+(\d+)", status, re.MULTILINE)
    assert found is not None
    return int(found.group(1))


def test_a_hostile_scraper_costs_no_verdict_and_little_memory(start_quick: StartDaemon, recovered: Recovered) -> None:
    daemon = start_quick(
        camera={"kind": "synthetic", "rate": 30, "width_px": 64, "height_px": 64},
        line={"deadline_ms": 20_000, "queue_frames": 1024},  # what a busy machine costs is no matter of this test
    )
    daemon.wait_for_verdicts(20)
    address = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", daemon.errors())
    assert address is not None
    port, gate = int(address.group(1)), daemon.process.pid

    def scraped() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return b"inspector_parts_total" in answer.read()
        except (OSError, http.client.HTTPException):  # it had to give way, perhaps in the middle of the page
            return False

    wait_for(scraped, "a scrape in peace")
    memory_mb, descriptors = process_figures(gate)
    threads = threads_of(gate)
    assert memory_mb is not None
    assert descriptors is not None
    attack, begun_ns = Attack(port), time.monotonic_ns()
    attack.begin()
    try:
        seen = []
        until_s = time.monotonic() + SECONDS
        while time.monotonic() < until_s or attack.tries <= 100:
            seen.append((*process_figures(gate), threads_of(gate)))
            time.sleep(0.05)
        wait_for(scraped, "a scrape of a decent Prometheus in between")
    finally:
        attack.end()
    recovered(daemon, begun_ns)
    # Threads and connections that were told to give way may still be there when the next has their place.
    assert max(held[2] for held in seen) <= threads + 2 * PLACES
    assert max(held[1] or 0 for held in seen) <= descriptors + 2 * PLACES
    assert max(held[0] or 0.0 for held in seen) <= memory_mb + 30
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert set(causes) <= {"score_within_threshold", "score_above_threshold", "shutdown"}, causes
