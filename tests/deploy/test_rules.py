"""The rules hold what they promise: promtool plays stories, and every alert tells somebody what to do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from inspector.domain.threshold import Threshold
from inspector.outputs.metrics import Families, LineMetrics
from inspector.outputs.shadow_metrics import ShadowMetrics

from .monitoring import panel_expressions, rule_expressions, rules

Tool = Callable[[str, str], str]


def promtool(tool: Tool, folder: Path, *arguments: str) -> None:
    command = [tool("promtool", "prometheus"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_reads_rules_and_configuration(tool: Tool, root: Path) -> None:
    folder = root / "deploy/prometheus"
    promtool(tool, folder, "check", "rules", "alerts.yaml", "recording.yaml")
    promtool(tool, folder, "check", "config", "prometheus.yaml")


def test_stories(tool: Tool, root: Path) -> None:
    folder = root / "deploy/prometheus/tests"
    promtool(tool, folder, "test", "rules", *sorted(path.name for path in folder.glob("*.yaml")))


def stories(root: Path) -> list[dict[str, Any]]:
    """Every story: series, and expectations at moments of them."""
    files = sorted((root / "deploy/prometheus/tests").glob("*.yaml"))
    return [story for path in files for story in yaml.safe_load(path.read_text())["tests"]]


def asks_for(expectation: dict[str, Any], alert: str) -> bool:
    """True if the expectation would see the alert."""
    match = re.search(r'alertname(=~?)"([^"]*)"', expectation["expr"])
    if match is None:
        return False
    return alert == match.group(2) if match.group(1) == "=" else re.fullmatch(match.group(2), alert) is not None


def fired(expectation: dict[str, Any], alert: str) -> list[str]:
    """The series of the alert that an expectation lists."""
    return [sample["labels"] for sample in expectation["exp_samples"] if f'alertname="{alert}"' in sample["labels"]]


def stations(texts: list[str]) -> set[str]:
    """Stations that series name."""
    return {name for text in texts for name in re.findall(r'station="([^"]+)"', text)}


def test_every_alert_has_a_story_where_it_fires_and_one_where_it_does_not(root: Path) -> None:
    for rule in rules(root, "alerts.yaml"):
        alert = rule["alert"]
        fires = quiet = False
        for story in stories(root):
            seen = [expectation for expectation in story["promql_expr_test"] if asks_for(expectation, alert)]
            there = stations([series["series"] for series in story["input_series"]])
            for expectation in seen:
                listed = fired(expectation, alert)
                fires |= bool(listed)
                # Quiet at that moment, or quiet for a station beside the one where it fires.
                quiet |= not listed or bool(there - stations(listed))
        assert fires, alert
        assert quiet, alert


def anchors(text: str) -> set[str]:
    """The anchors that a renderer makes from the headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_tells_the_operator_what_to_do(root: Path) -> None:
    chapters = anchors((root / "docs/operations.md").read_text())
    for rule in rules(root, "alerts.yaml"):
        told = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(told) == {"summary", "description", "runbook_url"}, rule["alert"]
        assert len(told["description"]) > 60
        document, anchor = told["runbook_url"].split("#")
        assert document == "file:///opt/inspector/doc/operations.md"
        assert anchor == rule["alert"].lower()
        assert anchor in chapters, f"docs/operations.md has no chapter {rule['alert']}"


def test_annotations_use_labels_that_the_alert_has(root: Path) -> None:
    for rule in rules(root, "alerts.yaml"):
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        expectations = [expectation for story in stories(root) for expectation in story["promql_expr_test"]]
        samples = [labels for expectation in expectations for labels in fired(expectation, rule["alert"])]
        assert samples
        for labels in samples:
            assert used <= set(re.findall(r'(\w+)="', labels)), rule["alert"]


def exported() -> set[str]:
    """Names of the series that a gate exports, and of those that Prometheus adds."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    families = Families(registry, 0.5)
    threshold = Threshold(2.0, 0.01, 0.009, 0.95, "tolerance_limit", 300, 0, True, 0)
    recipe = {"recipe": "tile"}
    LineMetrics(families, station="press", threshold=threshold, recipe=recipe, version="1")
    ShadowMetrics(families, "press", threshold, recipe)
    names = {"up", "ALERTS"}
    for family in registry.collect():
        names.add(family.name)
        names |= {family.name + ending for ending in ("_total", "_bucket", "_sum", "_count")}
    return names


@pytest.mark.parametrize("source", ["alerts.yaml", "recording.yaml", "dashboards"])
def test_every_metric_that_is_asked_for_is_exported(root: Path, source: str) -> None:
    known = exported() | {rule["record"] for rule in rules(root, "recording.yaml")}
    expressions = panel_expressions(root) if source == "dashboards" else rule_expressions(root, source)
    assert len(expressions) >= 10
    for expression in expressions:
        ours = {name for name in expression.metrics() if not name.startswith(("node_", "DCGM_"))}
        assert expression.metrics(), expression
        assert ours <= known, f"{expression.where} asks for {ours - known}"
