"""The whole line in real processes: every part one verdict, outputs, orderly ends."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

from ..recovery import Recovered
from .conftest import StartDaemon, metrics, wait_for

pytestmark = pytest.mark.process


def test_every_part_of_a_folder_gets_one_verdict_from_either_engine_and_the_daemon_ends_by_itself(
    start: StartDaemon,
) -> None:
    told = {}
    for engine in ("pytorch", "openvino"):
        daemon = start(engine, worker={"engine": engine})
        assert daemon.finish() == 0, daemon.errors()
        causes = daemon.check_ledger()
        records = daemon.records()
        assert len(records) == 60
        assert set(causes) <= {"score_within_threshold", "score_above_threshold"}, daemon.errors()
        assert sorted(record["source"] for record in records) == [f"{number:03d}.png" for number in range(60)]
        for record in records:
            assert (record["decision"] == "pass") == (record["score"] <= record["threshold"])
            assert 0 < record["p_value"] <= 1
            assert set(record["stages_ms"]) == {"capture", "queue", "copy", "compute", "verdict"}
            assert sum(record["stages_ms"].values()) == pytest.approx(record["whole_ms"], abs=0.01)
            assert len(record["recipe_hash"]) == 64
        told[engine] = {record["source"]: record for record in records}
    for source, plain in told["pytorch"].items():
        compiled = told["openvino"][source]
        assert compiled["score"] == pytest.approx(plain["score"], rel=1e-4)
        assert compiled["decision"] == plain["decision"]


def test_verdicts_heartbeats_and_metrics_go_out(start_quick: StartDaemon, tmp_path: Path) -> None:
    context = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    try:
        subscriber.subscribe(b"")
        endpoint = f"ipc://{tmp_path}/out.sock"
        subscriber.connect(endpoint)
        daemon = start_quick(
            camera={"kind": "synthetic", "rate": 10, "width_px": 64, "height_px": 64}, verdicts={"endpoint": endpoint}
        )
        seen: dict[bytes, dict[str, object]] = {}

        def received() -> bool:
            while subscriber.poll(10):
                topic, body = subscriber.recv_multipart()
                seen[topic] = json.loads(body)
            return {b"verdict", b"heartbeat"} <= set(seen)

        wait_for(received, "a verdict and a heartbeat")
        verdict, heartbeat = seen[b"verdict"], seen[b"heartbeat"]
        assert verdict["station"] == heartbeat["station"] == "station"
        assert verdict["run"] == heartbeat["run"]
        assert verdict["decision"] in {"pass", "fail", "not_inspected"}

        def counted(text: str, name: str) -> float:
            return sum(float(value) for value in re.findall(rf"^{name}\{{.*\}} (.+)$", text, re.M))

        def with_a_part() -> str | None:
            text = metrics(daemon)
            return text if counted(text, "inspector_parts_total") > 0 else None

        text = wait_for(with_a_part, "the verdict in the metrics")  # it is counted just after it went out
        assert counted(text, "inspector_triggers_total") >= counted(text, "inspector_parts_total")
        for process in ("camera", "worker"):
            assert f'inspector_process_up{{process="{process}",station="station"}} 1.0' in text
        assert "inspector_ledger_imbalance_parts" in text
        assert daemon.stop() == 0
        daemon.check_ledger()
    finally:
        subscriber.close(0)
        context.term()


def test_sigterm_in_a_burst_settles_every_open_part_in_time(start_quick: StartDaemon) -> None:
    daemon = start_quick(camera={"kind": "synthetic", "rate": 200, "width_px": 64, "height_px": 64})
    daemon.wait_for_verdicts(50)
    started = time.monotonic()
    assert daemon.stop() == 0, daemon.errors()
    assert time.monotonic() - started < 8 + 4, "stop_timeout_s and the time of a busy machine"
    daemon.check_ledger()


def test_a_corrupt_image_costs_one_part(start_quick: StartDaemon, parts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("000.png", "002.png"):
        (folder / name).write_bytes((parts / name).read_bytes())
    (folder / "001.png").write_bytes((parts / "001.png").read_bytes()[:200])
    daemon = start_quick(camera={"kind": "folder", "path": str(folder)})
    assert daemon.finish() == 0, daemon.errors()
    assert daemon.check_ledger()["frame_corrupt"] == 1
    assert [r["source"] for r in daemon.records() if r["cause"] == "frame_corrupt"] == ["001.png"]


def test_too_short_a_deadline_rejects_instead_of_passing_late(start_quick: StartDaemon) -> None:
    daemon = start_quick(line={"deadline_ms": 0.05})
    assert daemon.finish() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert set(causes) <= {"deadline_missed", "expired_in_queue"}
    assert sum(causes.values()) == 60


def test_a_burst_beyond_the_queue_is_refused_and_counted(start_quick: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    picture = np.random.default_rng(2).integers(0, 256, (1500, 1500), np.uint8)
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.bmp"), picture)
    daemon = start_quick(
        camera={"kind": "folder", "path": str(folder), "rate": 2000, "loop": True}, line={"queue_frames": 2}
    )
    wait_for(
        lambda: (
            {record["decision"] for record in daemon.records()} & {"pass", "fail"}
            and any(record["cause"] == "queue_full" for record in daemon.records())
        ),
        f"parts that were judged, and parts that were refused\n{daemon.errors()}",
    )
    assert daemon.stop() == 0, daemon.errors()
    causes = daemon.check_ledger()
    assert causes["queue_full"] > 0
    assert causes["score_within_threshold"] + causes["score_above_threshold"] > 0


@pytest.mark.parametrize(
    ("sections", "code", "message"),
    [
        ({"worker": {"allow_random_weights": False}}, 65, "random weights"),
        ({"worker": {"precision": "bfloat16", "engine": "openvino"}}, 65, "set worker.precision: float32"),
        ({"worker": {"thread": 1}}, 78, "did you mean 'threads'"),
        ({"recipe": "nowhere"}, 65, "no such recipe"),
        ({"metrics": {"host": "0.0.0.0"}}, 78, "loopback"),
    ],
)
def test_what_can_not_run_never_starts(
    start_quick: StartDaemon, sections: dict[str, object], code: int, message: str
) -> None:
    daemon = start_quick(**sections)
    assert daemon.finish() == code
    assert message in daemon.errors()
    assert daemon.records() == []


def test_a_camera_that_can_not_be_opened_ends_the_daemon_with_its_code(start_quick: StartDaemon) -> None:
    daemon = start_quick(camera={"kind": "folder", "path": "/nonexistent"}, supervision={"restarts": 1})
    assert daemon.finish() == 69
    assert "/nonexistent" in daemon.errors()


def test_a_second_instance_is_refused_and_the_first_goes_on(start_quick: StartDaemon) -> None:
    first = start_quick(camera={"kind": "synthetic", "rate": 20, "width_px": 64, "height_px": 64})
    first.wait_for_verdicts(1)
    second = start_quick(verdicts={"endpoint": None, "log": None})
    assert second.finish() == 75
    before = len(first.records())
    first.wait_for_verdicts(before + 5)
    assert first.stop() == 0
    first.check_ledger()


def test_a_killed_gate_takes_its_children_along_and_the_next_starts_over_its_remains(
    start_quick: StartDaemon, recovered: Recovered
) -> None:
    first = start_quick(camera={"kind": "synthetic", "rate": 20, "width_px": 64, "height_px": 64})
    first.wait_for_verdicts(1)
    children = [first.wait_for_child("worker"), first.wait_for_child("camera")]
    killed_ns = time.monotonic_ns()
    first.process.send_signal(signal.SIGKILL)
    first.finish()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the children's end")
    first.log.unlink()
    second = start_quick()
    recovered(second, killed_ns)
    assert second.finish() == 0, second.errors()
    second.check_ledger()


def test_every_process_writes_the_log_in_the_chosen_format(
    start_quick: StartDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECTOR_LOG", "json")
    daemon = start_quick(camera={"kind": "folder", "path": "/nonexistent"}, supervision={"restarts": 1})
    assert daemon.finish() == 69
    said = [json.loads(line) for line in daemon.errors().splitlines()]
    assert {line["role"] for line in said} == {"gate", "camera"}
    assert {line["station"] for line in said} == {"station"}
    assert all(set(line) == {"time", "level", "role", "pid", "station", "message"} for line in said)
    assert any("/nonexistent" in line["message"] and line["level"] == "error" for line in said)
