"""A line's decisions, with messages made here, an injected clock and children that are only numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from prometheus_client import CollectorRegistry, generate_latest

from inspector.config import schema
from inspector.config.cameras import SyntheticCamera
from inspector.config.schema import InspectorConfig, Supervision
from inspector.domain.drift import DriftMonitor
from inspector.domain.errors import FatalError
from inspector.domain.ledger import trigger_key
from inspector.domain.threshold import Threshold
from inspector.domain.verdict import Cause, Decision, Verdict
from inspector.outputs.metrics import Families, LineMetrics
from inspector.outputs.publisher import Publisher
from inspector.outputs.verdict_log import VerdictLog
from inspector.recipe.store import Recipe, load_recipe, write_recipe
from inspector.roles.active_recipe import recipe_labels
from inspector.roles.desks import VerdictDesk
from inspector.roles.line import Line
from inspector.roles.shadow_link import ShadowLink
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
        self.ready_ns = 0
        self.alive = True
        self.restarts = 0
        self.retries = 0
        self.exhausted = False
        self.exit_code: int | None = None
        self.told: list[str] = []
        self.died = False
        self.retired = False

    def start(self, now_ns: int) -> None:
        pass

    def retire(self) -> None:
        self.retired = True

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
    """A line with its surroundings."""

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
            line=schema.Line(deadline_ms=100, open_parts=4),
            supervision=Supervision(restarts=2),
        )
        labels = recipe_labels(recipe)
        metrics = LineMetrics(
            Families(self.registry, 0.1), station="s", threshold=self.threshold, recipe=labels, version="0"
        )
        publisher = Publisher(zmq.Context.instance(), None)
        folder: Any = type("Folder", (), {"frames": "ipc://f", "gate": "ipc://g", "path": tmp_path})()
        inbox: Any = self.inbox
        self.line = Line(
            config,
            recipe,
            folder,
            inbox,
            VerdictDesk(publisher, VerdictLog(None, 1), "run", self.verdicts.append),
            metrics,
            clock_ns=lambda: self.now_ns,
        )
        self.camera, self.worker = Child("camera"), Child("worker")
        camera: Any = self.camera
        worker: Any = self.worker
        self.line.camera, self.line.worker = camera, worker

    def turn(self, *messages: GateMessage) -> list[Verdict]:
        """One turn of the loop; the verdicts that it gave."""
        before = len(self.verdicts)
        self.inbox.waiting += messages
        self.line.turn()
        self.line.arm()
        assert self.line.tally().balanced
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
def bench(random_recipe: Path, tmp_path: Path) -> Bench:
    return Bench(load_recipe(random_recipe), tmp_path)


def said(verdicts: list[Verdict]) -> list[tuple[Decision, Cause]]:
    return [(verdict.decision, verdict.cause) for verdict in verdicts]


NOT = Decision.NOT_INSPECTED


def test_a_score_at_the_threshold_passes_and_the_next_above_fails(bench: Bench) -> None:
    value = bench.threshold.value
    given = bench.turn(
        bench.trigger(0), bench.trigger(1), bench.result(0, value), bench.result(1, math.nextafter(value, math.inf))
    )
    assert said(given) == [
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
        (Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD),
    ]
    assert given[0].source == "good/0"
    assert given[0].p_value == 0.75
    assert 'cause="score_above_threshold",decision="fail",station="s"} 1.0' in bench.metric(
        'inspector_parts_total{cause="score_above_threshold"'
    )


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_never_passes(bench: Bench, score: float) -> None:
    given = bench.turn(bench.trigger(0), bench.result(0, score))
    assert said(given) == [(NOT, Cause.SCORE_NOT_FINITE)]
    assert given[0].score is None
    assert given[0].p_value is None


def test_a_result_of_another_recipe_is_no_verdict_of_this_one(bench: Bench) -> None:
    assert said(bench.turn(bench.trigger(0), bench.result(0, 0.0, recipe=bytes(32)))) == [(NOT, Cause.RECIPE_MISMATCH)]


def test_a_result_after_the_deadline_is_a_reject_even_if_the_part_is_good(bench: Bench) -> None:
    bench.turn(bench.trigger(0))
    bench.now_ns += 100 * MS + 1
    assert said(bench.turn(bench.result(0, 0.0))) == [(NOT, Cause.DEADLINE_MISSED)]


def test_silence_is_settled_at_the_deadline_and_the_late_result_counts_as_stray(bench: Bench) -> None:
    bench.turn(bench.trigger(0))
    bench.now_ns += 99 * MS
    assert bench.turn() == []
    bench.now_ns += 1 * MS
    assert said(bench.turn()) == [(NOT, Cause.DEADLINE_MISSED)]
    assert bench.turn(bench.result(0, 0.0)) == []
    bench.now_ns += 200 * MS
    bench.turn()
    bench.line.show()
    assert bench.metric("inspector_stray_results_total").endswith(" 1.0")


def test_what_the_camera_process_refused_is_a_counted_verdict(bench: Bench) -> None:
    given = bench.turn(
        bench.trigger(0, refusal=Cause.QUEUE_FULL), bench.trigger(1), Refused(trigger_key(1, 1), Cause.WORKER_LOST)
    )
    assert said(given) == [(NOT, Cause.QUEUE_FULL), (NOT, Cause.WORKER_LOST)]
    assert bench.metric('inspector_frames_total{outcome="refused"').endswith(" 2.0")


def test_a_problem_of_the_worker_is_named_in_the_verdict(bench: Bench) -> None:
    given = bench.turn(bench.trigger(0), bench.result(0, math.nan, problem=Cause.FRAME_GEOMETRY))
    assert said(given) == [(NOT, Cause.FRAME_GEOMETRY)]


def test_a_result_that_overtakes_its_trigger_is_judged_when_the_trigger_comes(bench: Bench) -> None:
    # Camera process and worker have connections of their own. At 200 parts a second and a worker that answers within
    # a millisecond, 8 of 3000 results came first: they were stray, and their parts missed the deadline.
    value = bench.threshold.value
    assert bench.turn(bench.result(0, value), bench.result(1, 2 * value)) == []
    assert said(bench.turn(bench.trigger(0), bench.trigger(1))) == [
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
        (Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD),
    ]
    assert bench.turn(bench.trigger(2)) == [], "a result counts once"
    bench.worker.incarnation = 2  # the worker's last word, announced after its end
    bench.turn(bench.result(3, value))
    assert said(bench.turn(bench.trigger(3, worker=1))) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)]


def test_an_early_result_is_no_verdict_where_the_part_can_have_none(bench: Bench) -> None:
    bench.turn(bench.result(0, 0.0), bench.result(1, 0.0))
    given = bench.turn(bench.trigger(0, refusal=Cause.QUEUE_FULL))
    bench.now_ns += 101 * MS
    late = bench.trigger(1)
    given += bench.turn(Trigger(late.trigger, late.triggered_ns - 101 * MS, 1, None, late.source))
    assert said(given) == [(NOT, Cause.QUEUE_FULL), (NOT, Cause.DEADLINE_MISSED)]


def test_results_of_triggers_that_never_come_are_bounded(bench: Bench) -> None:
    bench.turn(*(bench.result(number, 0.0) for number in range(10)))
    assert len(bench.line._judge._early) == 4
    assert bench.line._judge.ledger.stray_results == 6
    assert [part.decision for part in bench.turn(bench.trigger(6))][-1] is Decision.PASS


def test_announcements_that_were_lost_are_parts_all_the_same(bench: Bench) -> None:
    given = bench.turn(bench.trigger(2), bench.result(2, 0.0))
    assert said(given) == [
        (NOT, Cause.FRAME_MISSING),
        (NOT, Cause.FRAME_MISSING),
        (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD),
    ]
    assert bench.line.tally().triggered == 3


def test_a_trigger_announced_twice_is_one_part(bench: Bench) -> None:
    again = bench.trigger(0)
    assert said(bench.turn(again, again, bench.result(0, 0.0))) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)]
    assert bench.line.tally().triggered == 1


def test_more_open_parts_than_the_bound_are_settled_at_once(bench: Bench) -> None:
    given = bench.turn(*(bench.trigger(number) for number in range(6)))
    assert said(given) == [(NOT, Cause.LEDGER_FULL)] * 2


def test_a_dead_worker_costs_its_open_parts_their_verdict_at_once(bench: Bench) -> None:
    bench.turn(bench.trigger(0), bench.trigger(1))
    bench.worker.died = True
    # Its last word still counts: part 0 was judged before the end.
    given = bench.turn(bench.result(0, 0.0))
    assert said(given) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD), (NOT, Cause.WORKER_LOST)]


def test_a_frame_on_its_way_to_a_worker_that_died_is_lost_with_it(bench: Bench) -> None:
    bench.worker.incarnation = 2
    assert said(bench.turn(bench.trigger(0, worker=1))) == [(NOT, Cause.WORKER_LOST)]


def test_a_part_that_comes_while_the_daemon_stops_is_not_blamed_on_the_worker(bench: Bench) -> None:
    # Ctrl-C in a demo once reported "worker_lost" for the part that the camera process announced last.
    bench.worker.alive = False
    bench.line._judge.closing = True
    assert said(bench.turn(bench.trigger(0))) == [(NOT, Cause.SHUTDOWN)]


def test_a_dead_camera_process_is_named_when_its_frame_never_came(bench: Bench) -> None:
    bench.turn(bench.trigger(0), bench.trigger(1))
    bench.camera.died = True
    assert bench.turn(bench.result(0, 0.0))[0].decision is Decision.PASS
    bench.now_ns += 100 * MS
    assert said(bench.turn()) == [(NOT, Cause.CAMERA_LOST)]


def camera_says(worker: int, camera: int = 1) -> State:
    """The camera process's heartbeat: the worker that it sends its frames to."""
    return State("camera", camera, "running", details={"worker": worker})


