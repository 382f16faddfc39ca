"""What is laid at whose door: made-up notes, parts whose cause is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inspector.benchmark.tail_causes import (
    COLLECTIONS,
    COMPUTING,
    FAULTS,
    GIL,
    QUEUE,
    QUEUE_BESIDE,
    STAGES,
    Parts,
    group,
    lay_over,
    overlap,
    process_figures,
    stamps_of,
    together,
)
from inspector.benchmark.trace import COLUMNS, Trace
from inspector.domain.verdict import Cause, Decision, Verdict

MS = 1_000_000
#: Trigger, captured, received, copied, computed, decided of two parts, in milliseconds.
FIRST, SECOND = (0, 1, 2, 4, 9, 10), (100, 101, 102, 104, 129, 130)


def trace(*notes: dict[str, int], collections: tuple[tuple[int, int], ...] = (), python_threads: int = 1) -> Trace:
    """Notes at the times `at`, in milliseconds; what is not said of a column stays as it was."""
    rows: list[list[int]] = []
    for note in notes:
        former = rows[-1] if rows else [0] * len(COLUMNS)
        values = dict(zip(COLUMNS, former, strict=True)) | {"time_ns": note["at"] * MS}
        rows.append(list((values | {key: value for key, value in note.items() if key != "at"}).values()))
    spans = [[2, begin * MS, end * MS] for begin, end in collections]
    found = np.array(spans, np.int64).reshape(-1, 3)
    return Trace(np.array(rows, np.int64), found, python_threads, 0, True, 0)


IDLE = trace({"at": -1})


def stamps(*parts: tuple[int, ...]) -> NDArray[np.int64]:
    return np.array(parts, np.int64) * MS


def causes(name: str, *, camera: Trace = IDLE, worker: Trace = IDLE, gate: Trace = IDLE) -> list[float]:
    traces = {"camera": camera, "worker": worker, "gate": gate}
    return [round(value, 6) for value in lay_over(stamps(FIRST, SECOND), traces, 1000.0).causes_ms[name].tolist()]


def test_stages_are_those_of_the_verdicts_and_refused_parts_have_none() -> None:
    def verdict(stages_ns: dict[str, int]) -> Verdict:
        return Verdict(1, 1, Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD, 0.5, 0.5, 7, 22, 99, stages_ns=stages_ns)

    times = dict(zip(STAGES, (1, 2, 3, 4, 5), strict=True))
    assert stamps_of([verdict(times), verdict({})]).tolist() == [[7, 8, 10, 13, 17, 22]]
    assert stamps_of([]).shape == (0, 6)


def test_a_collection_counts_for_the_part_that_its_process_has_at_the_time() -> None:
    # While the worker computes the second part: 20 ms of it; one of 5 ms in between, when nobody waits.
    worker = trace({"at": 0}, {"at": 200}, collections=((50, 55), (105, 125)))
    assert causes(COLLECTIONS, worker=worker) == [0, 20]
    gate = trace({"at": 0}, {"at": 200}, collections=((8, 11), (105, 125)))
    assert causes(COLLECTIONS, gate=gate) == [1, 0]  # of 3 ms one lies between computed and decided
    camera = trace({"at": 0}, {"at": 1}, {"at": 2}, {"at": 3}, {"at": 60}, collections=((2, 3), (4, 40)))
    assert causes(COLLECTIONS, camera=camera) == [1, 0]  # until it has sent the frame, two readings later


def test_what_a_process_uses_up_between_two_parts_is_nobodys() -> None:
    worker = trace(
        {"at": 0},
        {"at": 9, "minor_faults": 3, "waiting_ns": 2 * MS, "running_ns": 7 * MS},
        {"at": 10},
        {"at": 100, "minor_faults": 503, "waiting_ns": 50 * MS, "running_ns": 30 * MS},
        {"at": 129, "minor_faults": 503, "major_faults": 1, "waiting_ns": 54 * MS, "waiting_beside_ns": 9 * MS},
    )
    assert causes(FAULTS, worker=worker) == [0.003, 0.001]
    assert causes(QUEUE, worker=worker) == [2, 4]
    assert causes(QUEUE_BESIDE, worker=worker) == [0, 9]
    assert causes(COMPUTING, worker=worker) == [7, 0]


def test_what_three_processes_go_through_is_added_up() -> None:
    notes = trace(*({"at": at, "waiting_ns": at * MS} for at in range(200)))
    # Camera process 0 to 1 and two readings on, worker 1 to 9, gate 9 to 10; likewise the second part.
    assert causes(QUEUE, camera=notes, worker=notes, gate=notes) == [3 + 8 + 1, 3 + 28 + 1]


def test_threads_of_python_can_only_wait_for_the_gil_where_there_are_two() -> None:
    notes = ({"at": 0}, {"at": 9}, {"at": 10, "python_ns": MS // 2}, {"at": 200})
    assert causes(GIL, gate=trace(*notes, python_threads=3)) == [0.5, 0]
    assert causes(GIL, gate=trace(*notes)) == [0, 0]


def test_a_sum_that_falls_back_is_no_time_won() -> None:
    gate = trace({"at": 0, "python_ns": 5}, {"at": 9}, {"at": 10, "python_ns": 2}, python_threads=2)
    assert causes(GIL, gate=gate) == [0, 0]


spans = st.lists(st.integers(0, 1000), min_size=0, max_size=20, unique=True).map(
    lambda edges: np.array(sorted(edges)[: len(edges) // 2 * 2], np.int64).reshape(-1, 2)
)


@given(spans, st.integers(0, 1000), st.integers(0, 1000))
def test_overlap_is_what_counting_finds(intervals: NDArray[np.int64], one: int, other: int) -> None:
    begin, end = sorted((one, other))
    counted = sum(any(first <= at < last for first, last in intervals.tolist()) for at in range(begin, end))
    assert overlap(intervals, np.array([begin]), np.array([end])).tolist() == pytest.approx([counted])


def parts(count: int = 1000, slow: int = 10, *, slow_ms: float = 20.0) -> Parts:
    """All take 10 ms; the last few `slow_ms` more, and those because of collections."""
    stages = np.full((count, len(STAGES)), 2.0)
    stages[count - slow :, STAGES.index("compute")] += slow_ms
    collections = np.zeros(count)
    collections[count - slow :] = slow_ms
    return Parts(stages, {COLLECTIONS: collections, QUEUE: np.full(count, 1.0)})


def test_a_cause_that_only_slow_parts_have_explains_them_and_one_that_all_have_does_not() -> None:
    slowest = group(parts(), 0.01)
    assert slowest.parts == 10
    assert slowest.whole_ms == pytest.approx(30)
    assert slowest.stages["compute"].excess == pytest.approx(1)
    assert slowest.stages["copy"].excess == pytest.approx(0)
    collected, queued = slowest.causes[COLLECTIONS], slowest.causes[QUEUE]
    assert (collected.ms, collected.felt, collected.excess) == (pytest.approx(20), 1, pytest.approx(1))
    assert (queued.ms, queued.felt, queued.excess) == (pytest.approx(1), 1, pytest.approx(0))


def test_all_parts_have_no_excess_and_a_cause_of_few_is_felt_by_few() -> None:
    everyone = group(parts())
    assert everyone.parts == 1000
    assert everyone.causes[COLLECTIONS].felt == pytest.approx(0.01)
    assert everyone.causes[COLLECTIONS].excess is None
    assert sum(stage.ms for stage in everyone.stages.values()) == pytest.approx(everyone.whole_ms)


def test_the_slowest_thousandth_of_few_parts_is_one() -> None:
    assert [group(parts(20, 1), share).parts for share in (1.0, 0.01, 0.001)] == [20, 1, 1]
    assert group(parts(1000), 0.001).parts == 1
    assert group(parts(1001), 0.001).parts == 2


def test_equal_parts_are_no_excess() -> None:
    assert group(replace(parts(), stages_ms=np.full((1000, 5), 2.0)), 0.01).causes[COLLECTIONS].excess is None


def test_runs_are_taken_together() -> None:
    both = together([parts(10, 1), parts(20, 2)])
    assert len(both.whole_ms) == len(both.causes_ms[COLLECTIONS]) == 30
    assert (both.whole_ms > 10).sum() == 3


def test_figures_of_a_process_are_for_each_part_and_second() -> None:
    worker = trace(
        {"at": 0, "minor_faults": 100},
        {"at": 1000, "minor_faults": 120, "running_ns": 8 * MS},
        {"at": 3000, "minor_faults": 420, "running_ns": 28 * MS, "waiting_ns": MS, "waiting_beside_ns": MS},
        {"at": 4000, "minor_faults": 9999},
        collections=((10, 900), (1500, 1510), (2000, 2005)),
    )
    figures = process_figures(worker, 1000 * MS, 3000 * MS, parts=10)
    assert (figures["faults"], figures["running_ms"], figures["waiting_ms"]) == (30, 2, 0.2)
    assert (figures["collections_a_second"], figures["longest_collection_ms"]) == (1, 10)
