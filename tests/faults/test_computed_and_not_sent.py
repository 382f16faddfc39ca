"""The worst moment for a worker to die: the score is there, and nobody knows it."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from inspector.config.schema import InspectorConfig
from inspector.domain.verdict import Cause, Verdict
from inspector.roles.daemon import open_station

from .dying_worker import FRAMES, HEARD, MARKER

pytestmark = pytest.mark.process


@pytest.mark.parametrize("transport", ["shared_memory", "zeromq"])
def test_a_worker_that_dies_with_a_score_in_its_hands_passes_nothing(
    random_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv(MARKER, str(tmp_path / "died"))
    heard = tmp_path / "heard"
    heard.write_text("0")
    monkeypatch.setenv(HEARD, str(heard))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    given: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="dying-") as folder:
        config = InspectorConfig.model_validate(
            {
                "station": "s",
                "recipe": random_recipe,
                "camera": {"kind": "synthetic", "rate": 20, "width_px": 64, "height_px": 64},
                "line": {"deadline_ms": 20_000, "queue_frames": 256},
                "transport": transport,
                "worker": {"allow_random_weights": True},
                "verdicts": {"endpoint": None, "log": None},
                "metrics": {"port": 0},
                "supervision": {"heartbeat_timeout_s": 100},
                "runtime_dir": folder,
            }
        )

        def watch(verdict: Verdict) -> None:
            given.append(verdict)
            new = heard.with_suffix(".new")
            new.write_text(str(sum(one.score is not None for one in given)))
            new.replace(heard)
            if len(given) > FRAMES and [one.score is not None for one in given[-5:]] == [True] * 5:
                station.gate.stopping = (tmp_path / "died").exists()

        with open_station(config, {}, watcher=watch) as station:
            line: Any = station.gate.lines[0]
            line.worker.command = [sys.executable, "-m", "tests.faults.dying_worker"]
            tally = station.gate.run()
    assert tally.balanced
    assert tally.pending == 0
    assert len(given) == len({verdict.trigger for verdict in given}) == tally.triggered
    causes = Counter(verdict.cause for verdict in given)
    in_its_hands = int((tmp_path / "died").read_text())
    assert causes[Cause.WORKER_LOST] >= in_its_hands >= 1
    assert line.worker.restarts == 1
    # What it had sent before was heard. The first part may have come before the camera process knew of the worker.
    sent = given[: [verdict.cause for verdict in given].index(Cause.WORKER_LOST)]
    assert sum(verdict.score is not None for verdict in sent) >= FRAMES - in_its_hands
    assert {verdict.cause for verdict in sent if verdict.score is None} <= {Cause.WORKER_NOT_READY}
