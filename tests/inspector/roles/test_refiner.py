"""The refiner's loop on a real archive's folder: what it takes, what it tells, and what it never takes again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import Archive, InspectorConfig
from inspector.domain.errors import PartError
from inspector.domain.frame import Pixels
from inspector.domain.verdict import Cause
from inspector.models.refinement.frame_refiner import RefinedFrame
from inspector.models.refinement.outlines import find_outlines
from inspector.outputs.archive import ArchiveFolder, entry_files
from inspector.outputs.archive_index import Entry
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.job import Job
from inspector.roles.lifeline import Lifeline
from inspector.roles.refiner import RefinerRole
from inspector.roles.refiner_backlog import Attempts
from inspector.wire.archive_socket import ArchivedOutlines
from inspector.wire.messages import State


class Clock:
    """Time passes at each look, and while somebody waits."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 10_000_000
        return self.now_ns

    def select(self, reading: Any, writing: Any, failing: Any, wait_s: float) -> None:
        """Waits in no time."""
        self.now_ns += round(wait_s * 1e9)


class Outbox:
    """The way to the archive process: writes at once, or does what the test wants instead."""

    def __init__(self, archive: ArchiveFolder) -> None:
        self.sent: list[str] = []
        self.take: Callable[[ArchivedOutlines], object] = lambda found: archive.outline(
            found.entry, found.record, found.picture
        )

    def outlines(self, found: ArchivedOutlines) -> bool:
        self.sent.append(found.entry)
        return self.take(found) is not False


class Gate:
    def __init__(self) -> None:
        self.said: list[State] = []

    def send(self, message: State) -> None:
        self.said.append(message)


