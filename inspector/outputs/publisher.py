"""Verdicts and heartbeats as JSON on a ZeroMQ PUB socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import zmq

from inspector.domain.errors import ConfigError

#: Messages that may wait for a slow subscriber; beyond it that subscriber misses some, the line never waits.
_HIGH_WATER = 10_000


class Publisher:
    """Two-part messages: the topic ("verdict" or "heartbeat"), and a JSON object.

    Args:
        context: ZeroMQ context.
        endpoint: Bound here; None publishes nothing.
        protect: Called with the socket before it is bound, to make it ask who connects.

    Raises:
        ConfigError: The endpoint can't be bound.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str | None,
        protect: Callable[[zmq.Socket[bytes]], None] = lambda socket: None,
    ) -> None:
        self._socket: zmq.Socket[bytes] | None = None
        if endpoint is None:
            return
        socket = context.socket(zmq.PUB)
        socket.setsockopt(zmq.SNDHWM, _HIGH_WATER)
        socket.setsockopt(zmq.LINGER, 200)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        protect(socket)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            socket.close()
            raise ConfigError(
                f"verdicts.endpoint: can't listen on {endpoint}: {error}; is another inspector running?"
            ) from error
        self._socket = socket

    def publish(self, topic: str, record: dict[str, Any]) -> None:
        """Sends a record; never waits."""
        if self._socket is not None:
            self._socket.send_multipart([topic.encode(), json.dumps(record, allow_nan=False).encode()], zmq.NOBLOCK)

    def close(self) -> None:
        """Sends what is left for a moment, then closes. Idempotent."""
        if self._socket is not None:
            self._socket.close()