def test_no_trigger_is_wanted_before_the_camera_process_knows_the_worker(bench: Bench) -> None:
    """Both were ready once, but the worker's room reached the camera process later, and the first part was a reject."""
    bench.worker.ready = False
    bench.turn()
    assert bench.camera.told == []
    bench.worker.ready = True
    bench.turn(camera_says(0))
    assert bench.camera.told == []
    assert bench.line.status()["prepared"] is False
    assert not bench.line.serving
    bench.turn(camera_says(1))
    assert bench.line.status()["prepared"] is True
    assert bench.camera.told == ["arm"]
    assert bench.line.serving


def test_metrics_show_the_processes_of_a_line_before_its_first_part(bench: Bench) -> None:
    """They were shown ten times a second only: a scrape saw parts of a camera process that seemed to be down."""
    bench.camera.ready = bench.worker.ready = False
    bench.line.show()
    bench.turn()
    bench.camera.ready = bench.worker.ready = True
    bench.turn(State("worker", 1, "ready"), camera_says(1))
    assert bench.camera.told == ["arm"]
    for process in ("camera", "worker"):
        assert bench.metric(f'inspector_process_up{{process="{process}"').endswith(" 1.0")


def test_metrics_show_a_new_worker_before_what_it_judges(bench: Bench) -> None:
    """They were shown ten times a second only: a scrape saw parts that a worker had judged which seemed to be down."""
    bench.worker.ready = False
    bench.line.show()
    assert bench.metric('inspector_process_up{process="worker"').endswith(" 0.0")
    bench.worker.ready, bench.worker.incarnation = True, 2
    bench.turn(State("worker", 1, "stopped"))  # of the one before
    assert bench.metric('inspector_process_up{process="worker"').endswith(" 0.0")
    bench.turn(State("worker", 2, "ready"))
    assert bench.metric('inspector_process_up{process="worker"').endswith(" 1.0")


