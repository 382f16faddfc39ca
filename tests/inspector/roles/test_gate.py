"""The gate's decisions, with messages made here, an injected clock and children that are only numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from prometheus_client import CollectorRegistry, generate_latest

from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import InspectorConfig, Line, Supervision
from inspector.domain.drift import DriftMonitor
from inspector.domain.errors import FatalError
from inspector.domain.ledger import trigger_key
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.outputs.metrics import LineMetrics
from inspector.outputs.publisher import Publisher
from inspector.outputs.service_manager import ServiceManager
from inspector.outputs.verdict_log import VerdictLog
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles.gate import Gate, Outputs
from inspector.wire.messages import GateMessage, Refused, Result, State, Trigger

MS = 1_000_000


class Inbox:
    """What `GateInbox` is to the gate, filled by the test."""

    def __init__(self) -> None:
        self.waiting: list[GateMessage] = []
        self.malformed = 0

    def messages(self, limit: int) -> Iterator[GateMessage]:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        yield from taken


class Child:
    """A process that the test declares dead or alive."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.incarnation = 1
        self.ready = True
        self.alive = True
        self.restarts = 0
        self.exhausted = False
        self.exit_code: int | None = None
        self.told: list[str] = []
        self.died = False

    def saw(self, incarnation: int, progress: int, now_ns: int) -> None:
        pass

    def tell(self, command: str) -> None:
        self.told.append(command)

    def watch(self, now_ns: int) -> bool:
        if self.died:
            self.died, self.alive, self.ready = False, False, False
            return True
        return False


class Bench:
    """A gate with its surroundings."""

    def __init__(self, recipe: Recipe, tmp_path: Path) -> None:
        self.now_ns = 1000 * MS
        self.verdicts: list[Verdict] = []
        self.inbox = Inbox()
        self.registry = CollectorRegistry()
        self.recipe = recipe
        self.threshold = Threshold(**recipe.manifest.threshold.model_dump())
        config = InspectorConfig(
            station="s",
            recipe=recipe.folder,
            camera=SyntheticCamera(kind="synthetic"),
            line=Line(deadline_ms=100, open_parts=4),
            supervision=Supervision(restarts=2),
        )
        metrics = LineMetrics(
            self.registry, station="s", deadline_s=0.1, threshold=self.threshold, recipe={"recipe": "r"}, version="0"
        )
        outputs = Outputs(Publisher(zmq.Context.instance(), None), VerdictLog(None, 1), metrics, ServiceManager({}))
        folder: Any = type("Folder", (), {"frames": "ipc://f", "gate": "ipc://g", "path": tmp_path})()
        inbox: Any = self.inbox
        self.gate = Gate(
            config,
            recipe,
            folder,
            inbox,
            outputs,
            run_id="run",
            watcher=self.verdicts.append,
            clock_ns=lambda: self.now_ns,
        )
        self.camera, self.worker = Child("camera"), Child("worker")
        camera: Any = self.camera
        worker: Any = self.worker
        self.gate.camera, self.gate.worker = camera, worker

    def turn(self, *messages: GateMessage) -> list[Verdict]:
        """One turn of the loop; the verdicts that it gave."""
        before = len(self.verdicts)
        self.inbox.waiting += messages
        self.gate._turn()
        assert self.gate.tally().balanced
        return self.verdicts[before:]

    def trigger(self, sequence: int, *, refusal: Cause | None = None, worker: int = 1, camera: int = 1) -> Trigger:
        return Trigger(trigger_key(camera, sequence), self.now_ns, worker, refusal, f"good/{sequence}")

    def result(
        self, sequence: int, score: float, *, problem: Cause | None = None, recipe: bytes | None = None
    ) -> Result:
        at = self.now_ns
        return Result(
            trigger=trigger_key(1, sequence),
            worker=1,
            score=score,
            problem=problem,
            captured_ns=at,
            received_ns=at,
            copied_ns=at,
            computed_ns=at,
            recipe=bytes.fromhex(self.recipe.content_hash) if recipe is None else recipe,
        )

    def metric(self, name: str) -> str:
        return next(line for line in generate_latest(self.registry).decode().splitlines() if line.startswith(name))


