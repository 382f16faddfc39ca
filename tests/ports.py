"""Ports for servers that a test starts."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10_000


def free_port() -> int:
    """A port that nobody has, and that the kernel gives to nobody either: one of its own choice might be another
    program's before the server has begun, and a client that tries it again and again might come to connect to itself.
    """
    first = int(_EPHEMERAL.read_text().split()[0]) if _EPHEMERAL.exists() else 32_768
    ports = random.SystemRandom()  # the same for no two processes, whatever a test seeds
    for _ in range(1000):
        port = ports.randrange(_LOWEST, first)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"no port below {first} is free")
