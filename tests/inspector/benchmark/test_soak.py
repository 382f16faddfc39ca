"""A short soak of real processes with faults; and what a long one would be blamed for."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from inspector.benchmark.checksum_worker import work
from inspector.benchmark.soak import SoakOrders, find_problems, run_soak
from inspector.benchmark.soak_account import Account, Samples
from inspector.benchmark.soak_chart import soak_chart
from inspector.config.schema import InspectorConfig, Worker
from inspector.domain.errors import RecipeError
from inspector.domain.ledger import Tally
from inspector.recipe.store import load_recipe
from inspector.roles.job import Job


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soak") / "recipe"
    command = [sys.executable, "-m", "inspector.benchmark.trial", str(folder), "light", "32", "float32", "4e9"]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.process
def test_faults_cost_verdicts_but_no_part(trial: Path) -> None:
    seen: list[int] = []
    result = run_soak(
        SoakOrders(
            recipe=trial,
            parts=None,
            seconds=8.0,
            rate=200.0,
            seed=1,
            faults=("kill-worker", "corrupt-frames"),
            fault_every_s=1.0,
            stub=True,
            frame_px=64,
            deadline_ms=20_000,
            worker=Worker(allow_random_weights=True),
        ),
        lambda parts, seconds: seen.append(parts),
    )
    record = result.record
    assert [problem for problem in result.problems if "memory" not in problem] == []
    assert record["parts"] == sum(record["sums"].values()) == record["verdict_log"]["records"] > 200
    assert record["scores_checked"] == record["sums"]["pass"] + record["sums"]["fail"] > 100
    assert record["sums"]["pass"] > record["sums"]["fail"] > 0
    assert sum(record["faults"].values()) >= 1
    assert set(record["causes"]) <= {
        "score_within_threshold",
        "score_above_threshold",
        "worker_lost",
        "worker_not_ready",
        "queue_full",
        "frame_corrupt",
        "shutdown",
    }
    assert seen == sorted(seen)
    ElementTree.fromstring(soak_chart(result.samples, "a <short> soak"))


def judged(parts: int) -> Account:
    account = Account(0.0)
    account.parts = parts
    return account


def log_of(tally: Tally, **changes: int) -> dict[str, Any]:
    by_decision = {"pass": tally.passed, "fail": tally.failed, "not_inspected": tally.not_inspected}
    return {"records": tally.triggered, "by_decision": Counter(by_decision) + Counter(changes), "twice": 0}


def test_a_soak_is_blamed_for_what_was_lost_or_grew() -> None:
    tally, samples = Tally(10, 7, 2, 1, 0), Samples()
    assert find_problems(tally, judged(10), log_of(tally), samples) == []
    assert "does not balance" in find_problems(Tally(10, 7, 2, 0, 0), judged(10), log_of(tally), samples)[0]
    assert "1 parts without a verdict" in find_problems(tally, judged(9), log_of(tally), samples)[0]
    assert "the verdict log says" in find_problems(tally, judged(10), log_of(tally, fail=1), samples)[0]
    assert "no part came" in find_problems(Tally(0, 0, 0, 0, 0), judged(0), log_of(Tally(0, 0, 0, 0, 0)), samples)
    grown = Samples(memory_mb={"gate": [*range(100)]}, descriptors={"gate": [*range(0, 1000, 10)]})
    problems = find_problems(tally, judged(10), log_of(tally), grown)
    assert problems == ["gate: memory grew by 50.0 MB", "gate: 500 more open descriptors than before"]


def test_the_checksum_worker_refuses_a_recipe_that_can_inspect(
    random_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(random_recipe)
    monkeypatch.setattr(type(recipe.manifest), "random_weights", property(lambda self: False))
    config = InspectorConfig.model_validate(
        {"station": "s", "recipe": random_recipe, "camera": {"kind": "synthetic"}, "worker": {}}
    )
    with pytest.raises(RecipeError, match="must not judge by a real recipe"):
        work(Job(config=config, incarnation=1, frames_endpoint="", gate_endpoint=""))
