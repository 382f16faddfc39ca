"""Where verdicts and the state of the line go: ZeroMQ, JSON lines, Prometheus, systemd."""
