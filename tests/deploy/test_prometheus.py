"""A real Prometheus scrapes a real line; every query that is shipped runs there and finds something."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from inspector.recipe.store import load_recipe, write_recipe
from inspector.wire.curve import write_key_pair

from ..ports import free_port
from ..process.conftest import Daemon, StartDaemon, wait_for
from ..striped_parts import damaged_part, striped_part
from .monitoring import Expression, panel_expressions, rule_expressions

#: A busy machine has little time for archive, refiner and shadow, which all have to have done something.
pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

#: Series that need a device which a test machine does not have.
WITHOUT_DATA = {"DCGM_": "dcgm-exporter needs an NVIDIA GPU"}


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **arguments: str) -> Any:
        address = f"{self._address}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(address, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{arguments}: {error.read().decode()}") from error

    def query(self, promql: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.get("query", query=promql)["result"]
        return result


@contextmanager
def running(command: list[str], output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended in any case."""
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def substituted(promql: str) -> str:
    """The query as Grafana sends it."""
    for name, value in {"$__rate_interval": "1m", "$__range": "6h", "$station": "station"}.items():
        promql = promql.replace(name, value)
    assert "$" not in promql
    return promql


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A remote camera that shows good parts and damaged ones for ever: how a station configures it."""
    pictures, keys = tmp_path / "pictures", tmp_path / "keys"
    pictures.mkdir()
    for number in range(4):
        pixels = striped_part(number) if number % 2 else damaged_part(number)
        cv2.imwrite(str(pictures / f"{number}.png"), pixels)
    server_key, server_secret = write_key_pair("camera", keys)
    _, secret = write_key_pair("station", keys / "clients")
    address = f"tcp://127.0.0.1:{free_port()}"
    config = {
        "camera": {"kind": "folder", "path": str(pictures), "rate": 10, "loop": True},
        "listen": address,
        "curve": {"secret_key": str(server_secret), "clients": str(keys / "clients")},
    }
    (tmp_path / "camera.yaml").write_text(yaml.safe_dump(config))
    output = tmp_path / "camera.txt"
    command = [sys.executable, "-m", "inspector", "camera", "-c", str(tmp_path / "camera.yaml")]
    with running(command, output) as process:
        wait_for(lambda: "is served on" in output.read_text() or process.poll() is not None, "the camera's server")
        assert process.poll() is None, output.read_text()
        yield {"kind": "remote", "connect": address, "server_key": str(server_key), "secret_key": str(secret)}


@pytest.fixture
def whole(start: StartDaemon, camera: dict[str, Any], refinable_recipe: Path, tmp_path: Path) -> Daemon:
    """A line with all that can stand beside it: archive, refiner, and a shadow that rejects everything."""
    recipe = load_recipe(refinable_recipe)
    threshold = recipe.manifest.threshold.model_copy(update={"value": 0.01 * recipe.manifest.threshold.value})
    strict = recipe.manifest.model_copy(update={"name": "strict", "threshold": threshold})
    return start(
        recipe=str(refinable_recipe),
        camera=camera,
        line={"queue_frames": 256},
        verdicts={"endpoint": None},
        archive={"folder": str(tmp_path / "archive"), "refine": True, "refine_iterations": 10},
        shadow=str(write_recipe(tmp_path / "strict", strict, recipe.weights_path.read_bytes()).folder),
    )


def test_every_query_that_is_shipped_finds_data(
    tool: Callable[[str, str], str], root: Path, whole: Daemon, tmp_path: Path
) -> None:
    program = tool("prometheus", "prometheus")
    exporter = shutil.which("prometheus-node-exporter")
    without_data = dict(WITHOUT_DATA)
    if exporter is None:
        assert os.environ.get("CI") != "true", "prometheus-node-exporter is not installed"
        without_data["node_"] = "prometheus-node-exporter is not installed"
    whole.wait_for_verdicts(5)
    address = re.search(r"http://(127\.0\.0\.1:\d+)/metrics", whole.errors())
    assert address is not None, whole.errors()
    port, node_port = free_port(), free_port()
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(root / "deploy/prometheus" / name) for name in config["rule_files"]]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    jobs["inspector"]["static_configs"] = [{"targets": [address.group(1)]}]
    jobs["node"]["static_configs"] = [{"targets": [f"127.0.0.1:{node_port}"]}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={tmp_path}/prometheus.yaml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    # Without an exporter a process that waits stands in its place, so that both ends are closed in one way.
    beside = [exporter, f"--web.listen-address=127.0.0.1:{node_port}"] if exporter else ["sleep", "600"]
    with running(beside, tmp_path / "node.txt"), running(command, tmp_path / "prometheus.txt") as process:
        prometheus = Prometheus(port)
        wait_for(
            lambda: prometheus.ready() or process.poll() is not None,
            f"Prometheus\n{(tmp_path / 'prometheus.txt').read_text()}",
        )
        check(prometheus, root, without_data)
    assert whole.stop() == 0, whole.errors()


def check(prometheus: Prometheus, root: Path, without_data: dict[str, str]) -> None:
    """Every expression finds data, and on a line that is well no alert fires."""
    recordings = rule_expressions(root, "recording.yaml")
    wanted = panel_expressions(root) + recordings
    for expression in rule_expressions(root, "alerts.yaml"):
        # A line that is well meets no alert's condition: each series that it reads must be there instead, and the
        # expression must run.
        prometheus.query(expression.promql)
        wanted += [Expression(f"{expression.where} reads {name}", name) for name in expression.selectors()]
    excused = {e.where for e in wanted for prefix in without_data if any(n.startswith(prefix) for n in e.metrics())}
    assert len(excused) < len(wanted) / 4, "most of what is shipped must be tried"

    def missing() -> list[str]:
        return [e.where for e in wanted if e.where not in excused and not prometheus.query(substituted(e.promql))]

    def all_there() -> bool:
        return not missing()

    try:
        wait_for(all_there, "data", patience_s=180)
    except AssertionError:
        pytest.fail("no data for:\n" + "\n".join(missing()))
    for rule in prometheus.get("rules")["groups"]:
        for state in rule["rules"]:
            assert state["health"] == "ok", state
            assert not state.get("lastError"), state
    wait_for(lambda: prometheus.query('inspector_process_up{process="worker"} == 1'), "the worker")
    wait_for(lambda: prometheus.query('inspector_refinements_total{outcome="refined"} > 0'), "outlines")
    wait_for(lambda: prometheus.query('inspector_shadow_parts_total{line="pass",shadow="fail"} > 0'), "the shadow")
    assert prometheus.query("sum(inspector_ledger_imbalance_parts)")[0]["value"][1] == "0"
    yields = float(prometheus.query("station:inspector_fpy:ratio1h")[0]["value"][1])
    assert 0 <= yields <= 1
    firing = {alert["metric"]["alertname"] for alert in prometheus.query('ALERTS{alertstate="firing"}')}
    assert not firing & {"InspectorTargetDown", "InspectorHeartbeatLost", "InspectorLedgerImbalance", "InspectorBlind"}
