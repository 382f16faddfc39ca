"""A person asks the running line, and what was changed is written down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from inspector.outputs.audit_log import read_audit

from .conftest import Daemon, StartDaemon, wait_for

pytestmark = pytest.mark.process


def inspector(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "inspector",
        arguments[0],
        "-c",
        str(daemon.config),
        *arguments[1:],
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def seen_at_rest(daemon: Daemon) -> int | None:
    """The triggers of a line at rest, if that is what a person sees; None if one more came meanwhile after all."""
    triggered = daemon.wait_until_at_rest()
    shown = json.loads(inspector(daemon, "status", "--json").stdout)
    return triggered if (shown["triggered"], shown["pending"]) == (triggered, 0) else None


def test_a_line_is_paused_and_resumed_without_losing_a_part(start_quick: StartDaemon, tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    daemon = start_quick(
        camera={"kind": "synthetic", "rate": 20, "width_px": 64, "height_px": 64}, audit_log=str(audit)
    )
    wait_for(lambda: len(daemon.records()) > 5, "parts are judged")
    assert inspector(daemon, "pause").returncode == 2  # a reason is required
    paused = inspector(daemon, "pause", "--why", "jam at the feeder")
    assert paused.returncode == 0, paused.stderr
    assert "paused" in paused.stdout
    before = wait_for(lambda: seen_at_rest(daemon), "a person sees the line at rest")
    assert inspector(daemon, "resume", "--why", "cleared").returncode == 0
    wait_for(lambda: daemon.status()["triggered"] > before, "parts come again")
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    records = read_audit(audit)
    assert [(record["what"], record["why"]) for record in records] == [
        ("pause", "jam at the feeder"),
        ("resume", "cleared"),
    ]
    assert all("uid" in record["who"] for record in records)


def test_nobody_is_there_to_ask(start_quick: StartDaemon) -> None:
    daemon = start_quick()
    assert daemon.finish() == 0
    refused = inspector(daemon, "status")
    assert refused.returncode == 78
    assert "no daemon answers" in refused.stderr
