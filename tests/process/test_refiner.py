"""The refiner beside a real line: outlines of its fails, and whatever befalls it, no verdict is lost or waits."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.outputs.archive import INDEX, stored_entries
from inspector.outputs.archive_index import Entry

from ..striped_parts import PATCH, SIDE_PX, damaged_part, striped_part
from .conftest import Daemon, StartDaemon, wait_for
from .test_archive import PATIENT, check_line, figures, judged_after, outcomes
from .test_changeover import inspector

pytestmark = pytest.mark.process

StartRefining = Callable[..., Daemon]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def refining(start: StartDaemon, refinable_recipe: Path, tmp_path: Path, folder: Path) -> StartRefining:
    """Starts a line on striped parts that come round for ever, every fourth of them with a patch."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(8):
        pixels = striped_part(number) if number % 4 else damaged_part(number)
        cv2.imwrite(str(pictures / f"{number}.png"), pixels)
    camera = {"kind": "folder", "path": str(pictures), "rate": 2, "loop": True}

    def started(name: str = "station", **archive: Any) -> Daemon:
        settings = {"folder": str(folder), "pass_ratio": 0.0, "refine": True, "refine_iterations": 25, **archive}
        # Its processes have what processor time the others leave: time enough to write down the last entries.
        supervision = {"stop_timeout_s": 100}
        return start(
            name,
            recipe=str(refinable_recipe),
            camera=camera,
            line=PATIENT,
            archive=settings,
            supervision=supervision,
        )

    return started


def refined(folder: Path) -> list[Entry]:
    return [entry for entry in stored_entries(folder) if entry.refined]


def test_fails_get_their_outlines(refining: StartRefining, folder: Path) -> None:
    daemon = refining()
    wait_for(lambda: len(refined(folder)) >= 2, f"outlines\n{daemon.errors()}")
    wait_for(lambda: figures(daemon, "inspector_refinements_total")["refined"] >= 2, "figures")
    assert figures(daemon, "inspector_refiner_up") == {"": 1}
    assert set(figures(daemon, "inspector_refiner_queue_entries")) == {""}
    check_line(daemon)
    truth = np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    truth[PATCH] = True
    for entry in refined(folder):
        assert (entry.decision, entry.problem) == ("fail", None)
        stem = folder / entry.name
        record = json.loads(stem.with_name(f"{stem.name}.outlines.json").read_text())
        assert record["image"] == entry.name
        assert record["recipe_hash"] == entry.recipe_hash
        assert record["score"] == entry.score
        assert len(record["defects"]) == entry.defects
        assert record["area_px"] == entry.defects_px
        largest = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        cv2.fillPoly(largest, [np.array(record["defects"][0]["outline_px"])], (1,))
        assert (truth & (largest > 0)).sum() / (truth | (largest > 0)).sum() > 0.3
        picture = cv2.imread(str(stem.with_name(f"{stem.name}.outlines.png")))
        assert picture is not None
        assert picture.shape[2] == 3
    with sqlite3.connect(folder / INDEX) as index:
        stored, counted = index.execute("SELECT count(defects), sum(bytes) FROM entry").fetchone()
    assert stored == len(refined(folder))
    assert counted == sum(path.stat().st_size for path in folder.glob("20*/*"))


def test_a_killed_or_stopped_refiner_holds_up_neither_line_nor_archive_nor_end(
    refining: StartRefining, folder: Path
) -> None:
    daemon = refining()
    wait_for(lambda: refined(folder), f"outlines\n{daemon.errors()}")
    refiner = daemon.wait_for_child("refiner")
    os.kill(refiner, signal.SIGKILL)
    judged_after(daemon, 4)
    again = daemon.wait_for_child("refiner", other_than=refiner)
    before = len(refined(folder))
    wait_for(lambda: len(refined(folder)) > before, f"further outlines\n{daemon.errors()}")
    wait_for(lambda: figures(daemon, "inspector_refiner_restarts_total")[""] == 1, "the restart in the metrics")
    os.kill(again, signal.SIGSTOP)
    written = outcomes(daemon)["written"]
    judged_after(daemon, 4)
    wait_for(lambda: outcomes(daemon)["written"] > written, f"entries\n{daemon.errors()}")
    check_line(daemon)
    assert "refiner: process gone (killed by signal 9), starting again" in daemon.errors()
    assert not list(folder.glob("20*/*.partial"))


def test_a_frame_that_can_not_be_refined_is_told_once_and_not_tried_again(
    refining: StartRefining, folder: Path
) -> None:
    daemon = refining("before", refine=False)
    wait_for(lambda: len(list(stored_entries(folder))) > 1, f"entries\n{daemon.errors()}")
    check_line(daemon)
    broken = next(stored_entries(folder))
    folder.joinpath(f"{broken.name}.png").write_bytes(b"no picture")
    daemon = refining()
    wait_for(lambda: refined(folder), f"outlines\n{daemon.errors()}")
    # The newest come first: one of the run before has its turn when no new ones come any more.
    assert inspector(daemon, "pause", "--why", "the refiner's turn").returncode == 0
    daemon.wait_until_at_rest()
    wait_for(
        lambda: all(entry.refined for entry in stored_entries(folder) if entry.decision == "fail"),
        f"an end of every fail\n{daemon.errors()}",
    )
    check_line(daemon)
    (entry,) = (entry for entry in stored_entries(folder) if entry.name == broken.name)
    assert entry.problem is not None
    assert "can't be decoded as an image" in entry.problem
    assert daemon.errors().count(f"no outlines of {broken.name}") == 1


def test_a_recipe_without_prior_keeps_the_daemon_from_starting(start: StartDaemon, folder: Path) -> None:
    daemon = start(archive={"folder": str(folder), "refine": True})
    assert daemon.finish() == 65
    assert "archive.refine needs what a calibration learns of good parts" in daemon.errors()
    assert len(daemon.errors().splitlines()) == 1


def test_a_changeover_to_a_recipe_without_prior_changes_nothing(
    refining: StartRefining, random_recipe: Path, folder: Path
) -> None:
    daemon = refining()
    daemon.wait_for_verdicts(1)
    refused = inspector(daemon, "recipe", "activate", str(random_recipe), "--why", "another part")
    assert refused.returncode != 0, refused.stdout
    assert "archive.refine needs what a calibration learns" in daemon.errors()
    judged_after(daemon, 2)
    check_line(daemon)
    assert {record["recipe"] for record in daemon.records()} == {"stripes"}
