"""A real Prometheus scrapes a station beyond its machine as the shipped example says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, Gauge

from inspector.config.schema import MutualTls
from inspector.outputs.metrics_server import MetricsServer, tls_context

from ..certificates import make_certificates
from ..ports import free_port
from ..process.conftest import wait_for
from .test_prometheus import Prometheus

pytestmark = pytest.mark.process


def shipped_job(root: Path) -> str:
    """The job for stations on other machines, which is commented out in the shipped file."""
    text = (root / "deploy/prometheus/prometheus.yaml").read_text()
    block = re.search(r"^  # - job_name: inspector\n(?:  # .*\n)+", text, re.MULTILINE)
    assert block is not None
    return re.sub(r"^  # ", "  ", block.group(0), flags=re.MULTILINE)


def test_the_shipped_example_scrapes_with_a_certificate_and_nothing_without(
    root: Path, tool: Callable[[str, str], str], tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    registry = CollectorRegistry()
    Gauge("parts", "Parts.", registry=registry).set(7)
    tls = MutualTls(
        certificate=certificates / "station.pem", key=certificates / "station.key", client_ca=certificates / "plant.pem"
    )
    server = MetricsServer(registry, "127.0.0.1", 0, tls_context(tls))
    job = shipped_job(root).replace("press-1.plant:9464", f"127.0.0.1:{server.port}")
    for shipped, made in (("plant-ca.pem", "plant.pem"), ("prometheus.pem", "prometheus.pem"), ("prometheus.key",) * 2):
        assert f"/etc/prometheus/{shipped}" in job
        job = job.replace(f"/etc/prometheus/{shipped}", str(certificates / made))
    stranger = job.replace("job_name: inspector", "job_name: stranger").replace("/prometheus.", "/stranger.")
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1s}\nscrape_configs:\n" + job + stranger)
    assert len(yaml.safe_load(config.read_text())["scrape_configs"]) == 2
    port = free_port()
    command = [
        tool("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        prometheus = Prometheus(port)
        wait_for(prometheus.ready, "Prometheus is ready")
        (scraped,) = wait_for(
            lambda: prometheus.query('parts{job="inspector"}'), f"a scrape\n{(tmp_path / 'log').read_text()}"
        )
        assert scraped["value"][1] == "7"
        (tried,) = wait_for(lambda: prometheus.query('up{job="stranger"}'), "a scrape of the stranger's")
        assert tried["value"][1] == "0"
        assert prometheus.query('parts{job="stranger"}') == []
    finally:
        process.terminate()
        process.wait(30)
        server.close()
