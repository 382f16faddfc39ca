"""Each good part has one purpose at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.split import FEWEST, FOLDS, parts_for, split_parts, threshold_parts
from inspector.domain.errors import DataError

PARTS = st.integers(FEWEST, 700)
SEEDS = st.integers(0, 99)


@given(PARTS, st.none() | st.integers(2, 8), SEEDS)
def test_purposes_are_disjoint_and_complete(parts: int, folds: int | None, seed: int) -> None:
    split = split_parts(parts, folds=folds, calibration_share=0.4, needed=598, seed=seed)
    rest = set(range(parts)) - set(split.validation)
    scored = [part for part_of in split.rounds for part in part_of.scored]
    assert len(set(split.validation)) == len(split.validation) >= 2
    assert len(set(scored)) == len(scored)
    for part_of in split.rounds:
        assert not set(part_of.train) & set(part_of.scored)
        assert set(part_of.train) | set(part_of.scored) == rest
        assert part_of.train
        assert part_of.scored
    if split.exact:
        assert split.final == split.rounds[0].train
    else:
        assert set(scored) == rest == set(split.final)


@given(PARTS, SEEDS)
def test_hold_out_keeps_the_share(parts: int, seed: int) -> None:
    split = split_parts(parts, folds=0, calibration_share=0.4, needed=598, seed=seed)
    assert split.exact
    kept = parts - len(split.validation)
    assert abs(len(split.rounds[0].scored) - 0.4 * kept) <= 0.5


@given(PARTS, st.integers(2, 8), SEEDS)
def test_folds_are_of_equal_size(parts: int, folds: int, seed: int) -> None:
    sizes = [
        len(part.scored)
        for part in split_parts(parts, folds=folds, calibration_share=0.4, needed=598, seed=seed).rounds
    ]
    assert len(sizes) == folds
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("parts", "rounds"), [(100, FOLDS), (1658, FOLDS), (1659, 1)])
def test_parts_are_held_out_as_soon_as_they_promise_the_target(parts: int, rounds: int) -> None:
    assert len(split_parts(parts, folds=None, calibration_share=0.4, needed=598, seed=1).rounds) == rounds


@given(st.integers(1, 5000), st.sampled_from([0, 2, 5]), st.floats(0.05, 0.95))
def test_parts_for_is_the_least_number_that_suffices(needed: int, folds: int, share: float) -> None:
    parts = parts_for(needed, folds, share)
    assert threshold_parts(parts, folds, share) >= needed
    assert threshold_parts(parts - 1, folds, share) < needed


@given(PARTS, st.none() | st.integers(0, 8).filter(lambda folds: folds != 1))
def test_threshold_parts_are_those_of_the_split(parts: int, folds: int | None) -> None:
    split = split_parts(parts, folds=folds, calibration_share=0.4, needed=598, seed=1)
    scored = sum(len(part.scored) for part in split.rounds)
    assert threshold_parts(parts, 0 if split.exact else 5, 0.4) == scored


def test_split_is_a_function_of_the_seed() -> None:
    first, again, other = (split_parts(50, folds=5, calibration_share=0.4, needed=598, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("parts", "folds", "share", "message"),
    [
        (9, None, 0.4, r"9 good parts are too few .* at least 10"),
        (20, 1, 0.4, r"1 folds .* 0 for a hold-out"),
        (20, 19, 0.4, r"19 folds of 18 parts"),
        (20, -1, 0.4, r"-1 folds"),
        (20, 0, 0.01, r"share of 0.01 leaves no parts"),
        (20, 0, 1.0, r"share .* lies between 0 and 1, not at 1"),
        (20, 0, -3.0, r"lies between 0 and 1, not at -3"),
    ],
)
def test_impossible_splits_are_refused(parts: int, folds: int | None, share: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_parts(parts, folds=folds, calibration_share=share, needed=598, seed=0)
