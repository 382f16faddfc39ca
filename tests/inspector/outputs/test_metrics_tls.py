"""Beyond this machine only holders of a certificate of the right authority are answered; slow ones hold up nobody."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge

from inspector.config.schema import MutualTls
from inspector.domain.errors import ConfigError
from inspector.outputs import metrics_server
from inspector.outputs.metrics_server import PLACES, MetricsServer, tls_context

from ...certificates import make_certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, plant and foreign, and certificates of them: station, prometheus, stranger."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls(certificates: Path) -> MutualTls:
    return MutualTls(
        certificate=certificates / "station.pem", key=certificates / "station.key", client_ca=certificates / "plant.pem"
    )


@pytest.fixture
def server(tls: MutualTls, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricsServer]:
    for limit in ("_HANDSHAKE_S", "_REQUEST_S"):  # on a busy machine each may take a while
        monkeypatch.setattr(metrics_server, limit, 15.0)
    registry = CollectorRegistry()
    Gauge("parts", "Parts.", registry=registry).set(7)
    server = MetricsServer(registry, "127.0.0.1", 0, tls_context(tls))
    yield server
    server.close()


def scrape(server: MetricsServer, certificates: Path, client: str | None = "prometheus", ca: str = "plant") -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates / f"{ca}.pem")
    if client is not None:
        context.load_cert_chain(certificates / f"{client}.pem", certificates / f"{client}.key")
    with urllib.request.urlopen(f"https://127.0.0.1:{server.port}/metrics", timeout=20, context=context) as answer:
        return str(answer.read().decode())


def scrape_in_the_end(server: MetricsServer, certificates: Path) -> None:
    until_s = time.monotonic() + 20
    while True:
        try:
            assert "parts 7.0" in scrape(server, certificates)
            return
        except (OSError, http.client.HTTPException):  # it gave way, perhaps in the middle of the page
            assert time.monotonic() < until_s, "no scrape got through"


def test_a_certificate_of_the_plant_is_answered(server: MetricsServer, certificates: Path) -> None:
    assert "parts 7.0" in scrape(server, certificates)


def test_a_scraper_finds_out_another_server(server: MetricsServer, certificates: Path) -> None:
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        scrape(server, certificates, ca="foreign")


@pytest.mark.parametrize("client", ["stranger", None])
def test_others_see_nothing(server: MetricsServer, certificates: Path, client: str | None) -> None:
    with pytest.raises(OSError, match=r"alert|[Rr]eset|EOF|closed|pipe"):
        scrape(server, certificates, client)
    assert "parts 7.0" in scrape(server, certificates)


def test_plain_requests_and_old_protocols_see_nothing(server: MetricsServer) -> None:
    for request in (b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while received := connection.recv(4096):
                    answer += received
            assert b"parts" not in answer


def test_handshakes_that_stand_still_leave_room_for_one_that_asks(server: MetricsServer, certificates: Path) -> None:
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        for number in range(100):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            stack.enter_context(connection)
            if number % 2:
                connection.sendall(b"\x16\x03\x01")  # the begin of a hello
        until_s = time.monotonic() + 20  # those that gave way may take a moment to be gone
        while threading.active_count() > threads + PLACES + 1:
            assert time.monotonic() < until_s
            time.sleep(0.01)
        scrape_in_the_end(server, certificates)


def test_a_handshake_that_drips_is_cut_off(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_HANDSHAKE_S", 0.3)
    hello = b"\x16\x03\x01\x10\x00" + bytes(4096)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.settimeout(0.05)
        until_s = time.monotonic() + 20
        for byte in hello:
            try:
                connection.sendall(bytes([byte]))
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() < until_s, "it was left to drip"


def test_after_its_end_a_handshake_is_over_too(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as idle:
        until_s = time.monotonic() + 20
        while not server._since_s and time.monotonic() < until_s:
            time.sleep(0.01)
        server.close()
        with contextlib.suppress(ConnectionResetError):
            assert idle.recv(1) == b""


def test_files_that_do_not_fit_are_told_by_their_setting(tls: MutualTls, certificates: Path, tmp_path: Path) -> None:
    open_key = tmp_path / "open.key"
    open_key.write_bytes(tls.key.read_bytes())
    open_key.chmod(0o644)
    with pytest.raises(ConfigError, match=r"^metrics\.tls\.key: others may read"):
        tls_context(tls.model_copy(update={"key": open_key}))
    with pytest.raises(ConfigError, match=r"^metrics\.tls: .*no pair of certificate and key"):
        tls_context(tls.model_copy(update={"key": certificates / "foreign.key"}))
    with pytest.raises(ConfigError, match=r"^metrics\.tls\.client_ca: .*holds no certificates"):
        tls_context(tls.model_copy(update={"client_ca": tls.key}))
    with pytest.raises(ConfigError, match=r"^metrics\.tls\.certificate: can't read"):
        tls_context(tls.model_copy(update={"certificate": tmp_path / "nowhere"}))


def test_a_key_with_a_password_is_refused_without_asking_the_terminal(tls: MutualTls, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", str(tls.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    locked.chmod(0o600)
    with pytest.raises(ConfigError, match="without a password"):
        tls_context(tls.model_copy(update={"key": locked}))