@pytest.fixture
def line(random_recipe: Path, tmp_path: Path) -> Bench:
    return Bench(load_recipe(random_recipe), tmp_path)


def said(verdicts: list[Verdict]) -> list[tuple[Decision, Cause]]:
    return [(verdict.decision, verdict.cause) for verdict in verdicts]


NOT = Decision.NOT_INSPECTED


def test_a_score_at_the_threshold_passes_and_the_next_above_fails(line: Bench) -> None:
    value = line.threshold.value
    given = line.turn(
        line.trigger(0), line.trigger(1), line.result(0, value), line.result(1, math.nextafter(value, math.inf))
    )
    assert said(given) == [
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
        (Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD),
    ]
    assert given[0].source == "good/0"
    assert given[0].p_value == 0.75
    assert 'cause="score_above_threshold",decision="fail",station="s"} 1.0' in line.metric(
        'inspector_parts_total{cause="score_above_threshold"'
    )


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_never_passes(line: Bench, score: float) -> None:
    given = line.turn(line.trigger(0), line.result(0, score))
    assert said(given) == [(NOT, Cause.SCORE_NOT_FINITE)]
    assert given[0].score is None
    assert given[0].p_value is None


def test_a_result_of_another_recipe_is_no_verdict_of_this_one(line: Bench) -> None:
    assert said(line.turn(line.trigger(0), line.result(0, 0.0, recipe=bytes(32)))) == [(NOT, Cause.RECIPE_MISMATCH)]


def test_a_result_after_the_deadline_is_a_reject_even_if_the_part_is_good(line: Bench) -> None:
    line.turn(line.trigger(0))
    line.now_ns += 100 * MS + 1
    assert said(line.turn(line.result(0, 0.0))) == [(NOT, Cause.DEADLINE_MISSED)]


def test_silence_is_settled_at_the_deadline_and_the_late_result_counts_as_stray(line: Bench) -> None:
    line.turn(line.trigger(0))
    line.now_ns += 99 * MS
    assert line.turn() == []
    line.now_ns += 1 * MS
    assert said(line.turn()) == [(NOT, Cause.DEADLINE_MISSED)]
    assert line.turn(line.result(0, 0.0)) == []
    line.now_ns += 200 * MS
    line.turn()
    assert line.metric("inspector_stray_results_total").endswith(" 1.0")


def test_what_the_camera_process_refused_is_a_counted_verdict(line: Bench) -> None:
    given = line.turn(
        line.trigger(0, refusal=Cause.QUEUE_FULL), line.trigger(1), Refused(trigger_key(1, 1), Cause.WORKER_LOST)
    )
    assert said(given) == [(NOT, Cause.QUEUE_FULL), (NOT, Cause.WORKER_LOST)]
    assert line.metric('inspector_frames_total{outcome="refused"').endswith(" 2.0")


def test_a_problem_of_the_worker_is_named_in_the_verdict(line: Bench) -> None:
    given = line.turn(line.trigger(0), line.result(0, math.nan, problem=Cause.FRAME_GEOMETRY))
    assert said(given) == [(NOT, Cause.FRAME_GEOMETRY)]


def test_a_result_that_overtakes_its_trigger_is_judged_when_the_trigger_comes(line: Bench) -> None:
    # Camera process and worker have connections of their own. At 200 parts a second and a worker that answers within
    # a millisecond, 8 of 3000 results came first: they were stray, and their parts missed the deadline.
    value = line.threshold.value
    assert line.turn(line.result(0, value), line.result(1, 2 * value)) == []
    assert said(line.turn(line.trigger(0), line.trigger(1))) == [
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
        (Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD),
    ]
    assert line.turn(line.trigger(2)) == [], "a result counts once"
    line.worker.incarnation = 2  # the worker's last word, announced after its end
    line.turn(line.result(3, value))
    assert said(line.turn(line.trigger(3, worker=1))) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)]


