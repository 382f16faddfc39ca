"""An endpoint beyond this machine: strangers get nothing, and the line doesn't feel them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
import zmq.auth

from inspector.wire.curve import write_key_pair

from ..ports import free_port
from ..process.conftest import StartDaemon, wait_for

pytestmark = pytest.mark.process


@pytest.fixture
def clients() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def sockets() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_strangers_get_no_verdict_and_hold_nobody_up(
    start_quick: StartDaemon, tmp_path: Path, clients: zmq.Context[zmq.Socket[bytes]], sockets: contextlib.ExitStack
) -> None:
    write_key_pair("station", tmp_path / "keys")
    for name in ("office", "stranger"):
        write_key_pair(name, tmp_path / "keys")
    (tmp_path / "clients").mkdir()
    (tmp_path / "keys/office.key").rename(tmp_path / "clients/office.key")
    number = free_port()

    def subscriber(name: str | None) -> zmq.Socket[bytes]:
        made = sockets.enter_context(clients.socket(zmq.SUB))
        made.linger = 0
        made.subscribe(b"verdict")
        if name is not None:
            made.curve_publickey, made.curve_secretkey = zmq.auth.load_certificate(tmp_path / f"keys/{name}.key_secret")
            made.curve_serverkey = zmq.auth.load_certificate(tmp_path / "keys/station.key")[0]
        made.connect(f"tcp://127.0.0.1:{number}")
        return made

    strangers = [subscriber("stranger"), subscriber(None)]
    office = subscriber("office")
    daemon = start_quick(
        camera={"kind": "synthetic", "rate": 20, "width_px": 64, "height_px": 64},
        line={"queue_frames": 256},  # a busy machine is no matter of this test
        verdicts={
            "endpoint": f"tcp://0.0.0.0:{number}",
            "curve": {"secret_key": str(tmp_path / "keys/station.key_secret"), "clients": str(tmp_path / "clients")},
        },
    )
    daemon.wait_for_verdicts(10)
    wait_for(lambda: office.poll(100), "a verdict for a listed key")
    before = len(daemon.records())
    silent = [sockets.enter_context(socket.create_connection(("127.0.0.1", number), timeout=20)) for _ in range(200)]
    for connection in silent[::2]:
        with contextlib.suppress(OSError):  # one that said nothing for too long was hung up on
            connection.sendall(os.urandom(100))
    strangers += [subscriber("stranger") for _ in range(20)]
    daemon.wait_for_verdicts(before + 40)
    parts = set()

    def heard() -> bool:
        while office.poll(0):
            topic, record = office.recv_multipart()
            assert topic == b"verdict"
            parts.add(json.loads(record)["part"])
        return len(parts) >= 40

    wait_for(heard, "verdicts for the listed key")
    assert len(parts) == max(parts) - min(parts) + 1 >= 40, "the listed key missed none"
    assert not any(stranger.poll(0) for stranger in strangers)
    wait_for(lambda: "refused a client with an unlisted key" in daemon.errors(), "the refusal in the log")
    begun = time.monotonic()
    assert daemon.stop() == 0, daemon.errors()
    assert time.monotonic() - begun < 8 + 4, "stop_timeout_s and the time of a busy machine"
    assert set(daemon.check_ledger()) <= {"score_within_threshold", "score_above_threshold", "shutdown"}


def test_a_secret_key_that_lies_open_keeps_the_station_from_starting(start_quick: StartDaemon, tmp_path: Path) -> None:
    _, secret = write_key_pair("station", tmp_path)
    secret.chmod(0o644)
    daemon = start_quick(
        verdicts={
            "endpoint": f"tcp://127.0.0.1:{free_port()}",
            "curve": {"secret_key": str(secret), "clients": str(tmp_path)},
        }
    )
    assert daemon.finish() == 78
    assert "verdicts.curve.secret_key: others may read" in daemon.errors()
