"""A changed configuration is taken up by the running line as a whole, or refused as a whole."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from inspector.outputs.audit_log import read_audit

from .conftest import Daemon, StartDaemon, wait_for
from .test_changeover import inspector

pytestmark = pytest.mark.process

CAMERA = {"kind": "synthetic", "rate": 20, "width_px": 64, "height_px": 64}
#: A busy machine is no matter of these tests.
ROOMY = {"queue_frames": 256}


def edit(daemon: Daemon, **sections: Any) -> None:
    config = yaml.safe_load(daemon.config.read_text())
    for section, values in sections.items():
        config[section] = config.get(section, {}) | values if isinstance(values, dict) else values
    daemon.config.write_text(yaml.safe_dump(config))


def said(daemon: Daemon, what: str, times: int = 1) -> None:
    wait_for(lambda: daemon.errors().count(what) >= times, f"{what}\n{daemon.errors()}")


def test_a_line_follows_its_configuration_and_refuses_what_it_can_not_follow(
    start_quick: StartDaemon, quick_recipe: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.jsonl"
    daemon = start_quick(camera=CAMERA, line=ROOMY, audit_log=str(audit))
    daemon.wait_for_verdicts(5)
    other = tmp_path / "other"
    shutil.copytree(quick_recipe, other)

    edit(daemon, recipe=str(other), line={"deadline_ms": 100})
    daemon.process.send_signal(signal.SIGHUP)
    said(daemon, "line.deadline_ms: can't change while the line runs")
    assert daemon.status()["folder"] == str(quick_recipe.resolve())

    edit(daemon, line={"deadline_ms": 20_000}, supervision={"restarts": 0})
    assert inspector(daemon, "reload", "--why", "batch 8").returncode == 0
    said(daemon, f"recipe {other} is in use")
    edit(daemon, speling="wrong")
    refused = inspector(daemon, "reload", "--why", "batch 9")
    assert refused.returncode != 0
    assert "speling: unknown key" in refused.stderr
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    done = [record for record in read_audit(audit) if record["what"] == "reloaded"]
    assert [(record["why"], set(record["keys"])) for record in done] == [
        ("batch 8", {"recipe", "supervision.restarts"}),
    ]


def test_a_camera_is_set_up_anew_while_the_line_is_paused(start_quick: StartDaemon) -> None:
    daemon = start_quick(camera=CAMERA, line=ROOMY)
    daemon.wait_for_verdicts(5)
    camera = daemon.child("camera")
    edit(daemon, camera={"defect_ratio": 0.9})
    refused = inspector(daemon, "reload", "--why", "more light")
    assert refused.returncode != 0
    assert "pause the line first" in refused.stderr
    assert daemon.child("camera") == camera
    assert inspector(daemon, "pause", "--why", "more light").returncode == 0
    daemon.wait_until_at_rest()
    assert inspector(daemon, "reload", "--why", "more light").returncode == 0
    daemon.wait_for_child("camera", other_than=camera)
    wait_for(lambda: daemon.status()["prepared"], f"the new camera process\n{daemon.errors()}")
    before = len(daemon.records())
    assert inspector(daemon, "resume", "--why", "done").returncode == 0
    daemon.wait_for_verdicts(before + 20)
    assert daemon.stop() == 0, daemon.errors()
    assert set(daemon.check_ledger()) <= {"score_within_threshold", "score_above_threshold", "shutdown"}


def test_the_verdict_log_goes_on_in_a_new_file(start_quick: StartDaemon) -> None:
    daemon = start_quick(camera=CAMERA, line=ROOMY)
    daemon.wait_for_verdicts(5)
    kept = daemon.log.with_suffix(".1")
    daemon.log.rename(kept)
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: len(daemon.records()) > 5, f"verdicts in the new file\n{daemon.errors()}")
    said(daemon, "nothing has changed")
    assert daemon.stop() == 0, daemon.errors()
    daemon.log.write_text(kept.read_text() + daemon.log.read_text())
    daemon.check_ledger()
