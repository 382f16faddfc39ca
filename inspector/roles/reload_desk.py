"""A changed configuration file on a station that runs: what it can take up it takes up, all or nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from inspector.config.changes import changes
from inspector.config.schema import MAIN_VIEW, InspectorConfig
from inspector.domain.errors import ConfigError, FatalError
from inspector.outputs.audit_log import AuditLog
from inspector.roles.line import Line

log = logging.getLogger("inspector")


class ReloadDesk:
    """Reads the configuration anew when it is asked to.

    Args:
        config: What the station runs with.
        load: Reads the configuration's file, or raises.
        audit: Where changes are written down.
    """

    def __init__(self, config: InspectorConfig, load: Callable[[], InspectorConfig], audit: AuditLog) -> None:
        self._config = config
        self._load = load
        self._audit = audit

    def reload(self, lines: Sequence[Line], who: str, why: str, *, paused: bool) -> tuple[str, ...]:
        """Takes up what has changed in the file.

        Args:
            lines: The station's, in the order of `InspectorConfig.lines`.
            who: Who asked.
            why: Reason.
            paused: No triggers are wanted, and no part is open.

        Returns:
            The keys that were changed, dotted.

        Raises:
            FatalError: The file is wrong, or something of it can't be taken up now; the station goes on as it was.
        """
        new = self._load()
        asked = changes(self._config, new, paused=paused)
        if not asked.keys:
            return ()
        views = {("" if name == MAIN_VIEW else name): config for name, config in new.lines().items()}
        ready = dict(zip(views, lines, strict=True))
        for view in asked.recipes:
            ready[view].check_activation()
        try:
            self._audit.append("reloaded", who=who, why=why, keys=list(asked.keys))
        except OSError as error:
            raise ConfigError(f"the audit log can't be written ({error.strerror}); nothing was changed") from error
        self._config = new
        for view, config in views.items():
            ready[view].follow(
                config, camera=view in asked.cameras, archive=asked.archive, supervision=asked.supervision
            )
        for view in asked.recipes:
            ready[view].activate(views[view].recipe, who, why)
        log.warning("configuration reloaded by %s: %s", who, ", ".join(asked.keys))
        return asked.keys

    def try_to_reload(self, lines: Sequence[Line], who: str, *, paused: bool) -> None:
        """`reload` for a signal: what is wrong stands in the log."""
        try:
            if not self.reload(lines, who, "", paused=paused):
                log.info("configuration read again: nothing has changed")
        except FatalError as error:
            log.error("configuration not reloaded: %s", error)
