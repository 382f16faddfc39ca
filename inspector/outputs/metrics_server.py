"""Answers /metrics from threads, a bounded number of them: whoever scrapes, the gate must not feel it.

Beyond this machine both sides show certificates (TLS). Each handshake has a thread of its own, so a slow one holds up
nobody; and as it costs the processor's time, only so many a second are begun.

A connection gets a place, a short time and few bytes. With all places taken the oldest connection gives way, unless all
have just come: then the new one is turned away. The page is made at most ten times a second, one at a time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from inspector.config.schema import MutualTls
from inspector.config.secrets import read_secret, read_trusted
from inspector.domain.errors import ConfigError

log = logging.getLogger("inspector")

#: Connections at once.
PLACES = 16
#: A connection that holds a place for longer may be closed for a new one.
_GRACE_S = 0.5
#: Longest time for a TLS handshake, for a request to come, and for the answer to be taken.
_HANDSHAKE_S = 2.0
_REQUEST_S = 2.0
_ANSWER_S = 5.0
#: Longest request; Prometheus' own has some 300 bytes.
_REQUEST_BYTES = 8192
#: A page is good for so long.
_PAGE_S = 0.1
_WAITING = 32
#: Pause between the beginnings of two TLS handshakes.
_BETWEEN_HANDSHAKES_S = 0.02


def tls_context(tls: MutualTls) -> ssl.SSLContext:
    """What the server shows, and whom it lets in.

    Raises:
        ConfigError: A file can't be read, is not what it should be, or lies open to others.
    """
    read_secret(tls.key, "metrics.tls.key")
    read_trusted(tls.certificate, "metrics.tls.certificate")
    authorities = read_trusted(tls.client_ca, "metrics.tls.client_ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    try:
        # Without a password of our own OpenSSL would ask the terminal for one.
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"metrics.tls: {tls.certificate} and {tls.key} are no pair of certificate and key in PEM format without a "
            f"password: {error}"
        ) from error
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(f"metrics.tls.client_ca: {tls.client_ca} holds no certificates in PEM format") from error
    return context


class MetricsServer:
    """The HTTP endpoint of a registry.

    Args:
        registry: What is served.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        tls: As `tls_context` makes it; None speaks plain HTTP.

    Attributes:
        port: The port, chosen by the system if 0 was asked for.

    Raises:
        ConfigError: The port is taken.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._registry = registry
        self._tls = tls
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._listener = socket.create_server(address[:2], family=family, backlog=_WAITING)
        except OSError as error:
            raise ConfigError(
                f"metrics.port: can't listen on {host}:{port}: {error.strerror}; choose another port, or 0 for a "
                "free one"
            ) from error
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._since_s: dict[socket.socket, float] = {}  # by connection, in the order in which they came
        self._page_lock = threading.Lock()
        self._page: tuple[str, float, bytes] = ("", 0.0, b"")
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops answering. Idempotent."""
        if self._closing:
            return
        self._closing = True
        _shut(self._listener)  # wakes the thread up
        self._thread.join(2)
        self._listener.close()
        with self._lock:
            for connection in self._since_s:
                _shut(connection)

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if not self._closing:
                    log.warning("metrics: a connection can't be taken: %s", error.strerror)
                    time.sleep(0.1)  # no descriptors, for example: they come back
                continue
            if self._tls is not None:
                try:
                    connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                except (OSError, ValueError):  # gone already
                    connection.close()
                    continue
            if not self._take_place(connection):
                connection.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), name="scrape", daemon=True).start()
            except RuntimeError:  # no more threads
                self._leave(connection)
            if self._tls is not None:
                time.sleep(_BETWEEN_HANDSHAKES_S)

    def _take_place(self, connection: socket.socket) -> bool:
        now_s = time.monotonic()
        with self._lock:
            if len(self._since_s) >= PLACES:
                oldest, since_s = next(iter(self._since_s.items()))
                if now_s - since_s < _GRACE_S:
                    return False
                del self._since_s[oldest]
                _shut(oldest)  # its thread closes it
            self._since_s[connection] = now_s
        return True

    def _leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._since_s.pop(connection, None)
        connection.close()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.settimeout(_HANDSHAKE_S)  # of all of it
                connection.do_handshake()
            request = _read_request(connection)
            if request is not None:
                connection.settimeout(_ANSWER_S)
                connection.sendall(self._answer(request))
                _shut(connection, socket.SHUT_WR)
        except OSError:  # gone, too slow, or made to give way
            pass
        finally:
            self._leave(connection)

    def _answer(self, request: bytes) -> bytes:
        if len(request) > _REQUEST_BYTES:
            return _response("431 Request Header Fields Too Large")
        first, *headers = request.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", "Allow: GET, HEAD")
        if path not in ("/metrics", "/"):
            return _response("404 Not Found")
        fields = (header.partition(":") for header in headers)
        accepted = next((value.strip() for name, _, value in fields if name.strip().lower() == "accept"), "")
        content_type, page = self._rendered(accepted)
        return _response("200 OK", f"Content-Type: {content_type}", body=page, head=method == "HEAD")

    def _rendered(self, accepted: str) -> tuple[str, bytes]:
        encoder, content_type = choose_encoder(accepted)
        with self._page_lock:
            known_type, rendered_s, page = self._page
            if known_type != content_type or time.monotonic() - rendered_s > _PAGE_S:
                page = encoder(self._registry)
                self._page = content_type, time.monotonic(), page
            return content_type, page


def _read_request(connection: socket.socket) -> bytes | None:
    """First line and headers, or more than `_REQUEST_BYTES` of something else; None where the other side left.

    Raises:
        OSError: It took too long.
    """
    until_s = time.monotonic() + _REQUEST_S
    data = b""
    while b"\r\n\r\n" not in data and len(data) <= _REQUEST_BYTES:
        connection.settimeout(max(until_s - time.monotonic(), 0.001))
        received = connection.recv(_REQUEST_BYTES)
        if not received:
            return None
        data += received
    return data


def _response(status: str, *headers: str, body: bytes = b"", head: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + (b"" if head else body)


def _shut(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with contextlib.suppress(OSError):  # gone already
        # Not that of SSLSocket, which takes the encryption away under the thread that reads.
        socket.socket.shutdown(connection, how)
