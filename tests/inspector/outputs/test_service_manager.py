"""What systemd hears, and that nobody else is disturbed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.outputs.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The service manager's socket, and its name as NOTIFY_SOCKET has it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@inspector-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(name.replace("@", "\0") if request.param == "abstract" else name)
        link.settimeout(20)
        yield link, name


def test_states_arrive_as_datagrams(listener: tuple[socket.socket, str]) -> None:
    link, name = listener
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    for state in ("READY=1", "WATCHDOG=1", "STOPPING=1"):
        manager.notify(state)
    assert [link.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_service_manager_that_does_not_listen_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify("READY=1")
    assert "service manager: " in caplog.text


def test_service_manager_that_reads_nothing_holds_nobody_up(
    listener: tuple[socket.socket, str], caplog: pytest.LogCaptureFixture
) -> None:
    _link, name = listener
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    for _ in range(2000):
        manager.notify("WATCHDOG=1" * 100)
        if caplog.records:
            break
    assert "timed out" in caplog.text  # its queue is full; each attempt gives up by itself


def test_outside_a_service_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}):
        ServiceManager(environ).notify("READY=1")
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "10000000"}, 10_000_000_000),
    ],
)
def test_watchdog_interval_is_read(environ: dict[str, str], expected: int | None) -> None:
    assert ServiceManager(environ).watchdog_ns == expected
