"""Requests of people to a running line: each is written to the audit log before it is done."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

from inspector.domain.errors import FatalError
from inspector.outputs.audit_log import AuditLog
from inspector.wire.control import Asked, ControlSocket

log = logging.getLogger("inspector")


class Station(Protocol):
    """What can be asked of the gate."""

    def pause(self) -> None:
        """Wants no more triggers."""

    def resume(self) -> None:
        """Wants triggers again."""

    def activate(self, folder: Path, who: str, why: str, view: str | None = None) -> None:
        """Begins to take up another recipe, or raises."""

    def rollback(self, who: str, why: str, view: str | None = None) -> None:
        """Begins to take up the former recipe, or raises."""

    def reload(self, who: str, why: str) -> None:
        """Takes up what has changed in the configuration's file, or raises."""

    def status(self) -> dict[str, Any]:
        """How the line stands."""


class ControlDesk:
    """Takes requests from the control socket to the station.

    Args:
        socket: Where they come from.
        audit: Where changes are written down.

    Attributes:
        audit: The same.
    """

    def __init__(self, socket: ControlSocket, audit: AuditLog) -> None:
        self._socket = socket
        self.audit = audit

    def fileno(self) -> int:
        """For a poller: readable when somebody asks."""
        return self._socket.fileno()

    def serve(self, station: Station) -> None:
        """Does what was asked since the last call; never waits, except for the disk that holds the audit log."""
        for asked in self._socket.take():
            asked.answer(self._do(asked, station))

    def _do(self, asked: Asked, station: Station) -> dict[str, Any]:
        request = asked.request
        if request.action == "status":
            return {"ok": True, **station.status()}
        facts = {} if request.recipe is None else {"recipe": str(request.recipe)}
        if request.view is not None:
            facts["view"] = request.view
        try:
            self.audit.append(request.action, who=asked.who, why=request.why, **facts)
        except OSError as error:
            log.error("%s refused: the audit log can't be written: %s", request.action, error.strerror)
            return {"ok": False, "error": f"the audit log can't be written ({error.strerror}); nothing was changed"}
        log.warning("%s by %s: %s", request.action, asked.who, request.why or "no reason given")
        try:
            if request.action == "pause":
                station.pause()
            elif request.action == "resume":
                station.resume()
            elif request.action == "reload":
                station.reload(asked.who, request.why)
            elif request.action == "rollback":
                station.rollback(asked.who, request.why, request.view)
            elif request.recipe is not None:
                station.activate(request.recipe, asked.who, request.why, request.view)
            else:
                raise FatalError("activate needs a recipe")
        except FatalError as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, **station.status()}
