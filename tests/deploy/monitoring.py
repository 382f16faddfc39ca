"""Reads what is shipped for Prometheus and Grafana: expressions, and the series that they name."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: A metric's name where PromQL expects one: before braces, a range, or alone; never a function, label or keyword.
_METRIC = re.compile(
    r"\b((?:station|station_cause):[a-z0-9_:]+|(?:inspector|process|node)_[a-z0-9_]+|DCGM_[A-Z_]+|up|ALERTS)\b"
)
_BRACES = re.compile(r"\{[^}]*\}")
_GROUPING = re.compile(r"\b(?:by|on|group_left|ignoring|without)\s*\([^)]*\)")


@dataclass(frozen=True)
class Expression:
    """A PromQL expression and where it stands."""

    where: str
    promql: str

    def metrics(self) -> set[str]:
        """Names of the series that it reads."""
        return set(_METRIC.findall(_GROUPING.sub("", _BRACES.sub("", self.promql))))

    def selectors(self) -> set[str]:
        """Each series with the labels that it asks for."""
        bare = _GROUPING.sub("", self.promql)
        return {match.group(0) for match in re.finditer(_METRIC.pattern + r"(?:\{[^}]*\})?", bare)}


def rules(root: Path, name: str) -> list[dict[str, Any]]:
    """The rules of a file, alerts or recordings."""
    groups = yaml.safe_load((root / "deploy/prometheus" / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels(root: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every panel of every dashboard with the dashboard's file name."""
    found = []
    for path in sorted((root / "deploy/grafana/dashboards").glob("*.json")):
        found += [(path.name, panel) for panel in json.loads(path.read_text())["panels"] if panel["type"] != "row"]
    return found


def panel_expressions(root: Path) -> list[Expression]:
    """Every query of every panel, Grafana's variables still in it."""
    return [
        Expression(f"{name}: {panel['title']}", target["expr"])
        for name, panel in panels(root)
        for target in panel["targets"]
    ]


def rule_expressions(root: Path, name: str) -> list[Expression]:
    """Every expression of a rule file."""
    return [Expression(f"{name}: {rule.get('alert') or rule['record']}", rule["expr"]) for rule in rules(root, name)]