def test_a_worker_that_was_replaced_before_the_first_trigger_is_not_the_one_to_know(bench: Bench) -> None:
    bench.worker.ready, bench.worker.incarnation = True, 2
    bench.turn(camera_says(1))
    assert bench.camera.told == []
    bench.turn(camera_says(2))
    assert bench.camera.told == ["arm"]


def test_a_former_worker_stays_until_the_camera_process_sends_to_the_new_one(bench: Bench, tmp_path: Path) -> None:
    """Whichever of the processes stood still for longer than the former worker's second: it went all the same once, and
    parts that were sent to it were lost.
    """
    manifest = bench.recipe.manifest.model_copy(update={"name": "other"})
    other = write_recipe(tmp_path / "other", manifest, bench.recipe.weights_path.read_bytes())
    former, new = bench.worker, Child("worker")
    new.incarnation = 2
    bench.line.recipes._make_worker = lambda recipe: new  # type: ignore[assignment,return-value]
    bench.turn(camera_says(worker=1))
    bench.line.activate(other.folder, "me", "why")
    until_s = time.monotonic() + 30
    while bench.line.worker is former and time.monotonic() < until_s:  # a thread reads the recipe
        bench.turn()
    assert bench.line.worker is new
    bench.now_ns += 5000 * MS
    bench.turn(camera_says(worker=1))
    assert not former.retired
    bench.turn(bench.trigger(0, worker=1), camera_says(worker=2))
    assert not former.retired  # it has a part
    assert said(bench.turn(bench.result(0, 0.0))) == [(Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)]
    assert former.retired


