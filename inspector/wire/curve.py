"""CURVE: who may connect to a socket beyond this machine, by keys. Everybody else is turned away before a byte is sent.

libzmq encrypts, and asks a ZAP handler whose keys it lets in; without one it lets everybody in. So the handler's domain
is enforced: where it doesn't answer, nobody is let in.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from inspector.config.keys import CurveKeys, public_key, secret_key
from inspector.config.secrets import refuse_if_changeable
from inspector.domain.errors import ConfigError, DataError

log = logging.getLogger("inspector")

#: A connection that has not proven who it is for so long is closed.
_HANDSHAKE_MS = 2000
#: A connection that is silent for so long is asked whether it is still there.
_KEEPALIVE_S = 60
#: Connections that say nothing hold a descriptor until then; the gate needs some for itself.
_DESCRIPTORS = 65_536
#: A stranger waits for the refusal, so that many of them leave the processor to the gate.
_REFUSAL_S = 0.005
_LOG_EVERY_S = 60.0


@dataclass(frozen=True)
class KeyRing:
    """Keys of an endpoint.

    Attributes:
        secret: Secret key of this side, Z85.
        clients: Names by public key, Z85, of those who may connect.
    """

    secret: bytes
    clients: Mapping[bytes, str]


def load_keys(curve: CurveKeys, setting: str) -> KeyRing:
    """Reads the keys that a configuration names.

    Args:
        curve: The section.
        setting: Its dotted key, for messages.

    Raises:
        ConfigError: A file can't be read, is no key, or lies open to others.
    """
    return KeyRing(secret_key(curve.secret_key, f"{setting}.secret_key"), client_names(curve, setting))


def client_names(curve: CurveKeys, setting: str) -> dict[bytes, str]:
    """Names of those who may connect, by public key (Z85); arguments and errors as for `load_keys`."""
    setting = f"{setting}.clients"
    try:
        mode = curve.clients.stat().st_mode
        files = sorted(path for path in curve.clients.iterdir() if path.suffix == ".key")
    except OSError as error:
        raise ConfigError(f"{setting}: can't read the folder {curve.clients}: {error.strerror}") from error
    refuse_if_changeable(curve.clients, mode, setting)
    if not files:
        log.warning("%s: no file NAME.key in %s: nobody may connect", setting, curve.clients)
    return {public_key(file, setting): file.stem for file in files}


def write_key_pair(name: str, folder: Path) -> tuple[Path, Path]:
    """Makes a key pair: NAME.key and NAME.key_secret, in the format of `zmq.auth`. Nothing is overwritten.

    Args:
        name: Of the owner, letters, digits and ``._-``.
        folder: Made if it is not there.

    Returns:
        The files with the public and with the secret key, the latter with mode 0600 from its first byte on.

    Raises:
        DataError: The name is none, or a file is there already or can't be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise DataError(f"{name!r} can't be the name of a key: take letters, digits and ._-, at most 64")
    public, secret = (key.decode() for key in zmq.curve_keypair())
    lines = f'metadata\n    name = "{name}"\ncurve\n    public-key = "{public}"\n'
    files = folder / f"{name}.key", folder / f"{name}.key_secret"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_new(files[1], f'# Secret: never leaves its owner.\n{lines}    secret-key = "{secret}"\n', 0o600)
        try:
            _write_new(files[0], f"# Public: goes to those who are to know {name}.\n{lines}", 0o644)
        except OSError:
            files[1].unlink()
            raise
    except OSError as error:
        raise DataError(f"{error.filename}: can't be written: {error.strerror}; nothing was changed") from error
    return files


def _write_new(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


class CurveServer:
    """Sockets that only known keys may connect to: a ZeroMQ context of their own, with its ZAP handler in a thread.

    Its own context, because strangers keep its threads busy, and the gate's must not wait for them.

    Attributes:
        context: For the sockets.
    """

    def __init__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        enough = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < enough:
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator = ThreadAuthenticator(self.context)
        self._authenticator.start()

    def protect(self, socket: zmq.Socket[bytes], keys: KeyRing, domain: str) -> None:
        """Makes a socket of this context ask for keys; to be called before it is bound.

        Args:
            socket: The socket.
            keys: Its own, and those that may connect.
            domain: Name of the endpoint, another for each.
        """
        self._authenticator.configure_curve_callback(domain, _Doorman(keys.clients, domain))
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)  # a client whose cable was pulled is forgotten in the end
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_S)

    def close(self) -> None:
        """Ends the thread; the sockets must be closed already. Idempotent."""
        if not self.context.closed:
            self._authenticator.stop()
            self.context.term()


class _Doorman:
    """Says who is let in; called in the handler's thread, with keys that their owners have proven to have."""

    def __init__(self, clients: Mapping[bytes, str], domain: str) -> None:
        self._clients = clients
        self._domain = domain
        self._refused = 0
        self._told_s: float | None = None

    def callback(self, domain: str, key: bytes) -> bool:
        """True for a known public key (Z85)."""
        if key in self._clients:
            log.info("%s: %s is connected", domain, self._clients[key])
            return True
        self._refused += 1
        now_s = time.monotonic()
        if self._told_s is None or now_s - self._told_s >= _LOG_EVERY_S:
            self._told_s = now_s
            log.warning(
                "%s: refused a client with an unlisted key (%s), %d so far", domain, key.decode(), self._refused
            )
        time.sleep(_REFUSAL_S)
        return False
