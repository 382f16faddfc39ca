"""What the processes say on standard error: text for people, or one JSON object a line for programs that read logs.

Under systemd each line begins with its priority (``<3>`` is an error), which the journal takes off and keeps.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime, timezone

from inspector.domain.errors import ConfigError

#: Environment variable that chooses; children inherit it.
VARIABLE = "INSPECTOR_LOG"
_FORMATS = ("text", "json")
#: Of syslog, as `sd-daemon` has them.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, role, pid, station, message, and exception where there is one.

    Args:
        role: Of the process.
        station: Its name; "" until it is known.

    Attributes:
        station: The same.
    """

    def __init__(self, role: str, station: str = "") -> None:
        super().__init__()
        self.station = station
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        fields = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "pid": record.process,
            "station": self.station,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class PrioritisedFormatter(logging.Formatter):
    """Puts the priority before every line of what another formatter makes.

    Args:
        inner: The other one.

    Attributes:
        inner: The same.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The lines, without the last one's end."""
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in self.inner.format(record).splitlines())


def start_log(role: str, environ: Mapping[str, str], station: str = "", *, text: str) -> None:
    """Sends the log to standard error, once for a process.

    Args:
        role: Of the process: "gate", "camera", "worker" and so on.
        environ: Process environment.
        station: Name of the station; "" if it is not known yet, see `name_station`.
        text: Format of a line for people, as `logging` has it.

    Raises:
        ConfigError: The environment asks for a format that there isn't.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(role, environ, station, text=text, to_journal=_is_journal(environ)))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_formatter(
    role: str, environ: Mapping[str, str], station: str, *, text: str, to_journal: bool
) -> logging.Formatter:
    """The formatter that `start_log` uses.

    Raises:
        ConfigError: The environment asks for a format that there isn't.
    """
    chosen = environ.get(VARIABLE) or "text"
    if chosen not in _FORMATS:
        raise ConfigError(f"{VARIABLE}: {chosen!r} is no format of the log; take {' or '.join(_FORMATS)}")
    inner = JsonFormatter(role, station) if chosen == "json" else logging.Formatter(text)
    return PrioritisedFormatter(inner) if to_journal else inner


def name_station(station: str) -> None:
    """Puts the name of the station on the lines from now on."""
    for handler in logging.getLogger().handlers:
        formatter = handler.formatter
        if isinstance(formatter, PrioritisedFormatter):
            formatter = formatter.inner
        if isinstance(formatter, JsonFormatter):
            formatter.station = station


def _is_journal(environ: Mapping[str, str]) -> bool:
    """True if standard error leads to systemd's journal: systemd names the socket's device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or no file
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