class Refinement:
    """Finds the white pixels; does and raises what the test wants."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.frames: list[int] = []
        self.errors: list[Exception] = []
        self.during: Callable[[], object] = lambda: None

    def refine(self, pixels: Pixels, progress: Callable[[int, float], None]) -> RefinedFrame:
        self.frames.append(int(pixels[0, 0]))
        self.during()
        progress(1, 0.5)
        if self.errors:
            raise self.errors.pop(0)
        mask = pixels == 255
        return RefinedFrame(2.0, mask, pixels, find_outlines(mask), int(mask.sum()), 1, 0.1)


class Bench:
    """A role with all of its ends."""

    def __init__(self, tmp_path: Path, recipe: Recipe) -> None:
        self.folder = tmp_path / "archive"
        self.memory = tmp_path / "memory"
        self.memory.mkdir(exist_ok=True)
        self.archive = ArchiveFolder(self.folder, quota_bytes=10_000_000, quota_s=1e9)
        self.recipe = recipe
        self.outbox, self.gate, self.clock = Outbox(self.archive), Gate(), Clock()
        self._reading, self._writing = os.pipe()
        self.refinement = Refinement(recipe)
        settings = Archive(folder=self.folder, refine=True)
        camera = SyntheticCamera(kind="synthetic")
        config = InspectorConfig(station="s", recipe=tmp_path, camera=camera, archive=settings)
        self.job = Job(config=config, incarnation=3, frames_endpoint="", gate_endpoint="", memory=self.memory)

    def keep(self, part: int, decision: str = "fail", recipe_hash: str | None = None) -> Entry:
        pixels = np.full((20, 30), part, np.uint8)
        pixels[5:9, 10:16] = 255
        record = {
            "run": "0123456789",
            "station": "press",
            "part": part,
            "decision": decision,
            "cause": "score_above_threshold",
            "score": 2.5,
            "source": "",
            "time": 1.7e9,
            "recipe_hash": self.recipe.content_hash if recipe_hash is None else recipe_hash,
        }
        return self.archive.keep(record, pixels)

    def stop(self) -> None:
        os.write(self._writing, b"stop\n")

    def run(self, until: Callable[[], bool] = lambda: True) -> dict[str, float]:
        """Runs the role until it looks for work and `until` is true; the last counts that it told."""
        role: Any = RefinerRole(
            self.job,
            self.refinement,
            self.folder,
            Attempts(self.memory / "refiner.json"),
            self.outbox,  # type: ignore[arg-type]
            self.gate,  # type: ignore[arg-type]
            Lifeline(self._reading),
            self.clock,
        )
        look = role._backlog.newest

        def newest(skipped: Any) -> Any:
            found = look(skipped)
            if found[0] is None and until():
                self.stop()
            return found

        role._backlog.newest = newest
        role.run()
        return self.gate.said[-1].details

    def close(self) -> None:
        self.archive.close()
        os.close(self._writing)
        os.close(self._reading)

    def stored(self, part: int) -> Entry:
        return next(
            entry for entry in (self.archive._index.get(name) for name in self.names()) if entry and entry.part == part
        )

    def names(self) -> list[str]:
        return sorted(self.archive._index.names())


@pytest.fixture
def bench(tmp_path: Path, random_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path, load_recipe(random_recipe))
    monkeypatch.setattr("inspector.roles.refiner.select", made.clock)
    yield made
    made.close()


def test_fails_of_the_recipe_in_use_are_refined_the_last_kept_first(bench: Bench) -> None:
    for part in (1, 2, 3):
        bench.keep(part)
    bench.keep(4, "pass")
    bench.keep(5, "not_inspected")
    bench.keep(6, recipe_hash="0" * 64)
    counts = bench.run()
    assert bench.refinement.frames == [3, 2, 1]
    assert counts == {"refined": 3, "failed": 0, "lost": 0, "waiting": 0}
    stored = [bench.stored(part) for part in range(1, 7)]
    assert [entry.defects for entry in stored] == [1, 1, 1, None, None, None]
    assert stored[0].defects_px == 24
    suffixes = {path.name.split("fail", 1)[1] for path in entry_files(bench.folder, stored[0].name)}
    assert suffixes == {".json", ".png", ".outlines.json", ".outlines.png"}
    picture = cv2.imread(str(bench.folder / f"{stored[0].name}.outlines.png"))
    assert picture is not None
    assert (picture[..., 2] > picture[..., 0]).any(), "outlines are drawn in colour"
    assert [state.state for state in bench.gate.said][:: len(bench.gate.said) - 1] == ["ready", "stopped"]
    assert {(state.role, state.incarnation) for state in bench.gate.said} == {("refiner", 3)}
    assert State.decode(bench.gate.said[-1].encode()) == bench.gate.said[-1]


def test_a_fail_that_comes_meanwhile_goes_before_those_that_wait(bench: Bench) -> None:
    for part in (1, 2):
        bench.keep(part)
    bench.refinement.during = lambda: len(bench.refinement.frames) == 1 and bench.keep(3)
    bench.run()
    assert bench.refinement.frames == [2, 3, 1]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (PartError(Cause.FRAME_GEOMETRY, "the frame is too small"), "the frame is too small"),
        (RuntimeError("not enough memory"), "RuntimeError: not enough memory"),
    ],
)
def test_a_frame_that_can_not_be_refined_says_why_and_is_not_tried_again(
    bench: Bench, error: Exception, problem: str
) -> None:
    bench.keep(1)
    bench.refinement.errors = [error]
    assert bench.run() == {"refined": 0, "failed": 1, "lost": 0, "waiting": 0}
    assert problem in str(bench.stored(1).problem)
    assert not (bench.folder / f"{bench.stored(1).name}.outlines.png").exists()
    bench.run()
    assert bench.refinement.frames == [1]


def test_a_frame_that_is_no_picture_is_one_that_can_not_be_refined(bench: Bench) -> None:
    entry = bench.keep(1)
    (bench.folder / f"{entry.name}.png").write_bytes(b"nothing")
    assert bench.run()["failed"] == 1
    assert "can't be decoded" in str(bench.stored(1).problem)


def test_files_that_somebody_deleted_are_left_out_and_the_others_go_on(bench: Bench) -> None:
    gone = bench.keep(2)
    bench.keep(1)
    for path in entry_files(bench.folder, gone.name):
        path.unlink()
    counts = bench.run()
    assert (counts["refined"], counts["lost"]) == (1, 1)


def test_an_entry_that_the_quota_takes_meanwhile_is_lost_and_no_more(bench: Bench) -> None:
    entry = bench.keep(1)
    bench.keep(2)
    bench.refinement.during = lambda: bench.refinement.frames[-1] == 1 and bench.archive._delete(entry)
    counts = bench.run()
    assert (counts["refined"], counts["lost"]) == (1, 1)
    assert [path for path in bench.folder.glob("20*/*") if "-000001-" in path.name] == []


def test_what_a_full_disk_does_not_take_is_handed_over_again(bench: Bench) -> None:
    bench.keep(1)
    write = bench.outbox.take
    bench.outbox.take = lambda found: None if len(bench.outbox.sent) < 3 else write(found)
    assert bench.run()["refined"] == 1
    assert len(bench.outbox.sent) == 3
    assert bench.refinement.frames == [1], "without computing it again"
    assert 60e9 < bench.clock.now_ns < 120e9


def test_an_archive_process_that_is_not_there_is_asked_again_soon(bench: Bench) -> None:
    bench.keep(1)
    write = bench.outbox.take
    bench.outbox.take = lambda found: False if len(bench.outbox.sent) < 3 else write(found)
    assert bench.run()["refined"] == 1
    assert bench.clock.now_ns < 30e9


def test_what_is_never_taken_is_given_up_for_this_time(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.keep(2)
    bench.keep(1)
    write = bench.outbox.take
    bench.outbox.take = lambda found: None if found.entry.endswith("-000001-fail") else write(found)
    counts = bench.run()
    assert (counts["refined"], counts["lost"], counts["waiting"]) == (1, 1, 1)
    assert "the archive did not take the outlines of" in caplog.text
    bench.outbox.take = write
    assert bench.run()["refined"] == 1, "the next process tries again"


def test_a_frame_that_kills_the_process_is_tried_twice(bench: Bench) -> None:
    # Out of memory for example. The newest comes first, so it would have held up all others for ever.
    bench.keep(2)
    bench.keep(1)

    class Killed(BaseException):
        """Nothing is written any more, as after SIGKILL."""

    def dies() -> None:
        if bench.refinement.frames[-1] == 1:
            raise Killed

    bench.refinement.during = dies
    for _ in range(2):
        with pytest.raises(Killed):
            bench.run()
    counts = bench.run()
    assert bench.refinement.frames == [1, 1, 2]
    assert (counts["refined"], counts["failed"]) == (1, 1)
    assert "ended 2 times at this frame" in str(bench.stored(1).problem)


def test_a_stop_in_the_middle_is_heard_at_the_next_step_and_not_held_against_the_frame(bench: Bench) -> None:
    bench.keep(1)
    for _ in range(3):
        bench.refinement.during = bench.stop
        bench.run()
    assert bench.outbox.sent == []
    bench.refinement.during = lambda: None
    assert bench.run()["refined"] == 1


def test_steps_are_told_to_the_gate(bench: Bench) -> None:
    bench.keep(1)

    def work() -> None:
        bench.clock.now_ns += 1_000_000_000

    bench.refinement.during = work
    bench.run()
    told = [state.progress for state in bench.gate.said if state.state == "running"]
    assert told == sorted(set(told))
    assert bench.gate.said[1].details == {"refined": 0, "failed": 0, "lost": 0, "waiting": 1}


def test_a_memory_that_can_not_be_read_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "refiner.json"
    for content in (b"\xff", b"[1]", b'{"a": "x"}', b"{"):
        path.write_bytes(content)
        assert Attempts(path).begin("a") == 0
    assert Attempts(path).begin("a") == 1
    Attempts(path).end("a")
    assert Attempts(path).begin("a") == 0
    nowhere = Attempts(tmp_path / "none" / "refiner.json")
    assert (nowhere.begin("a"), nowhere.begin("a")) == (0, 1)


def test_link_shows_that_it_runs_with_its_figures_and_kills_it_at_the_end() -> None:
    """What it had done was shown at once, and that it runs ten times a second only: it seemed to work while down."""
    from prometheus_client import CollectorRegistry

    from inspector.domain.threshold import Threshold
    from inspector.outputs.metrics import Families, LineMetrics
    from inspector.roles.refiner_link import RefinerLink

    registry = CollectorRegistry()
    threshold = Threshold(2.0, 0.01, 0.009, 0.95, "tolerance_limit", 300, 0, True, 0)
    metrics = LineMetrics(Families(registry, 1.0), station="s", threshold=threshold, recipe={}, version="1")
    calls: list[str] = []
    child: Any = SimpleNamespace(
        role="refiner",
        incarnation=1,
        ready=True,
        restarts=2,
        saw=lambda *_: calls.append("saw"),
        tell=calls.append,
        dismiss=lambda: calls.append("dismiss"),
        finish=lambda timeout_s: calls.append("finish"),
    )
    link = RefinerLink(child, metrics)
    link.saw(State("refiner", 1, "running", details={"refined": 5, "failed": 1, "lost": 2, "waiting": 7}), 0)
    link.saw(State("refiner", 9, "running", details={"refined": 50}), 0)  # of a former process
    link.renew()
    link.finish(1.0)
    assert calls == ["saw", "saw", "stop", "dismiss", "finish"]

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, {"station": "s"} | labels)

    outcomes = [value("inspector_refinements_total", outcome=name) for name in ("refined", "failed", "lost")]
    assert outcomes == [5, 1, 2]
    assert value("inspector_refiner_queue_entries") == 7
    assert value("inspector_refiner_up") == 1
    assert value("inspector_refiner_restarts_total") == 2
