"""The JSON that is shipped is what the Python says, and fits any Grafana: no fixed datasource, no unnamed unit."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from .monitoring import panels

needs_sdk = pytest.mark.skipif(sys.version_info < (3, 11), reason="grafana-foundation-sdk needs Python 3.11")


def boards(root: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in (root / "deploy/grafana/dashboards").glob("*.json")}


@needs_sdk
def test_json_is_what_the_python_makes(root: Path) -> None:
    command = [sys.executable, str(root / "deploy/grafana/dashboards.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@needs_sdk
def test_python_of_the_dashboards_is_typed(root: Path, tmp_path: Path) -> None:
    # Apart from the project's own run of mypy: the SDK's types need Python 3.11.
    files = [str(path) for path in sorted((root / "deploy/grafana").glob("*.py"))]
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", "--cache-dir", str(tmp_path)]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def contained(one: Any, other: Any) -> bool:
    """True if all that one says stands in the other too, which may add defaults."""
    if isinstance(one, dict):
        return isinstance(other, dict) and all(key in other and contained(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(contained, one, other))
    return bool(one == other)


@needs_sdk
def test_grafanas_types_read_the_json_and_write_the_same(root: Path) -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    for name, board in boards(root).items():
        again = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
        assert contained(board, again), name


def test_pages_choose_datasource_and_station(root: Path) -> None:
    assert set(boards(root)) == {"station.json", "machine-room.json"}
    for board in boards(root).values():
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        assert variables["datasource"]["type"] == "datasource"
        assert variables["datasource"]["query"] == "prometheus"
        assert "label_values(" in variables["station"]["query"]
        assert set(found(board, "uid")) - {board["uid"]} == {"${datasource}"}
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))


def found(value: Any, key: str) -> list[Any]:
    """Every value of a key, however deep."""
    if isinstance(value, list):
        return [item for entry in value for item in found(entry, key)]
    if isinstance(value, dict):
        return [item for name, entry in value.items() for item in ([entry] if name == key else found(entry, key))]
    return []


def test_every_panel_explains_itself_and_asks_the_chosen_datasource(root: Path) -> None:
    assert len(panels(root)) > 30
    for name, panel in panels(root):
        where = f"{name}: {panel['title']}"
        assert panel["description"].endswith("."), where
        assert found(panel, "unit"), where
        assert panel["datasource"]["uid"] == "${datasource}", where
        assert panel["targets"], where
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", where
            by_machine = target["expr"].startswith(("up{", "node_", "1 - avg by (instance)", "rate(node_", "DCGM_"))
            assert by_machine or 'station=~"$station' in target["expr"], where


def test_panels_lie_beside_each_other(root: Path) -> None:
    for name, board in boards(root).items():
        for one, other in combinations(board["panels"], 2):
            a, b = one["gridPos"], other["gridPos"]
            apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
            assert apart_x or apart_y, f"{name}: {one['title']} over {other['title']}"
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


def test_provisioning_names_the_folder_that_the_installation_fills(root: Path) -> None:
    provisioning = root / "deploy/grafana/provisioning"
    source = yaml.safe_load((provisioning / "datasources/inspector.yaml").read_text())["datasources"][0]
    assert source["type"] == "prometheus"
    scrape = yaml.safe_load((root / "deploy/prometheus/prometheus.yaml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scrape
    provider = yaml.safe_load((provisioning / "dashboards/inspector.yaml").read_text())["providers"][0]
    assert provider["options"]["path"] == "/opt/inspector/grafana/dashboards"
