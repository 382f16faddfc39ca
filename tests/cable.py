"""A network cable between two programs of this machine, which can be pulled, or go dead without a word."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType

#: Longest wait for the thread that carries.
_PATIENCE_S = 60.0


class Cable:
    """Carries TCP connections from a port of its own to another.

    Attributes:
        port: Where to connect to.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._silent = threading.Event()
        self._pulled = threading.Event()
        self._closing = threading.Event()
        self._apart = threading.Event()
        self._still = threading.Event()
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def silence(self) -> None:
        """Nothing gets through any more, and nobody is told: what is sent waits or is lost."""
        self._silent.set()
        _await(self._still)

    def pull(self) -> None:
        """Every connection has ended, and no new one can be made."""
        self._pulled.set()
        _await(self._apart)

    def mend(self) -> None:
        """Whole again."""
        with self._changing:
            self._silent.clear()
            self._pulled.clear()
            self._apart.clear()
            self._still.clear()

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        self._thread.join()

    def _carry(self) -> None:
        while not self._closing.is_set():
            with self._changing:
                if self._pulled.is_set():
                    self._drop(*self._pairs)
                    self._apart.set()
                silent = self._silent.is_set()
                if silent:
                    self._still.set()
            readable, _, _ = select.select([self._listener, *([] if silent else self._pairs)], [], [], 0.02)
            for end in readable:
                if end is self._listener:
                    self._connect()
                elif end in self._pairs:
                    self._forward(end)
        self._drop(*self._pairs)
        self._listener.close()

    def _connect(self) -> None:
        near, _ = self._listener.accept()
        try:
            if self._pulled.is_set():
                raise ConnectionRefusedError
            far = socket.create_connection(self._target, timeout=5)
            near.settimeout(5)  # one that takes nothing is not waited for
        except OSError:
            near.close()
            return
        self._pairs[near], self._pairs[far] = far, near

    def _forward(self, end: socket.socket) -> None:
        try:
            data = end.recv(65536)
            if data:
                self._pairs[end].sendall(data)
                return
        except OSError:
            pass
        self._drop(end)

    def _drop(self, *ends: socket.socket) -> None:
        for end in ends:
            other = self._pairs.pop(end, None)
            if other is not None:
                self._pairs.pop(other, None)
                end.close()
                other.close()


def _await(event: threading.Event) -> None:
    if not event.wait(_PATIENCE_S):
        raise TimeoutError("the cable's thread does not run")
