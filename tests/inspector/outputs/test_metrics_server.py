"""Hostile scrapers get little, and a decent one is answered beside them."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from inspector.outputs import metrics_server
from inspector.outputs.metrics_server import PLACES, MetricsServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricsServer]:
    monkeypatch.setattr(metrics_server, "_REQUEST_S", 15.0)  # on a busy machine a request may take a while
    registry = CollectorRegistry()
    Gauge("parts", "Parts.", registry=registry).set(7)
    server = MetricsServer(registry, "127.0.0.1", 0)
    yield server
    server.close()


def connect(server: MetricsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def ask(server: MetricsServer, request: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(request)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return answer


def scrape(server: MetricsServer, **headers: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    assert "parts 7.0" in text
    return str(answer.headers["Content-Type"])


def scrape_in_the_end(server: MetricsServer) -> None:
    """As Prometheus does: where one scrape fails, the next may not."""
    until_s = time.monotonic() + 20
    while True:
        try:
            scrape(server)
            return
        except (OSError, http.client.HTTPException):  # it gave way, perhaps in the middle of the page
            assert time.monotonic() < until_s, "no scrape got through"


def test_prometheus_is_answered_in_the_format_that_it_asks_for(server: MetricsServer) -> None:
    assert scrape(server).startswith("text/plain; version=0.0.4")
    assert scrape(server, Accept="application/openmetrics-text; version=1.0.0").startswith(
        "application/openmetrics-text; version=1.0.0"
    )


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /secrets HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00\x01\xff\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /metrics?name[]=parts HTTP/1.0\r\n\r\n", b"200"),
        (b"\r\n\r\n", b"405"),
    ],
)
def test_other_requests_are_told_what_is_wrong(server: MetricsServer, request_bytes: bytes, status: bytes) -> None:
    try:
        answer = ask(server, request_bytes)
    except ConnectionResetError:  # it was not read to its end
        assert status == b"431"
    else:
        assert answer.split()[1] == status


def test_head_has_no_body(server: MetricsServer) -> None:
    head, _, body = ask(server, b"HEAD /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: 0" not in head
    assert body == b""


def test_connections_that_say_nothing_leave_room_for_one_that_asks(server: MetricsServer) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    idle = [connect(server) for _ in range(200)]
    try:
        until_s = time.monotonic() + 20  # those that gave way may take a moment to be gone
        while threading.active_count() > threads + PLACES + 1:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        # Both ends of those that have a place are in this process; of the others only ours.
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 200 + 2 * PLACES
        scrape_in_the_end(server)
    finally:
        for connection in idle:
            connection.close()


def test_a_request_that_drips_is_cut_off(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_REQUEST_S", 0.3)
    begun_s = time.monotonic()
    with connect(server) as connection:
        assert drips_until_cut_off(connection)
    assert time.monotonic() - begun_s < 15


def drips_until_cut_off(connection: socket.socket) -> bool:
    until_s = time.monotonic() + 20
    connection.settimeout(0.02)
    while time.monotonic() < until_s:
        try:
            connection.sendall(b"G")
            if connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_ANSWER_S", 0.2)
    registry = CollectorRegistry()
    large = Gauge("large", "Larger than any buffer.", ("number",), registry=registry)
    for number in range(60_000):
        large.labels("x" * 100 + str(number))
    server = MetricsServer(registry, "127.0.0.1", 0)
    try:
        with connect(server) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            until_s = time.monotonic() + 30
            while not server._since_s and time.monotonic() < until_s:
                time.sleep(0.01)
            while server._since_s and time.monotonic() < until_s:
                time.sleep(0.01)
            assert not server._since_s
    finally:
        server.close()


def test_a_page_is_made_once_for_a_burst_of_requests(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_PAGE_S", 60.0)
    made: list[None] = []
    collect = server._registry.collect
    monkeypatch.setattr(server._registry, "collect", lambda: made.append(None) or collect())
    for _ in range(20):
        scrape(server)
    assert len(made) == 1


def test_after_its_end_nobody_is_answered(server: MetricsServer) -> None:
    with connect(server) as idle:
        until_s = time.monotonic() + 20
        while not server._since_s and time.monotonic() < until_s:
            time.sleep(0.01)
        server.close()
        server.close()
        assert idle.recv(1) == b""
    with pytest.raises(urllib.error.URLError):
        scrape(server)
