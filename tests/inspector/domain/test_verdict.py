"""A verdict goes out as JSON, and all that is not a pass is a reject."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain.verdict import Cause, Decision, Verdict

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TIME_NS = st.integers(0, 2**62)


@given(
    decision=st.sampled_from(Decision),
    cause=st.sampled_from(Cause),
    score=FINITE | st.none(),
    p_value=FINITE | st.none(),
    times_ns=st.tuples(TIME_NS, TIME_NS, TIME_NS),
    source=st.text(),
    stages_ns=st.dictionaries(st.text(), st.integers(-(2**40), 2**40)),
)
def test_record_is_json_without_loss(
    decision: Decision,
    cause: Cause,
    score: float | None,
    p_value: float | None,
    times_ns: tuple[int, int, int],
    source: str,
    stages_ns: dict[str, int],
) -> None:
    record = Verdict(1, 2, decision, cause, score, p_value, *times_ns, source, stages_ns).as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["decision"], record["cause"]) == (decision.value, cause.value)
    assert (record["score"], record["p_value"], record["source"]) == (score, p_value, source)
    assert record["stages_ms"].keys() == stages_ns.keys()


def test_durations_are_milliseconds() -> None:
    stages_ns = {"capture": 1_234_567, "compute": 20_000_000}
    verdict = Verdict(
        7,
        9,
        Decision.PASS,
        Cause.SCORE_WITHIN_THRESHOLD,
        1.0,
        0.5,
        triggered_ns=5_000_000,
        decided_ns=30_500_000,
        deadline_ns=505_000_000,
        stages_ns=stages_ns,
    )
    record = verdict.as_record()
    assert verdict.whole_ns == 25_500_000
    assert record["whole_ms"] == 25.5
    assert record["stages_ms"] == {"capture": 1.2346, "compute": 20.0}


@pytest.mark.parametrize(
    ("decision", "rejected"), [(Decision.PASS, False), (Decision.FAIL, True), (Decision.NOT_INSPECTED, True)]
)
def test_doubt_is_a_reject(decision: Decision, rejected: bool) -> None:
    assert Verdict(1, 1, decision, Cause.SHUTDOWN, None, None, 0, 0, 0).rejected is rejected
