"""Features are computed once and are the same wherever they are kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from calibration.datasets import open_dataset
from calibration.features import FeatureCache, compute_features, load_batch
from inspector.domain.errors import DataError
from inspector.models.backbones import build_backbone
from inspector.models.feature_maps import FeatureMaps
from inspector.models.network import FeaturePair
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation

CPU = torch.device("cpu")
PREPROCESS = Preprocess(Geometry(width_px=64, height_px=64), Normalisation())

Compute = Callable[..., FeatureCache]


@pytest.fixture(scope="module")
def pair() -> FeaturePair:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return FeaturePair(build_backbone("squeezenet1_1"), build_backbone("resnet18"), (1, 3))


@pytest.fixture(scope="module")
def paths(category: Path) -> list[Path]:
    return [sample.path for sample in open_dataset(category).train][:5]


@pytest.fixture
def compute(pair: FeaturePair, paths: list[Path]) -> Compute:
    def run(**options: object) -> FeatureCache:
        settings: dict[str, object] = {"device": CPU, "memory_bytes": 1 << 30, "batch": 2}
        return compute_features(paths, pair, PREPROCESS, **{**settings, **options})  # type: ignore[arg-type]

    return run


def test_spilled_features_equal_those_in_memory(compute: Compute, tmp_path: Path) -> None:
    images, places = np.array([4, 0, 2, 2]), np.array([3, 0, 1, 8])
    with compute() as memory, compute(memory_bytes=0, scratch=tmp_path) as disk:
        assert (memory.spilled, disk.spilled) == (False, True)
        assert len(memory.levels) == len(disk.levels) == 2
        for one, other in zip(memory.levels, disk.levels, strict=True):
            for kept, spilled in (
                (one.rows(images, places, CPU), other.rows(images, places, CPU)),
                (one.whole(images, CPU), other.whole(images, CPU)),
            ):
                assert all(torch.equal(a, b) for a, b in zip(kept, spilled, strict=True))


def test_spilled_features_have_no_name_that_could_be_left(compute: Compute, tmp_path: Path) -> None:
    with compute(memory_bytes=0, scratch=tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_rows_are_the_backbones_features(compute: Compute, pair: FeaturePair, paths: list[Path]) -> None:
    with torch.inference_mode():
        expected = pair(load_batch(paths, PREPROCESS, CPU))
    with compute() as cache:
        for level, (source, target) in zip(cache.levels, expected, strict=True):
            height, width = level.size_px
            rows = level.rows(np.array([3]), np.array([1 * width + 2]), CPU)
            assert rows.source.shape == (1, source.shape[1], 1, 1)
            torch.testing.assert_close(rows.source[0, :, 0, 0], source[3, :, 1, 2], rtol=1e-3, atol=1e-6)
            torch.testing.assert_close(rows.target[0, :, 0, 0], target[3, :, 1, 2], rtol=1e-3, atol=1e-6)
            whole = level.whole(np.array([3, 1]), CPU)
            both = torch.cat([source[[3]].flatten(2), source[[1]].flatten(2)], dim=2)[..., None]
            torch.testing.assert_close(whole.source, both, rtol=1e-3, atol=1e-6)
            assert whole.locations.tolist() == 2 * list(range(height * width))


def test_progress_counts_images(compute: Compute) -> None:
    seen: list[int] = []
    compute(progress=seen.append).close()
    assert seen == [2, 4, 5]


def test_full_scratch_disk_is_told_before_it_kills(
    compute: Compute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Writing to a mapped file on a full disk is a SIGBUS, so the space is reserved first.
    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"5 network inputs take .*\(No space left on device\); .*--scratch"):
        compute(memory_bytes=0, scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_scratch_folder_is_named(compute: Compute, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent can't hold them \(No such file or directory\)"):
        compute(memory_bytes=0, scratch=tmp_path / "absent")


def test_features_of_one_backbone(paths: list[Path], tmp_path: Path) -> None:
    features = FeatureMaps(build_backbone("squeezenet1_1"), (1, 3), (64, 64))
    with torch.inference_mode():
        expected = features(load_batch(paths, PREPROCESS, CPU))
    for memory_bytes in (1 << 30, 0):
        cache = compute_features(
            paths, features, PREPROCESS, device=CPU, memory_bytes=memory_bytes, batch=2, scratch=tmp_path
        )
        with cache:
            assert cache.spilled is (memory_bytes == 0)
            for level, (whole,) in zip(cache.levels, expected, strict=True):
                width = level.size_px[1]
                torch.testing.assert_close(level.maps(np.array([3, 1]), CPU), whole[[3, 1]], rtol=1e-3, atol=1e-4)
                vectors = level.vectors(np.array([4, 0]), np.array([2 * width + 1, 0]), CPU)
                torch.testing.assert_close(
                    vectors, torch.stack([whole[4, :, 2, 1], whole[0, :, 0, 0]]), rtol=1e-3, atol=1e-4
                )


def test_no_images(pair: FeaturePair) -> None:
    with pytest.raises(DataError, match="no images"):
        compute_features([], pair, PREPROCESS, device=CPU, memory_bytes=0)