def test_a_new_camera_process_sees_triggers_at_once_where_no_worker_is_ready(bench: Bench) -> None:
    bench.turn(camera_says(1))
    bench.camera.died = True
    bench.turn()
    bench.worker.ready = False  # parts keep coming: each must be a reject, none may be unseen
    bench.camera.alive = bench.camera.ready = True
    bench.turn()
    assert bench.camera.told == ["arm", "arm"]


def test_a_new_camera_process_waits_a_moment_for_the_worker_that_is_at_work(bench: Bench) -> None:
    bench.turn(camera_says(1))
    bench.camera.died = True
    bench.turn(camera_says(1))
    bench.camera.alive = bench.camera.ready = True
    bench.camera.ready_ns, bench.camera.incarnation = bench.now_ns, 2
    bench.turn(camera_says(1))  # of the former one
    assert bench.camera.told == ["arm"]
    bench.turn(camera_says(1, camera=2))
    assert bench.camera.told == ["arm", "arm"]


def test_a_new_camera_process_does_not_wait_for_long(bench: Bench) -> None:
    bench.turn(camera_says(1))
    bench.camera.died = True
    bench.turn()
    bench.camera.alive = bench.camera.ready = True
    bench.camera.ready_ns, bench.camera.incarnation = bench.now_ns, 2
    bench.now_ns += 1999 * MS
    bench.turn(camera_says(0, camera=2))
    assert bench.camera.told == ["arm"]
    bench.now_ns += 1 * MS
    bench.turn(camera_says(0, camera=2))
    assert bench.camera.told == ["arm", "arm"]


@pytest.mark.parametrize(("exit_code", "expected"), [(69, 69), (-9, 70)])
def test_a_child_that_will_not_come_back_ends_the_daemon_with_its_code(
    bench: Bench, exit_code: int, expected: int
) -> None:
    bench.worker.died = bench.worker.exhausted = True
    bench.worker.exit_code = exit_code
    with pytest.raises(FatalError) as caught:
        bench.turn()
    assert caught.value.exit_code == expected


