"""Textures have the strength they are said to have, at every scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.cameras.conveyor.textures import TURN_COLUMNS, belt, cut, grain, noise, turning


@given(
    rows=st.integers(1, 50), columns=st.integers(1, 50), spare=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_pieces_lie_inside(rows: int, columns: int, spare: tuple[int, int], seed: int) -> None:
    size = (rows + spare[0], columns + spare[1])
    down, right = cut(size, rows, columns, np.random.default_rng(seed))
    assert np.zeros(size)[down, right].shape == (rows, columns)


@settings(max_examples=20)
@given(rows=st.integers(40, 200), columns=st.integers(40, 200), scale=st.floats(70, 3000), seed=st.integers(0, 99))
def test_noise_has_mean_0_and_deviation_1(rows: int, columns: int, scale: float, seed: int) -> None:
    field = noise(
        (rows, columns), (scale, scale), lambda y, x: np.ones(np.hypot(y, x).shape), np.random.default_rng(seed)
    )
    assert field.shape == (rows, columns)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.5
    assert 0.5 < field.std() < 1.5


@pytest.mark.parametrize("scale", [80.0, 440.0, 1500.0])
def test_textures_keep_their_strength(scale: float) -> None:
    generator = np.random.default_rng(1)
    skin = grain((300, 320), scale, generator)
    assert skin.shape == (3, 300, 320)
    assert 0.02 < skin[0].std() < 0.12
    assert 0.02 < skin[1].std() < 0.12
    marks = turning(300, scale, generator)
    assert marks.shape == (300, TURN_COLUMNS)
    assert np.array_equal(marks[:, 0], marks[:, -1])
    assert 0.02 < marks.std() < 0.3
    surface = belt((300, 320), scale, generator)
    assert surface.shape == (300, 320)
    assert 0.2 < surface.mean() < 0.35
    assert surface.min() > 0


def test_turning_marks_close_without_a_seam() -> None:
    marks = turning(300, 440.0, np.random.default_rng(1))
    steps = np.abs(np.diff(marks, axis=1)).mean(axis=0)
    assert steps[-1] < 2 * np.median(steps)
    assert steps[0] < 2 * np.median(steps)
