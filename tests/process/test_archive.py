"""The archive beside a real line: it keeps what it should, and whatever befalls it, no verdict is lost or waits."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.domain.archiving import sampled
from inspector.outputs.archive import stored_entries

from ..recovery import Recovered
from .conftest import Daemon, StartDaemon, samples, wait_for

pytestmark = pytest.mark.process

CONVEYOR = {"kind": "synthetic", "rate": 40, "width_px": 64, "height_px": 64, "defect_ratio": 0.5}
#: A busy machine refuses no frame, so that a part without a judgement would be the archive's fault.
PATIENT = {"queue_frames": 256}


def figures(daemon: Daemon, name: str) -> dict[str, float]:
    """A metric of the running daemon by the label that tells its series apart; "" for the only one."""
    return {sample.labels.get("outcome", ""): sample.value for sample in samples(daemon, name)}


def outcomes(daemon: Daemon) -> dict[str, float]:
    return figures(daemon, "inspector_archive_entries_total")


def judged_after(daemon: Daemon, count: int = 30) -> None:
    """The line goes on judging: so many further verdicts that are more than "not inspected"."""
    before = len(daemon.records())

    def more() -> bool:
        return sum(record["decision"] != "not_inspected" for record in daemon.records()[before:]) >= count

    wait_for(more, f"{count} verdicts\n{daemon.errors()}")


def check_line(daemon: Daemon) -> None:
    """It ended well, no part was lost, and none was late or went unjudged because of the archive."""
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert set(causes) <= {"score_within_threshold", "score_above_threshold", "shutdown"}, causes


def test_every_reject_is_kept_and_a_sample_of_the_passes(start_quick: StartDaemon, tmp_path: Path, parts: Path) -> None:
    """Two parts come at a time, once those before them are kept: of more frames some may find the archive busy."""
    folder, inbox = tmp_path / "archive", tmp_path / "inbox"
    inbox.mkdir()
    camera = {"kind": "folder", "path": str(inbox), "watch": True, "complete_after_s": 0.02}
    daemon = start_quick(camera=camera, archive={"folder": str(folder), "pass_ratio": 0.3})
    wait_for(lambda: "ready: station" in daemon.errors(), "a line that looks into its folder")
    pictures = itertools.cycle(sorted(parts.iterdir()))

    def bring(count: int) -> None:
        before = len(daemon.records())
        for number in range(before, before + count):
            shutil.copy(next(pictures), tmp_path / "next.png")
            (tmp_path / "next.png").rename(inbox / f"{number:04d}.png")
        daemon.wait_for_verdicts(before + count)

    def to_keep(begun: int = 0) -> set[int]:
        records = daemon.records()[begun:]
        return {one["part"] for one in records if one["decision"] == "fail" or sampled(one["trigger"], 0.3)}

    def kept(begun: int = 0) -> set[int]:
        return {entry.part for entry in stored_entries(folder) if entry.part > begun}

    def archive_takes_all() -> bool:
        if to_keep() and max(to_keep()) in kept():
            return True
        bring(1)
        return False

    wait_for(archive_takes_all, f"the archive process, which is slower to start than the worker\n{daemon.errors()}")
    begun = len(daemon.records())
    while len(to_keep(begun)) < 15:
        bring(2)
        wait_for(lambda: kept(begun) >= to_keep(begun), f"entries of two parts\n{daemon.errors()}")
    assert daemon.stop() == 0, daemon.errors()
    daemon.check_ledger()
    assert kept(begun) == to_keep(begun)
    assert kept() <= to_keep()
    records = {record["part"]: record for record in daemon.records()}
    for entry in stored_entries(folder):
        record = records[entry.part]
        stored = json.loads((folder / f"{entry.name}.json").read_text())
        assert {name: stored[name] for name in record} == record
        picture = folder / f"{entry.name}.png"
        assert np.array_equal(cv2.imread(str(picture)), cv2.imread(str(inbox / record["source"])))
    assert not list(folder.glob("20*/*.partial"))


@pytest.mark.timeout(600)
def test_maps_are_drawn_beside_the_pictures(start: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    daemon = start(camera=CONVEYOR | {"rate": 10}, line=PATIENT, archive={"folder": str(folder), "heatmaps": True})
    # Where all processors are busy, the archive process has a hundredth of one to load the network with.
    wait_for(lambda: len(list(folder.glob("20*/*.map.jpg"))) > 3, f"maps\n{daemon.errors()}", patience_s=500)
    check_line(daemon)


def test_a_killed_archive_process_is_started_again_and_costs_no_verdict(
    start_quick: StartDaemon, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    daemon = start_quick(camera=CONVEYOR, line=PATIENT, archive={"folder": str(folder), "pass_ratio": 1.0})
    daemon.wait_for_verdicts(10)
    wait_for(lambda: outcomes(daemon)["written"] > 5, f"entries\n{daemon.errors()}")
    refused = outcomes(daemon)["refused"]
    killed: set[int] = set()

    def is_missed() -> bool:
        """Killed again if it comes back before the worker has wanted to give it a frame."""
        archive = daemon.child("archive")
        if archive is not None and archive not in killed:
            os.kill(archive, signal.SIGKILL)
            killed.add(archive)
        return outcomes(daemon)["refused"] > refused

    wait_for(is_missed, f"refused frames\n{daemon.errors()}")
    judged_after(daemon)
    wait_for(lambda: daemon.child("archive") not in killed | {None}, f"another process\n{daemon.errors()}")
    before = len(list(stored_entries(folder)))
    wait_for(lambda: len(list(stored_entries(folder))) > before, f"further entries\n{daemon.errors()}")
    restarts = len(killed)
    wait_for(lambda: figures(daemon, "inspector_archive_restarts_total")[""] == restarts, "the restart in the metrics")
    check_line(daemon)
    assert "archive: process gone (killed by signal 9), starting again" in daemon.errors()
    parts = [entry.part for entry in stored_entries(folder)]
    assert len(parts) == len(set(parts))


def test_a_stopped_archive_process_holds_up_neither_the_line_nor_its_end(
    start_quick: StartDaemon, tmp_path: Path, recovered: Recovered
) -> None:
    # What a hung network drive looks like from outside.
    daemon = start_quick(
        camera=CONVEYOR, line=PATIENT, archive={"folder": str(tmp_path / "archive"), "pass_ratio": 1.0}
    )
    wait_for(lambda: daemon.records() and outcomes(daemon)["written"] > 5, f"entries\n{daemon.errors()}")
    os.kill(daemon.wait_for_child("archive"), signal.SIGSTOP)
    recovered(daemon, time.monotonic_ns())
    wait_for(lambda: outcomes(daemon)["refused"] > 10, f"refused frames\n{daemon.errors()}")
    judged_after(daemon)
    check_line(daemon)
    assert "archive" in daemon.errors()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB; skips where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_a_full_disk_costs_entries_and_is_used_again_when_there_is_room(
    start_quick: StartDaemon, small_disk: Path, recovered: Recovered
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3_600_000))  # the archive fills the rest by itself
    folder = small_disk / "archive"
    daemon = start_quick(camera=CONVEYOR, line=PATIENT, archive={"folder": str(folder), "pass_ratio": 1.0})
    wait_for(lambda: daemon.records() and outcomes(daemon)["written"] > 0, f"entries\n{daemon.errors()}")
    wait_for(lambda: outcomes(daemon)["failed"] > 5, f"failed entries\n{daemon.errors()}")
    recovered(daemon, time.monotonic_ns())
    judged_after(daemon)
    before: Any = outcomes(daemon)["written"]
    ballast.unlink()
    wait_for(lambda: outcomes(daemon)["written"] > before, f"entries again\n{daemon.errors()}")
    # Nothing is left half by what failed; an entry that is being written is soon whole.
    wait_for(lambda: not list(folder.glob("20*/*.partial")), "whole entries only")
    check_line(daemon)
    assert daemon.errors().count("entries are lost until it works again") >= 1
