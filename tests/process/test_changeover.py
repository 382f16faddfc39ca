"""The recipe is changed under a running line: between two parts, without losing or refusing one."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.outputs.audit_log import read_audit
from inspector.recipe.store import Recipe, load_recipe, write_recipe

from .conftest import Daemon, StartDaemon, wait_for

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 25, "width_px": 64, "height_px": 64}
#: A busy machine is no matter of these tests.
ROOMY = {"queue_frames": 256}


@pytest.fixture
def other_recipe(random_recipe: Path, tmp_path: Path) -> Recipe:
    """The same network with a threshold that nothing passes."""
    recipe = load_recipe(random_recipe)
    threshold = recipe.manifest.threshold.model_copy(update={"value": 0.01 * recipe.manifest.threshold.value})
    manifest = recipe.manifest.model_copy(update={"name": "strict", "version": 2, "threshold": threshold})
    return write_recipe(tmp_path / "strict", manifest, recipe.weights_path.read_bytes())


@pytest.fixture
def line(start: StartDaemon, random_recipe: Path, tmp_path: Path) -> Daemon:
    """A line whose configuration names its recipe by a link."""
    link = tmp_path / "current"
    link.symlink_to(random_recipe)
    daemon = start(camera=CONVEYOR, line=ROOMY, recipe=str(link), audit_log=str(tmp_path / "audit.jsonl"))
    daemon.wait_for_verdicts(10)
    return daemon


def inspector(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inspector", *arguments, "-c", str(daemon.config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def judged_by(daemon: Daemon, recipe_hash: str) -> Callable[[], bool]:
    return lambda: sum(record["recipe_hash"] == recipe_hash for record in daemon.records()[-5:]) == 5


def test_a_recipe_is_taken_up_between_two_parts_and_given_back(
    line: Daemon, other_recipe: Recipe, random_recipe: Path, tmp_path: Path
) -> None:
    first = load_recipe(random_recipe)
    changed = inspector(line, "recipe", "activate", str(other_recipe.folder), "--why", "batch 7")
    assert changed.returncode == 0, changed.stderr + line.errors()
    assert "recipe strict version 2 is in use" in changed.stdout
    assert (tmp_path / "current").resolve() == other_recipe.folder.resolve()
    wait_for(judged_by(line, other_recipe.content_hash), "parts judged by the new recipe\n" + line.errors())
    back = inspector(line, "recipe", "rollback", "--why", "too strict")
    assert back.returncode == 0, back.stderr + line.errors()
    wait_for(judged_by(line, first.content_hash), "parts judged by the former recipe\n" + line.errors())
    assert line.stop() == 0, line.errors()

    causes = line.check_ledger()
    assert set(causes) <= {"score_within_threshold", "score_above_threshold", "shutdown"}, line.errors()
    judged = [record for record in line.records() if record["cause"] != "shutdown"]
    hashes = [record["recipe_hash"] for record in sorted(judged, key=lambda record: record["part"])]
    changes = [after for before, after in itertools.pairwise(hashes) if before != after]
    assert changes == [other_recipe.content_hash, first.content_hash]
    for record in judged:
        recipe = other_recipe if record["recipe_hash"] == other_recipe.content_hash else first
        assert record["threshold"] == recipe.manifest.threshold.value
        assert (record["decision"] == "pass") == (record["score"] <= record["threshold"])
    told = [(record["what"], record["why"]) for record in read_audit(tmp_path / "audit.jsonl")]
    assert told == [
        ("activate", "batch 7"),
        ("activated", "batch 7"),
        ("rollback", "too strict"),
        ("activated", "too strict"),
    ]


def test_a_recipe_that_does_not_prove_itself_changes_nothing(
    line: Daemon, other_recipe: Recipe, random_recipe: Path, tmp_path: Path
) -> None:
    golden = other_recipe.manifest.golden.model_copy(update={"score": 2 * other_recipe.manifest.golden.score})
    wrong = write_recipe(
        tmp_path / "wrong",
        other_recipe.manifest.model_copy(update={"golden": golden}),
        other_recipe.weights_path.read_bytes(),
    )
    with (other_recipe.folder / "recipe.yaml").open("a") as file:
        file.write("# changed afterwards\n")
    for folder, told in ((wrong.folder, "exit code 70"), (other_recipe.folder, "recipe.yaml"), (tmp_path, "recipe")):
        refused = inspector(line, "recipe", "activate", str(folder), "--why", "test")
        assert refused.returncode == 70, refused.stdout
        assert "goes on with the recipe that it had" in refused.stderr
        assert told in refused.stderr
    assert inspector(line, "recipe", "rollback", "--why", "test").returncode == 70
    seen = len(line.records())
    line.wait_for_verdicts(seen + 10)
    assert (tmp_path / "current").resolve() == random_recipe.resolve()
    assert line.stop() == 0
    assert set(line.check_ledger()) <= {"score_within_threshold", "score_above_threshold", "shutdown"}, line.errors()
    assert len({record["recipe_hash"] for record in line.records()}) == 1