def test_an_early_result_is_no_verdict_where_the_part_can_have_none(line: Bench) -> None:
    line.turn(line.result(0, 0.0), line.result(1, 0.0))
    given = line.turn(line.trigger(0, refusal=Cause.QUEUE_FULL))
    line.now_ns += 101 * MS
    late = line.trigger(1)
    given += line.turn(Trigger(late.trigger, late.triggered_ns - 101 * MS, 1, None, late.source))
    assert said(given) == [(NOT, Cause.QUEUE_FULL), (NOT, Cause.DEADLINE_MISSED)]


def test_results_of_triggers_that_never_come_are_bounded(line: Bench) -> None:
    line.turn(*(line.result(number, 0.0) for number in range(10)))
    assert len(line.gate._early) == 4
    assert line.gate._ledger.stray_results == 6
    assert [part.decision for part in line.turn(line.trigger(6))][-1] is Decision.PASS


def test_announcements_that_were_lost_are_parts_all_the_same(line: Bench) -> None:
    given = line.turn(line.trigger(2), line.result(2, 0.0))
    assert said(given) == [
        (NOT, Cause.FRAME_MISSING),
        (NOT, Cause.FRAME_MISSING),
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
    ]
    assert line.gate.tally().triggered == 3


def test_a_trigger_announced_twice_is_one_part(line: Bench) -> None:
    again = line.trigger(0)
    assert said(line.turn(again, again, line.result(0, 0.0))) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)]
    assert line.gate.tally().triggered == 1


def test_more_open_parts_than_the_bound_are_settled_at_once(line: Bench) -> None:
    given = line.turn(*(line.trigger(number) for number in range(6)))
    assert said(given) == [(NOT, Cause.LEDGER_FULL)] * 2


def test_a_dead_worker_costs_its_open_parts_their_verdict_at_once(line: Bench) -> None:
    line.turn(line.trigger(0), line.trigger(1))
    line.worker.died = True
    # Its last word still counts: part 0 was judged before the end.
    given = line.turn(line.result(0, 0.0))
    assert said(given) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD), (NOT, Cause.WORKER_LOST)]


def test_a_frame_on_its_way_to_a_worker_that_died_is_lost_with_it(line: Bench) -> None:
    line.worker.incarnation = 2
    assert said(line.turn(line.trigger(0, worker=1))) == [(NOT, Cause.WORKER_LOST)]


def test_a_part_that_comes_while_the_daemon_stops_is_not_blamed_on_the_worker(line: Bench) -> None:
    # Ctrl-C in a demo once reported "worker_lost" for the part that the camera process announced last.
    line.worker.alive = False
    line.gate._closing = True
    assert said(line.turn(line.trigger(0))) == [(NOT, Cause.SHUTDOWN)]


def test_a_dead_camera_process_is_named_when_its_frame_never_came(line: Bench) -> None:
    line.turn(line.trigger(0), line.trigger(1))
    line.camera.died = True
    assert line.turn(line.result(0, 0.0))[0].decision is Decision.PASS
    line.now_ns += 100 * MS
    assert said(line.turn()) == [(NOT, Cause.CAMERA_LOST)]


def test_triggers_are_wanted_once_the_worker_is_ready_and_again_from_a_new_camera_process(line: Bench) -> None:
    line.worker.ready = False
    line.turn()
    assert line.camera.told == []
    assert not line.gate.serving
    line.worker.ready = True
    line.turn()
    assert line.camera.told == ["arm"]
    assert line.gate.serving
    line.camera.died = True
    line.turn()
    line.worker.ready = False  # parts keep coming: a camera process is armed even while no worker is ready
    line.camera.alive = line.camera.ready = True
    line.turn()
    assert line.camera.told == ["arm", "arm"]


