"""The control socket answers its own user, and nobody can make the daemon wait."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inspector.domain.errors import ConfigError
from inspector.wire import control
from inspector.wire.control import CONTROL, ControlSocket, Request, ask


class Clock:
    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The path of a UNIX socket is short; pytest's own folders may be too long for it."""
    with tempfile.TemporaryDirectory(prefix="control-") as name:
        yield Path(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(short_folder: Path, clock: Clock) -> Iterator[ControlSocket]:
    made = ControlSocket(short_folder, clock)
    yield made
    made.close()


def connect(folder: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(5)
    client.connect(str(folder / CONTROL))
    return client


def test_a_request_comes_with_its_sender_and_the_answer_goes_back(server: ControlSocket, short_folder: Path) -> None:
    answers: list[dict[str, Any]] = []
    request = Request(action="pause", why="new batch")
    client = threading.Thread(target=lambda: answers.append(ask(short_folder, request)))
    client.start()
    asked = []
    while not asked:
        asked = server.take()
    (one,) = asked
    assert one.request == request
    assert f"uid {os.getuid()}, pid {os.getpid()}" in one.who
    one.answer({"ok": True, "state": "paused"})
    client.join(5)
    assert answers == [{"ok": True, "state": "paused"}]


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (b"activate", "JSON: Invalid JSON"),
        (b'{"action": "reboot"}', "action: Input should be"),
        (b'{"action": "status", "force": true}', "force: Extra inputs are not permitted"),
        (b'{"version": 2, "action": "status"}', "version: Input should be 1"),
    ],
)
def test_what_can_not_be_understood_is_answered_and_never_reaches_the_gate(
    server: ControlSocket, short_folder: Path, packet: bytes, told: str
) -> None:
    with connect(short_folder) as client:
        client.send(packet)
        assert server.take() == []
        answer = json.loads(client.recv(4096))
    assert answer["ok"] is False
    assert told in answer["error"]


def test_another_user_is_refused(server: ControlSocket, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_CREDENTIALS", Foreign())
    with connect(short_folder) as client:
        client.send(Request(action="status").model_dump_json().encode())
        assert server.take() == []
        assert "may not control this daemon" in json.loads(client.recv(4096))["error"]


class Foreign:
    """The kernel says that the other end is user 4711."""

    size = 12

    def unpack(self, data: bytes) -> tuple[int, int, int]:
        return 1, 4711, 4711


def test_only_its_user_may_open_the_socket(server: ControlSocket, short_folder: Path) -> None:
    assert (short_folder / CONTROL).stat().st_mode & 0o777 == 0o600


def test_clients_that_say_nothing_are_let_go_and_block_nobody(
    server: ControlSocket, short_folder: Path, clock: Clock
) -> None:
    silent = [connect(short_folder) for _ in range(8)]
    assert server.take() == []
    clock.now_ns = 3_000_000_000
    assert server.take() == []
    for client in silent:
        assert client.recv(1) == b""
        client.close()
    with connect(short_folder) as client:
        client.send(Request(action="status").model_dump_json().encode())
        (asked,) = server.take()
        asked.answer({"ok": True})
        assert json.loads(client.recv(4096)) == {"ok": True}


def test_a_client_that_left_is_no_matter(server: ControlSocket, short_folder: Path) -> None:
    with connect(short_folder) as client:
        client.send(Request(action="status").model_dump_json().encode())
    for asked in server.take():
        asked.answer({"ok": True})
    connect(short_folder).close()
    assert server.take() == []


def test_a_socket_of_a_killed_run_is_replaced(short_folder: Path) -> None:
    killed = ControlSocket(short_folder)
    killed._socket.close()
    again = ControlSocket(short_folder)
    with connect(short_folder):
        pass
    again.close()
    assert not (short_folder / CONTROL).exists()


def test_without_a_daemon_the_client_says_so(short_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no daemon answers at .*control\.sock"):
        ask(short_folder, Request(action="status"))
