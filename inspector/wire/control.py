"""The control socket: requests to a running daemon, from this machine and by the daemon's own user or root only.

One request and one answer on each connection, JSON in one packet each (SOCK_SEQPACKET keeps their bounds).
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspector.domain.errors import ConfigError

#: Name of the socket in the runtime folder.
CONTROL = "control.sock"
_LARGEST_BYTES = 64 * 1024
_CONNECTIONS = 8
_PATIENCE_NS = 2_000_000_000
_CREDENTIALS = struct.Struct("3i")


class Request(BaseModel):
    """What can be asked of a daemon."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    """Version of this schema."""
    action: Literal["status", "pause", "resume", "activate", "rollback", "reload"]
    """What is to be done."""
    recipe: Path | None = None
    """For activate: the recipe's folder."""
    view: str | None = None
    """For activate and rollback: which view, where a station has several."""
    why: str = Field(default="", max_length=1000)
    """Reason, for the audit log."""


@dataclass(frozen=True)
class Asked:
    """A request and the way back to who sent it.

    Attributes:
        request: What is asked.
        who: User and process, as the kernel says.
    """

    request: Request
    who: str
    _connection: socket.socket

    def answer(self, content: dict[str, Any]) -> None:
        """Sends the answer and closes the connection; one that has gone away is no matter."""
        with contextlib.suppress(OSError), self._connection:
            self._connection.send(json.dumps(content, allow_nan=False).encode())


class ControlSocket:
    """The daemon's end. Nothing of it waits.

    Args:
        folder: The daemon's private folder.
        clock_ns: Monotonic clock.
    """

    def __init__(self, folder: Path, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = folder / CONTROL
        self._clock_ns = clock_ns
        self._silent: list[tuple[socket.socket, int]] = []
        self._path.unlink(missing_ok=True)  # of a run that was killed; the folder's lock is ours
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.bind(str(self._path))
        except OSError as error:
            self._socket.close()
            raise ConfigError(f"runtime_dir: no control socket at {self._path}: {error.strerror}") from error
        self._path.chmod(0o600)
        self._socket.listen(_CONNECTIONS)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For a poller: readable when somebody connects."""
        return self._socket.fileno()

    def take(self) -> list[Asked]:
        """The requests that have come; those that can't be read are answered here."""
        while len(self._silent) < _CONNECTIONS:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                break
            connection.setblocking(False)
            self._silent.append((connection, self._clock_ns()))
        asked, silent = [], []
        for connection, since_ns in self._silent:
            try:
                packet = connection.recv(_LARGEST_BYTES)
            except BlockingIOError:
                if self._clock_ns() - since_ns < _PATIENCE_NS:
                    silent.append((connection, since_ns))
                else:
                    connection.close()
                continue
            except OSError:
                packet = b""
            found = _understood(connection, packet)
            if found is not None:
                asked.append(found)
        self._silent = silent
        return asked

    def close(self) -> None:
        """Closes and removes the socket. Idempotent."""
        for connection, _ in self._silent:
            connection.close()
        self._silent = []
        self._socket.close()
        self._path.unlink(missing_ok=True)


def _understood(connection: socket.socket, packet: bytes) -> Asked | None:
    """The request in a packet; None, and an answer, if there is none or its sender may not ask."""
    if not packet:
        connection.close()
        return None
    pid, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    who = f"{_name(uid)} (uid {uid}, pid {pid})"
    try:
        if uid not in (0, os.getuid()):
            raise PermissionError(f"{who} may not control this daemon; be root or {_name(os.getuid())}")
        return Asked(Request.model_validate_json(packet), who, connection)
    except PermissionError as error:
        problem = str(error)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"the request can't be understood: {'.'.join(map(str, first['loc'])) or 'JSON'}: {first['msg']}"
    with contextlib.suppress(OSError), connection:
        connection.send(json.dumps({"ok": False, "error": problem}).encode())
    return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "unknown"


def ask(folder: Path, request: Request, timeout_s: float = 5.0) -> dict[str, Any]:
    """Sends a request to the daemon of a runtime folder and waits for its answer.

    Returns:
        The answer, with "ok".

    Raises:
        ConfigError: No daemon answers there.
    """
    path = folder / CONTROL
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.send(request.model_dump_json().encode())
            packet = connection.recv(_LARGEST_BYTES)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(
                f"no daemon answers at {path} ({reason}); is it running, and are you its user?"
            ) from error
    if not packet:
        raise ConfigError(f"the daemon at {path} gave no answer; look into its log")
    answer: dict[str, Any] = json.loads(packet)
    return answer