@pytest.mark.parametrize(("exit_code", "expected"), [(69, 69), (-9, 70)])
def test_a_child_that_will_not_come_back_ends_the_daemon_with_its_code(
    line: Bench, exit_code: int, expected: int
) -> None:
    line.worker.died = line.worker.exhausted = True
    line.worker.exit_code = exit_code
    with pytest.raises(FatalError) as caught:
        line.turn()
    assert caught.value.exit_code == expected


def test_a_camera_process_that_ends_after_its_last_part_is_no_error(line: Bench) -> None:
    line.turn(State("camera", 1, "ended", triggers=0))
    line.camera.died = line.camera.exhausted = True
    line.turn()
    assert line.gate._finished()


def test_what_carries_the_frames_is_shown_over_restarts_of_the_camera_process(line: Bench) -> None:
    def state(**details: float) -> State:
        return State("camera", line.camera.incarnation, "running", details=details)

    line.turn(state(frames_by_slot=7, frames_by_message=1, slots_in_use=3, expired_leases=2))
    line.camera.incarnation = 2
    line.turn(state(), state(frames_by_slot=5, slots_in_use=1))
    assert line.metric('inspector_carried_frames_total{carrier="slot"').endswith(" 12.0")
    assert line.metric('inspector_carried_frames_total{carrier="message"').endswith(" 1.0")
    assert line.metric("inspector_expired_leases_total{").endswith(" 2.0")
    assert line.metric("inspector_ring_slots{").endswith(" 1.0")
    assert line.metric("inspector_ring_capacity_slots{").endswith(" 0.0")


def test_scores_of_passed_parts_that_moved_are_told_and_change_no_verdict(
    line: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # Calibration scores 0.9, 1 and 1.1 times the threshold: the first is the reference of what passes.
    value = line.threshold.value
    assert line.metric("inspector_score_median_ratio").endswith(" NaN")
    for part in range(400):
        given = line.turn(line.trigger(2 * part), line.result(2 * part, 5 * value))
        given += line.turn(line.trigger(2 * part + 1), line.result(2 * part + 1, 0.95 * value))
        assert [verdict.decision for verdict in given] == [Decision.FAIL, Decision.PASS]
    line.gate._housekeep(line.now_ns)
    assert "moved away" not in caplog.text, "one reference part proves nothing yet"
    assert line.metric("inspector_score_median_ratio") == 'inspector_score_median_ratio{station="s"} ' + repr(
        0.95 * value / (0.9 * value)
    )
    line.gate.recipes.active.drift = DriftMonitor([0.5 * value + 0.001 * n * value for n in range(100)], value)
    for part in range(800, 1000):
        line.turn(line.trigger(part), line.result(part, 0.95 * value))
    line.gate._housekeep(line.now_ns)
    assert caplog.text.count("moved away") == 1
    assert line.metric("inspector_score_drift_alarm").endswith(" 1.0")
    assert float(line.metric("inspector_score_drift_evidence").split()[-1]) > 8


def test_rejects_alone_are_no_drift(line: Bench) -> None:
    for part in range(300):
        line.turn(line.trigger(part), line.result(part, 5 * line.threshold.value))
    line.gate._housekeep(line.now_ns)
    assert line.metric("inspector_score_drift_evidence").endswith(" 0.0")
    assert line.metric("inspector_score_drift_alarm").endswith(" 0.0")


def test_light_and_focus_of_the_camera_process_are_shown(line: Bench) -> None:
    line.turn(State("camera", 1, "running", details={"brightness": 0.4, "white": 0.01, "sharpness": 250.5}))
    assert line.metric("inspector_frame_brightness_ratio").endswith(" 0.4")
    assert line.metric("inspector_frame_white_ratio").endswith(" 0.01")
    assert line.metric("inspector_frame_sharpness").endswith(" 250.5")
