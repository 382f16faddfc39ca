"""Requests of people to a running line: each is written to the audit log before it is done."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from inspector.outputs.audit_log import AuditLog
from inspector.wire.control import Asked, ControlSocket

log = logging.getLogger("inspector")


class Line(Protocol):
    """What can be asked of the gate."""

    def pause(self) -> None:
        """Wants no more triggers."""

    def resume(self) -> None:
        """Wants triggers again."""

    def status(self) -> dict[str, Any]:
        """How the line stands."""


class ControlDesk:
    """Takes requests from the control socket to the line.

    Args:
        socket: Where they come from.
        audit: Where changes are written down.
    """

    def __init__(self, socket: ControlSocket, audit: AuditLog) -> None:
        self._socket = socket
        self._audit = audit

    def fileno(self) -> int:
        """For a poller: readable when somebody asks."""
        return self._socket.fileno()

    def serve(self, line: Line) -> None:
        """Does what was asked since the last call; never waits, except for the disk that holds the audit log."""
        for asked in self._socket.take():
            asked.answer(self._do(asked, line))

    def _do(self, asked: Asked, line: Line) -> dict[str, Any]:
        request = asked.request
        if request.action == "status":
            return {"ok": True, **line.status()}
        try:
            self._audit.append(request.action, who=asked.who, why=request.why)
        except OSError as error:
            log.error("%s refused: the audit log can't be written: %s", request.action, error.strerror)
            return {"ok": False, "error": f"the audit log can't be written ({error.strerror}); nothing was changed"}
        log.warning("%s by %s: %s", request.action, asked.who, request.why or "no reason given")
        {"pause": line.pause, "resume": line.resume}[request.action]()
        return {"ok": True, **line.status()}