def test_a_camera_process_that_ends_after_its_last_part_is_no_error(bench: Bench) -> None:
    bench.turn(State("camera", 1, "ended", triggers=0))
    bench.camera.died = bench.camera.exhausted = True
    bench.turn()
    assert bench.line.finished


def test_what_carries_the_frames_is_shown_over_restarts_of_the_camera_process(bench: Bench) -> None:
    def state(**details: float) -> State:
        return State("camera", bench.camera.incarnation, "running", details=details)

    bench.turn(state(frames_by_slot=7, frames_by_message=1, slots_in_use=3, expired_leases=2))
    bench.camera.incarnation = 2
    bench.turn(state(), state(frames_by_slot=5, slots_in_use=1))
    assert bench.metric('inspector_carried_frames_total{carrier="slot"').endswith(" 12.0")
    assert bench.metric('inspector_carried_frames_total{carrier="message"').endswith(" 1.0")
    assert bench.metric("inspector_expired_leases_total{").endswith(" 2.0")
    assert bench.metric("inspector_ring_slots{").endswith(" 1.0")
    assert bench.metric("inspector_ring_capacity_slots{").endswith(" 0.0")


def test_scores_of_passed_parts_that_moved_are_told_and_change_no_verdict(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # Calibration scores 0.9, 1 and 1.1 times the threshold: the first is the reference of what passes.
    value = bench.threshold.value
    assert bench.metric("inspector_score_median_ratio").endswith(" NaN")
    for part in range(400):
        given = bench.turn(bench.trigger(2 * part), bench.result(2 * part, 5 * value))
        given += bench.turn(bench.trigger(2 * part + 1), bench.result(2 * part + 1, 0.95 * value))
        assert [verdict.decision for verdict in given] == [Decision.FAIL, Decision.PASS]
    bench.line.show()
    assert "moved away" not in caplog.text, "one reference part proves nothing yet"
    assert bench.metric("inspector_score_median_ratio") == 'inspector_score_median_ratio{station="s"} ' + repr(
        0.95 * value / (0.9 * value)
    )
    bench.line.recipes.active.drift = DriftMonitor([0.5 * value + 0.001 * n * value for n in range(100)], value)
    for part in range(800, 1000):
        bench.turn(bench.trigger(part), bench.result(part, 0.95 * value))
    bench.line.show()
    assert caplog.text.count("moved away") == 1
    assert bench.metric("inspector_score_drift_alarm").endswith(" 1.0")
    assert float(bench.metric("inspector_score_drift_evidence").split()[-1]) > 8


def test_rejects_alone_are_no_drift(bench: Bench) -> None:
    for part in range(300):
        bench.turn(bench.trigger(part), bench.result(part, 5 * bench.threshold.value))
    bench.line.show()
    assert bench.metric("inspector_score_drift_evidence").endswith(" 0.0")
    assert bench.metric("inspector_score_drift_alarm").endswith(" 0.0")


def test_light_and_focus_of_the_camera_process_are_shown(bench: Bench) -> None:
    bench.turn(State("camera", 1, "running", details={"brightness": 0.4, "white": 0.01, "sharpness": 250.5}))
    assert bench.metric("inspector_frame_brightness_ratio").endswith(" 0.4")
    assert bench.metric("inspector_frame_white_ratio").endswith(" 0.01")
    assert bench.metric("inspector_frame_sharpness").endswith(" 250.5")


def test_a_change_of_the_recipe_leaves_the_shadow_alone(random_recipe: Path) -> None:
    # It judges by a recipe of its own; it was stopped all the same, and loaded the same network again.
    child: Any = Child("shadow")
    metrics = LineMetrics(
        Families(CollectorRegistry(), 0.1),
        station="s",
        threshold=Threshold(1.0, 0.01, 0.01, 0.95, "tolerance_limit", 300, 0, True, 0),
        recipe={},
        version="0",
    )
    link = ShadowLink(child, metrics, load_recipe(random_recipe), lambda record: None)
    link.renew()
    assert child.told == []
