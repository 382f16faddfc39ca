"""One worker process judges all views of a station: it dies for all of them, and a view with a new recipe leaves it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from .conftest import StartDaemon, wait_for
from .test_changeover import inspector
from .test_views import Rig, check, start_station, views

pytestmark = pytest.mark.process


def test_views_share_a_worker_until_one_of_them_takes_up_another_recipe(
    start: StartDaemon, random_recipe: Path, tmp_path: Path
) -> None:
    rig = Rig(tmp_path / "rig")
    daemon = start_station(start, rig, random_recipe, tmp_path, worker={"shared": True})
    (shared,) = daemon.children("worker")
    rig.pass_by(daemon, "main", "side")

    os.kill(shared, signal.SIGKILL)
    (shared,) = wait_for(lambda: [pid for pid in daemon.children("worker") if pid != shared], "a new worker")
    rig.pass_until_judged(daemon)
    assert {view: stands["restarts"] for view, stands in views(daemon).items()} == {"main": 1, "side": 1}

    other = tmp_path / "other"
    shutil.copytree(random_recipe, other)
    changed = inspector(daemon, "recipe", "activate", str(other), "--view", "side", "--why", "new lens")
    assert changed.returncode == 0, changed.stderr
    wait_for(lambda: views(daemon)["side"]["changeover"].endswith("done"), "the change's end")
    assert len(daemon.children("worker")) == 2
    assert [Path(view["folder"]) for view in views(daemon).values()] == [random_recipe.resolve(), other]
    rig.pass_until_judged(daemon)

    os.kill(shared, signal.SIGKILL)  # only the main view has it by now
    wait_for(lambda: views(daemon)["main"]["restarts"] == 2, "the death of the main view's worker")
    rig.pass_until_judged(daemon)
    assert views(daemon)["side"]["restarts"] == 0
    assert daemon.stop() == 0, daemon.errors()
    causes = check(daemon)
    assert causes["score_within_threshold"] >= 4
    assert set(causes) <= {"score_within_threshold", "worker_lost", "worker_not_ready", "view_missing", "shutdown"}


def test_a_view_with_settings_of_its_own_has_a_worker_of_its_own(
    start_quick: StartDaemon, quick_recipe: Path, tmp_path: Path
) -> None:
    rig = Rig(tmp_path / "rig")
    cameras = rig.cameras()
    own = {"allow_random_weights": True, "threads": 1, "engine": "pytorch"}
    daemon = start_quick(
        camera=cameras["main"],
        worker={"shared": True},
        views={
            "side": {"recipe": str(quick_recipe), "camera": cameras["side"]},
            "back": {"recipe": str(quick_recipe), "camera": cameras["side"], "worker": own},
        },
    )
    wait_for(lambda: daemon.errors().count("ready: station") == 3 or daemon.process.poll() is not None, "all views")
    assert len(daemon.children("worker")) == 2
    assert daemon.stop() == 0, daemon.errors()
