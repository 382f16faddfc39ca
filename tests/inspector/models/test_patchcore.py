"""PatchCore's search, aggregation and weight against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inspector.models.backbones import build_backbone
from inspector.models.feature_maps import FeatureMaps
from inspector.models.patchcore import PatchCore, squared_distances

SIZE_PX = (64, 96)


def network(neighbours: int = 4, rows: int = 30) -> PatchCore:
    built = PatchCore(FeatureMaps(build_backbone("resnet_synth"), (2, 3), SIZE_PX), rows, neighbours).eval()
    with torch.no_grad():
        patches = built.embed(images()).flatten(2).transpose(1, 2).flatten(0, 1)
        chosen = torch.randperm(len(patches), generator=torch.Generator().manual_seed(7))[:rows]
        built.bank = patches[chosen] + 0.05 * torch.randn(
            rows, patches.shape[1], generator=torch.Generator().manual_seed(8)
        )
    return built


def images() -> Tensor:
    return torch.randn(3, 3, *SIZE_PX, generator=torch.Generator().manual_seed(6))


def brute_force(patches: np.ndarray, bank: np.ndarray, neighbours: int) -> tuple[np.ndarray, float]:
    """Distances of all patches of an image, and its score (PatchCore paper, eqs 6 and 7), in float64."""
    distances = np.sqrt(((patches[:, None] - bank[None]) ** 2).sum(axis=2))
    nearest = distances.min(axis=1)
    star = int(nearest.argmax())
    if neighbours == 0:
        return nearest, float(nearest[star])
    entry = bank[distances[star].argmin()]
    around = np.argsort(((bank - entry) ** 2).sum(axis=1))[:neighbours]
    weight = 1 - np.exp(nearest[star]) / np.exp(distances[star][around]).sum()
    return nearest, float(weight * nearest[star])


@pytest.mark.parametrize("neighbours", [0, 1, 4, 100])
def test_scores_are_those_of_a_plain_search(neighbours: int) -> None:
    built = network(neighbours)
    with torch.inference_mode():
        patches = built.embed(images()).flatten(2).transpose(1, 2)
        distances, _ = built.search(patches)
        scores, maps = built(images())
    assert maps.shape == (3, 1, *SIZE_PX)
    assert float(scores.min()) >= 0
    for number, rows in enumerate(patches.double().numpy()):
        expected, score = brute_force(rows, built.bank.double().numpy(), neighbours)
        np.testing.assert_allclose(distances[number].numpy(), expected, rtol=1e-5)
        assert float(scores[number]) == pytest.approx(score, rel=1e-4, abs=1e-5)


def test_search_in_parts_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    built = network()
    with torch.inference_mode():
        whole = built(images())
        monkeypatch.setattr("inspector.models.patchcore._CHUNK", 7)
        parts = built(images())
    torch.testing.assert_close(parts.scores, whole.scores)
    torch.testing.assert_close(parts.anomaly_maps, whole.anomaly_maps)


def test_patch_of_the_bank_has_distance_zero_exactly() -> None:
    # By the matrix product of features far from zero it had one of several hundredths, and often another neighbour.
    built = network()
    with torch.inference_mode():
        built.bank = 100.0 + torch.randn(built.bank.shape, generator=torch.Generator().manual_seed(9))
        distances, nearest = built.search(built.bank[None])
    assert float(distances.max()) == 0.0
    assert nearest[0].tolist() == list(range(len(built.bank)))


def test_weight_does_not_overflow() -> None:
    built = network()
    with torch.inference_mode():
        built.bank = built.bank + 200.0
        scores = built(images()).scores
    assert float(scores.min()) > 500.0
    assert scores.isfinite().all()


def test_patch_is_the_mean_of_its_neighbourhood_in_every_level() -> None:
    built = network()
    first, second = (found[0].double().numpy() for found in built.features.maps(images()))
    embedded = built.embed(images())[0].numpy()
    assert embedded.shape == (64 + 128, 8, 12)
    np.testing.assert_allclose(embedded[:64, 3, 5], first[:, 2:5, 4:7].mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    corner = first[:, :2, :2].sum(axis=(1, 2)) / 9  # zeros beyond the border, as published
    np.testing.assert_allclose(embedded[:64, 0, 0], corner, rtol=1e-4, atol=1e-6)
    # Level 3 has half the size: row 2 and column 3 lie at 0.75 and 1.25 of it.
    padded = np.pad(second, ((0, 0), (1, 1), (1, 1)))
    mean = {(r, c): padded[:, r : r + 3, c : c + 3].mean(axis=(1, 2)) for r in (0, 1) for c in (1, 2)}
    above, below = (0.75 * mean[r, 1] + 0.25 * mean[r, 2] for r in (0, 1))
    np.testing.assert_allclose(embedded[64:, 2, 3], 0.25 * above + 0.75 * below, rtol=1e-4, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_squared_distances_are_those_of_a_difference(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, bank = (scale * torch.randn(n, 6, generator=generator) for n in (5, 9))
    found = squared_distances(rows, bank)
    expected = (rows[:, None].double() - bank[None].double()).square().sum(dim=2)
    assert float(found.min()) >= 0
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4 * scale**2)
