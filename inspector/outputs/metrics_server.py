"""Answers /metrics from a thread."""

from __future__ import annotations

import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from inspector.domain.errors import ConfigError


class MetricsServer:
    """The HTTP endpoint of a registry.

    Args:
        registry: What is served.
        host: Address to listen on.
        port: Port; 0 takes a free one.

    Attributes:
        port: The port, chosen by the system if 0 was asked for.

    Raises:
        ConfigError: The port is taken.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        try:
            server, thread = start_http_server(port, addr=host, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"metrics.port: can't listen on {host}:{port}: {error.strerror}; choose another port, or 0 for a "
                "free one"
            ) from error
        self._server: tuple[WSGIServer, threading.Thread] | None = (server, thread)
        self.port: int = server.server_port

    def close(self) -> None:
        """Stops answering. Idempotent."""
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(2)
            self._server = None
