"""What the gate tells systemd: ready, alive, stopping (sd_notify, a datagram to a UNIX socket)."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger("inspector")


class ServiceManager:
    """Speaks to the service manager, if there is one.

    Args:
        environ: NOTIFY_SOCKET and WATCHDOG_USEC as systemd sets them.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        watchdog = environ.get("WATCHDOG_USEC", "")
        self.watchdog_ns = int(watchdog) * 1000 if watchdog.isdigit() else None

    def notify(self, state: str) -> None:
        """Sends for example "READY=1", "WATCHDOG=1" or "STOPPING=1"; does nothing outside systemd."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
                link.settimeout(0.2)
                link.sendto(state.encode(), self._address)
        except OSError as error:
            log.warning("service manager: %s", error)
