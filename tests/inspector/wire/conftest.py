"""Sockets that are closed at the end of a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """A ZeroMQ context that holds on to its sockets and closes them after the test."""
    sockets: list[zmq.Socket[bytes]] = []

    class HoldingContext(zmq.Context[zmq.Socket[bytes]]):
        def socket(self, *arguments: Any, **options: Any) -> zmq.Socket[bytes]:
            sockets.append(super().socket(*arguments, **options))
            return sockets[-1]

    context = HoldingContext()
    yield context
    for socket in sockets:
        socket.close(linger=0)
    context.term()
