"""A clock that takes notes: what this process does between two readings stands between two notes."""

from __future__ import annotations

import contextlib
import gc
import mmap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.benchmark.trace import COLUMNS, Recorder, Trace


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with contextlib.closing(Recorder(capacity=2000)) as recorder:
        yield recorder


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_every_reading_is_a_note_with_its_time(recorder: Recorder) -> None:
    readings = [recorder() for _ in range(5)]
    trace = recorder.trace()
    assert trace.column("time_ns").tolist() == readings == sorted(readings)
    assert trace.notes.shape == (5, len(COLUMNS))
    assert abs(readings[0] - time.monotonic_ns()) < 60e9
    assert trace.lost == 0


def test_work_and_page_faults_between_two_readings_are_seen(recorder: Recorder) -> None:
    recorder()
    with mmap.mmap(-1, 256 * mmap.PAGESIZE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        recorder()
        for place in range(0, len(memory), mmap.PAGESIZE):
            memory[place] = 1
        recorder()
        spin(0.02)
        recorder()
    trace = recorder.trace()
    faults, running_ns = trace.column("minor_faults"), trace.column("running_ns")
    assert 256 <= faults[2] - faults[1] < 400
    assert faults[3] - faults[2] < 200
    assert 20e6 <= running_ns[3] - running_ns[2] < 60e6


def test_another_thread_that_runs_python_is_seen_and_its_readings_are_no_notes(recorder: Recorder) -> None:
    over, worked = threading.Event(), threading.Event()

    def work() -> None:
        recorder()
        spin(0.02)
        worked.set()
        while not over.is_set():
            spin(0.001)

    thread = threading.Thread(target=work)
    recorder()
    thread.start()
    assert worked.wait(60)
    recorder()
    over.set()
    thread.join()
    trace = recorder.trace()
    python_ns = trace.column("python_ns")
    assert len(trace.notes) == 2
    assert trace.python_threads >= 2
    assert python_ns[1] - python_ns[0] > 10e6


def test_collections_have_their_time_and_generation(recorder: Recorder) -> None:
    gc.collect(1)
    before = recorder()
    gc.collect()
    after = recorder()
    trace = recorder.trace()
    generation, begin_ns, end_ns = trace.collections[-1].tolist()
    assert generation == 2
    assert before <= begin_ns < end_ns <= after
    assert 1 in trace.collections[:, 0]


def test_without_a_recorder_collections_are_nobodys_business() -> None:
    recorder = Recorder(capacity=1)
    callbacks = len(gc.callbacks)
    recorder.close()
    assert len(gc.callbacks) == callbacks - 1


def test_what_has_no_room_is_counted_and_the_time_is_told_all_the_same() -> None:
    with contextlib.closing(Recorder(capacity=2)) as recorder:
        readings = [recorder() for _ in range(4)]
        trace = recorder.trace()
    assert trace.column("time_ns").tolist() == readings[:2]
    assert readings[3] > readings[1]
    assert trace.lost == 2


def test_a_trace_is_the_same_after_a_file(recorder: Recorder, tmp_path: Path) -> None:
    recorder()
    gc.collect()
    trace = recorder.trace()
    trace.save(tmp_path / "worker.npz")
    read = Trace.load(tmp_path / "worker.npz")
    assert (read.notes == trace.notes).all()
    assert (read.collections == trace.collections).all()
    facts = ("python_threads", "frozen_objects", "collecting", "lost")
    assert [getattr(read, name) for name in facts] == [getattr(trace, name) for name in facts]


def test_a_recorder_that_was_never_read_has_one_note(recorder: Recorder) -> None:
    assert len(recorder.trace().notes) == 1
