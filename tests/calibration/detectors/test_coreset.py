"""The greedy coreset against its definition, and the projection that makes it quick."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from calibration.detectors.coreset import GreedyCoreset, sparse_projection


def greedy(points: torch.Tensor, first: int, count: int) -> list[int]:
    coreset = GreedyCoreset(points, first)
    for _ in range(count - 1):
        coreset.step()
    return coreset.chosen


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 5))
def test_each_point_is_the_farthest_from_those_before(seed: int, count: int, width: int) -> None:
    points = np.random.default_rng(seed).normal(size=(40, width))
    chosen = greedy(torch.from_numpy(points), seed % 40, count)
    assert chosen[0] == seed % 40
    assert len(set(chosen)) == count
    for number in range(1, count):
        nearest = cdist(points, points[chosen[:number]]).min(axis=1)
        assert nearest[chosen[number]] == pytest.approx(nearest.max(), abs=1e-6)


def test_copies_are_taken_once_each_and_at_the_end() -> None:
    points = torch.tensor([[0.0], [0.0], [3.0], [3.0], [1.0]])
    chosen = greedy(points, 0, 5)
    assert chosen[:3] == [0, chosen[1], 4]
    assert chosen[1] in (2, 3)
    assert sorted(chosen) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stop", [1, 7, 19])
def test_stopped_choice_goes_on_as_it_would_have(stop: int) -> None:
    points = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    stopped = GreedyCoreset(points, 3)
    for _ in range(stop - 1):
        stopped.step()
    resumed = GreedyCoreset(points, 150)
    resumed.resume(stopped.state())
    for _ in range(20 - stop):
        resumed.step()
    assert resumed.chosen == greedy(points, 3, 20)


def test_projection_about_keeps_distances() -> None:
    points = torch.randn(60, 700, generator=torch.Generator().manual_seed(2))
    projection = sparse_projection(700, seed=1)
    assert projection.shape == (700, 128)
    assert float((projection != 0).float().mean()) < 0.1
    ratio = torch.pdist(points @ projection) / torch.pdist(points)
    assert 0.65 < float(ratio.min()) < float(ratio.max()) < 1.35
    assert torch.equal(projection, sparse_projection(700, seed=1))
    assert not torch.equal(projection, sparse_projection(700, seed=2))


def test_short_vectors_are_not_projected() -> None:
    assert torch.equal(sparse_projection(96, seed=1), torch.eye(96))
