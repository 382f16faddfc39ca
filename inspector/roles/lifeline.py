"""A child's standard input: commands of the gate, and its end when the gate is gone."""

from __future__ import annotations

import os
from collections.abc import Callable


class Lifeline:
    """Reads the gate's commands without waiting.

    Args:
        fd: File descriptor of the pipe, standard input by default.
        read: For tests.

    Attributes:
        armed: The gate wants triggers.
        stopping: The gate wants the child to finish, or is gone.
        left: Lines that no longer need the child; others do.
    """

    def __init__(self, fd: int = 0, read: Callable[[int, int], bytes] = os.read) -> None:
        self.fd = fd
        self.armed = False
        self.stopping = False
        self.left: set[str] = set()
        self._read = read
        self._rest = b""
        os.set_blocking(fd, False)

    def take(self) -> None:
        """Takes up what the gate said since the last call."""
        while True:
            try:
                data = self._read(self.fd, 4096)
            except BlockingIOError:
                return
            if not data:  # end of file: the gate is gone, even by SIGKILL
                self.stopping = True
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                if line == b"arm":
                    self.armed = True
                elif line == b"disarm":
                    self.armed = False
                elif line == b"stop":
                    self.stopping = True
                elif line.startswith(b"leave "):
                    self.left.add(line.removeprefix(b"leave ").decode())
