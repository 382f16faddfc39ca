"""Messages from the children to the gate: one bounded PULL socket."""

from __future__ import annotations

from collections.abc import Iterator

import zmq

from inspector.domain.errors import FatalError
from inspector.wire.messages import GateMessage, WireError, decode_for_gate

#: Messages that may wait on each side; a gate that is so far behind is wedged, and its systemd watchdog acts.
HIGH_WATER = 10_000


class GateInbox:
    """The gate's end.

    Args:
        context: ZeroMQ context.
        endpoint: Bound here.

    Attributes:
        malformed: Messages that could not be read.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(endpoint)
        self.malformed = 0

    @property
    def socket(self) -> zmq.Socket[bytes]:
        """For a poller."""
        return self._socket

    def messages(self, limit: int) -> Iterator[GateMessage]:
        """At most `limit` messages that wait; never waits itself."""
        for _ in range(limit):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if len(parts) != 1:
                    raise WireError(f"{len(parts)} parts, expected one")
                yield decode_for_gate(parts[0])
            except WireError:
                self.malformed += 1

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        self._socket.close()


class GateOutbox:
    """A child's end.

    Args:
        context: ZeroMQ context.
        endpoint: Of the gate.
        timeout_ms: A gate that takes nothing for so long is gone or wedged.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, timeout_ms: int = 2000) -> None:
        self._socket = context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        self._socket.setsockopt(zmq.SNDTIMEO, timeout_ms)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.connect(endpoint)

    def send(self, message: GateMessage) -> None:
        """Sends a message.

        Raises:
            FatalError: The gate took nothing within the timeout: the child can only leave.
        """
        try:
            self._socket.send(message.encode())
        except zmq.Again:
            raise FatalError("the gate takes no messages; is it stopped or overloaded?") from None

    def close(self) -> None:
        """Closes the socket after what was sent has gone. Idempotent."""
        self._socket.close()
