"""A pass must be proven, and a p-value is a rank."""

from __future__ import annotations

import ast
import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import inspector.domain.threshold as module
from inspector.domain.threshold import Threshold, conformal_p_value, decide
from inspector.domain.verdict import Cause, Decision

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def make(**changes: Any) -> Threshold:
    settings: dict[str, Any] = {
        "value": 1.5,
        "target": 0.005,
        "promise": 0.0049,
        "confidence": 0.95,
        "method": "tolerance_limit",
        "sample_size": 600,
        "exceedances_allowed": 0,
        "exact": True,
        "parts_needed": 0,
    }
    return Threshold(**(settings | changes))


@given(score=FINITE, value=FINITE)
def test_finite_scores_pass_exactly_up_to_the_threshold(score: float, value: float) -> None:
    decision, cause = decide(score, make(value=value))
    if score <= value:
        assert (decision, cause) == (Decision.PASS, Cause.SCORE_WITHIN_THRESHOLD)
    else:
        assert (decision, cause) == (Decision.FAIL, Cause.SCORE_ABOVE_THRESHOLD)


def test_score_at_the_threshold_passes_and_the_next_number_fails() -> None:
    threshold = make(value=1.5)
    assert decide(1.5, threshold)[0] is Decision.PASS
    assert decide(math.nextafter(1.5, math.inf), threshold)[0] is Decision.FAIL


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_is_not_inspected(score: float) -> None:
    assert decide(score, make()) == (Decision.NOT_INSPECTED, Cause.SCORE_NOT_FINITE)


@given(score=FINITE, sample=st.lists(FINITE, max_size=30))
def test_p_value_is_the_share_of_scores_at_least_as_high(score: float, sample: list[float]) -> None:
    expected = (1 + sum(other >= score for other in sample)) / (len(sample) + 1)
    assert conformal_p_value(score, sorted(sample)) == expected


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_p_value_of_a_score_that_is_not_finite_is_the_lowest(score: float) -> None:
    assert conformal_p_value(score, [0.0, 1.0, 2.0, 3.0]) == 0.2


def test_p_value_without_a_sample_says_nothing() -> None:
    assert conformal_p_value(3.0, []) == 1.0


@pytest.mark.parametrize(
    "changes",
    [
        {"value": math.nan},
        {"value": math.inf},
        {"target": 0.0},
        {"promise": 1.0},
        {"confidence": 1.0},
        {"method": "guess"},
        {"sample_size": 0},
        {"exceedances_allowed": 600},
        {"exceedances_allowed": -1},
        {"parts_needed": -1},
    ],
)
def test_senseless_threshold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make(**changes)


def test_threshold_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().value = 2.0  # type: ignore[misc]


def test_description_says_what_is_promised_and_what_is_missing() -> None:
    promised = make().describe()
    assert "0.490%" in promised
    assert "approximate" not in promised
    extrapolated = make(method="extrapolated", promise=0.03, exact=False, parts_needed=498).describe()
    assert "EXTRAPOLATED" in extrapolated
    assert "3.000%" in extrapolated
    assert "498 more good parts" in extrapolated
    assert "approximate" in extrapolated


def test_gate_decides_with_the_standard_library_alone() -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    foreign = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert foreign == {"inspector.domain.verdict"}
