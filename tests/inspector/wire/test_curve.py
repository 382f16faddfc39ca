"""Known keys get in, all others get nothing, whatever they do."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq
import zmq.auth

from inspector.config.keys import CurveKeys
from inspector.domain.errors import ConfigError, DataError
from inspector.wire import curve as module
from inspector.wire.curve import CurveServer, KeyRing, load_keys, write_key_pair

from .conftest import until


@dataclass(frozen=True)
class Pair:
    public: bytes
    secret: bytes


def new_pair() -> Pair:
    return Pair(*zmq.curve_keypair())


STATION, KNOWN, STRANGER = new_pair(), new_pair(), new_pair()


class Plant:
    """A protected PUB socket, and subscribers with any keys."""

    def __init__(self) -> None:
        self.server = CurveServer()
        self.socket = self.server.context.socket(zmq.PUB)
        self.socket.linger = 0
        self.server.protect(self.socket, KeyRing(STATION.secret, {KNOWN.public: "office"}), "verdicts")
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self._clients = zmq.Context()
        self._subscribers: list[zmq.Socket[bytes]] = []

    def subscriber(self, pair: Pair | None, server_key: bytes = STATION.public) -> zmq.Socket[bytes]:
        subscriber = self._clients.socket(zmq.SUB)
        self._subscribers.append(subscriber)
        subscriber.subscribe(b"")
        if pair is not None:
            subscriber.curve_publickey, subscriber.curve_secretkey = pair.public, pair.secret
            subscriber.curve_serverkey = server_key
        subscriber.connect(f"tcp://127.0.0.1:{self.port}")
        return subscriber

    def hears(self, subscriber: zmq.Socket[bytes]) -> None:
        """Waits until a subscriber hears what is published."""

        def heard() -> bool:
            self.socket.send(b"verdict")
            return bool(subscriber.poll(10))

        until(heard, "the subscriber hears")

    def close(self) -> None:
        for subscriber in self._subscribers:
            subscriber.close(linger=0)
        self._clients.term()
        self.socket.close()
        self.server.close()


@pytest.fixture
def plant() -> Iterator[Plant]:
    plant = Plant()
    yield plant
    plant.close()


def test_a_listed_key_gets_what_is_published(plant: Plant) -> None:
    plant.hears(plant.subscriber(KNOWN))


@pytest.mark.parametrize(
    ("pair", "server_key"),
    [
        pytest.param(STRANGER, STATION.public, id="unlisted key"),
        pytest.param(Pair(KNOWN.public, STRANGER.secret), STATION.public, id="listed key of somebody else"),
        pytest.param(KNOWN, STRANGER.public, id="wrong key of the station"),
        pytest.param(None, b"", id="no key"),
    ],
)
def test_everybody_else_gets_nothing_beside_one_that_does(plant: Plant, pair: Pair | None, server_key: bytes) -> None:
    wrong = plant.subscriber(pair, server_key)
    for _ in range(3):  # the strangers come first, and again and again
        plant.hears(plant.subscriber(KNOWN))
    assert not wrong.poll(300)


def test_without_an_answer_of_the_handler_nobody_is_let_in(plant: Plant) -> None:
    # libzmq by itself lets in everybody who encrypts.
    plant.server._authenticator.stop()
    known, stranger = plant.subscriber(KNOWN), plant.subscriber(STRANGER)
    until_s = time.monotonic() + 1
    while time.monotonic() < until_s:
        plant.socket.send(b"verdict")
        assert not known.poll(10)
        assert not stranger.poll(10)


def test_connections_that_say_nothing_are_closed_and_hold_nobody_up(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = plant.subscriber(KNOWN)
    plant.hears(first)
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", plant.port), timeout=20) for _ in range(80)]
    for connection in idle[::2]:
        connection.sendall(b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE")  # a greeting that stops in its middle
    for connection in idle[1::2]:
        connection.sendall(os.urandom(200))
    plant.hears(first)
    plant.hears(plant.subscriber(KNOWN))
    for connection in idle:
        connection.settimeout(20)
        try:
            while connection.recv(4096):  # its own greeting, then the end
                pass
        except ConnectionResetError:
            pass
        connection.close()
    plant.hears(first)
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + 10, "descriptors come back")
    assert threading.active_count() <= threads


def test_strangers_are_told_of_now_and_then(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "inspector"):
        for _ in range(5):
            plant.subscriber(STRANGER)
        plant.hears(plant.subscriber(KNOWN))
        until(lambda: "office is connected" in caplog.text and "unlisted" in caplog.text, "both are told")
    assert caplog.text.count("refused a client with an unlisted key") == 1
    assert STRANGER.public.decode() in caplog.text
    assert STRANGER.secret.decode() not in caplog.text


def test_the_end_comes_at_once_and_twice_does_no_harm(plant: Plant) -> None:
    plant.hears(plant.subscriber(KNOWN))
    with socket.create_connection(("127.0.0.1", plant.port)):
        plant.socket.close()
        plant.server.close()
        plant.server.close()
    assert not any("Authentication" in type(thread).__name__ for thread in threading.enumerate())


# Files


@pytest.fixture
def files(tmp_path: Path) -> CurveKeys:
    _, secret = write_key_pair("press-1", tmp_path)
    public, _ = write_key_pair("office", tmp_path / "made")
    clients = tmp_path / "clients"
    clients.mkdir()
    public.rename(clients / public.name)
    return CurveKeys(secret_key=secret, clients=clients)


def test_the_files_of_a_new_pair_are_those_that_a_configuration_names(files: CurveKeys, tmp_path: Path) -> None:
    keys = load_keys(files, "verdicts.curve")
    assert list(keys.clients.values()) == ["office"]
    public, secret = zmq.auth.load_certificate(tmp_path / "press-1.key_secret")
    assert keys.secret == secret
    assert zmq.curve_public(keys.secret) == public == zmq.auth.load_certificate(tmp_path / "press-1.key")[0]
    assert files.secret_key.stat().st_mode & 0o777 == 0o600
    assert secret not in (tmp_path / "press-1.key").read_bytes()


def test_files_as_zmq_writes_them_and_bare_keys_will_do(tmp_path: Path) -> None:
    _, secret_file = zmq.auth.create_certificates(tmp_path, "press-1")
    public, secret = zmq.auth.load_certificate(secret_file)
    (tmp_path / "press-1.key_secret").chmod(0o600)
    files = CurveKeys(secret_key=Path(secret_file), clients=tmp_path)
    assert load_keys(files, "k") == KeyRing(secret, {public: "press-1"})
    (tmp_path / "bare").write_bytes(secret + b"\n")
    (tmp_path / "bare").chmod(0o600)
    (tmp_path / "press-1.key").write_bytes(public)
    assert load_keys(CurveKeys(secret_key=tmp_path / "bare", clients=tmp_path), "k") == KeyRing(
        secret, {public: "press-1"}
    )


def test_a_pair_is_never_written_over(tmp_path: Path) -> None:
    public, secret = write_key_pair("press-1", tmp_path)
    before = public.read_bytes(), secret.read_bytes()
    with pytest.raises(DataError, match=r"press-1\.key_secret: can't be written: File exists"):
        write_key_pair("press-1", tmp_path)
    assert before == (public.read_bytes(), secret.read_bytes())
    secret.unlink()
    with pytest.raises(DataError, match=r"press-1\.key: .*nothing was changed"):
        write_key_pair("press-1", tmp_path)
    assert not secret.exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a b", "x" * 65, "a\n"])
def test_a_name_is_a_plain_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="name of a key"):
        write_key_pair(name, tmp_path)


def test_what_is_no_key_is_refused_by_the_setting_that_names_it(files: CurveKeys) -> None:
    office = files.clients / "office.key"
    for content in ("", "x" * 39, "x" * 41, "\\" * 40, 'public-key = "short"'):
        office.write_text(content)
        with pytest.raises(ConfigError, match=r"^k\.clients: .*office\.key holds no public key"):
            load_keys(files, "k")
    office.write_text(files.secret_key.read_text())
    with pytest.raises(ConfigError, match=r"^k\.clients: .*office\.key holds a secret key"):
        load_keys(files, "k")
    files.secret_key.write_text("nothing")
    with pytest.raises(ConfigError, match=r"^k\.secret_key: .*holds no secret key; make one with: inspector keys"):
        load_keys(files, "k")


def test_what_others_may_read_or_change_is_refused(files: CurveKeys) -> None:
    files.clients.chmod(0o777)
    with pytest.raises(ConfigError, match=r"^k\.clients: everybody may change .*clients"):
        load_keys(files, "k")
    files.secret_key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"^k\.secret_key: others may read .*chmod 600"):
        load_keys(files, "k")


def test_a_folder_that_is_missing_is_a_mistake_and_an_empty_one_is_told(
    files: CurveKeys, caplog: pytest.LogCaptureFixture
) -> None:
    (files.clients / "office.key").unlink()
    assert load_keys(files, "k").clients == {}
    assert "nobody may connect" in caplog.text
    files.clients.rmdir()
    with pytest.raises(ConfigError, match=r"^k\.clients: can't read the folder"):
        load_keys(files, "k")


def test_descriptors_for_connections_that_say_nothing_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module.resource, "getrlimit", lambda kind: (1024, 524_288))
    monkeypatch.setattr(module.resource, "setrlimit", lambda kind, limits: asked.append(limits))
    CurveServer().close()
    assert asked == [(65_536, 524_288)]
