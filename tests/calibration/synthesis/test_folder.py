"""A synthesised category: exact ground truth, the same bytes for the same seed, one clear line for bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.datasets import open_dataset
from calibration.images import Label, read_image, read_mask
from calibration.synthesis.defects import Look
from calibration.synthesis.folder import RECORD, SynthesisPlan, synthesise
from inspector.domain.errors import DataError


def good_images(folder: Path, count: int = 10, channels: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for index in range(count):
        shape = (64, 72) if channels == 1 else (64, 72, 3)
        pixels = np.clip(rng.normal(110 + index, 6, shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"part{index}.png"), pixels)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def plan(tmp_path: Path) -> SynthesisPlan:
    return SynthesisPlan(good_images(tmp_path / "good"), tmp_path / "out", count=5)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_changes_outside_of_the_mask_and_everything_inside(tmp_path: Path, channels: int) -> None:
    plan = SynthesisPlan(good_images(tmp_path / "good", channels=channels), tmp_path / "out", count=6)
    synthesise(plan)
    rows = json.loads((plan.output / RECORD).read_text())["defects"]
    bad = [sample for sample in open_dataset(plan.output, minimum_good=1).test if sample.label is Label.BAD]
    assert len(rows) == len(bad) == 6
    for row, sample in zip(rows, bad, strict=True):
        assert sample.mask_path is not None
        before = read_image(plan.data / row["good"]).astype(int)
        after, mask = read_image(sample.path).astype(int), read_mask(sample.mask_path)
        distance = np.abs(before - after) if channels == 1 else np.sqrt(np.square(before - after).sum(axis=2))
        assert not distance[~mask].any()
        assert distance[mask].min() >= plan.look.contrast
        assert mask.sum() == row["area_px"]
        assert (after[mask].reshape(-1, channels) == row["colour"]).all()


def test_same_seed_gives_same_bytes_and_another_seed_others(plan: SynthesisPlan) -> None:
    synthesise(plan)
    again, other = (replace(plan, output=plan.output.with_name(name)) for name in ("again", "other"))
    synthesise(again)
    synthesise(replace(other, seed=2))
    assert contents(again.output) == contents(plan.output)
    assert contents(other.output) != contents(plan.output)


def test_defects_lie_on_parts_that_are_not_trained_on(plan: SynthesisPlan) -> None:
    made = synthesise(plan)
    dataset = open_dataset(plan.output, minimum_good=1)
    trained = {sample.path.name for sample in dataset.train}
    twins = {sample.path.name for sample in dataset.test if sample.label is Label.GOOD}
    rows = json.loads((plan.output / RECORD).read_text())["defects"]
    assert made.train == len(trained) == 6
    assert made.good == len(twins) == 4
    assert {row["good"] for row in rows} <= twins
    assert not trained & twins


def test_the_datas_own_test_images_are_damaged_where_there_are_some(tmp_path: Path) -> None:
    root = tmp_path / "tile"
    good_images(root / "train" / "good", count=5)
    good_images(root / "test" / "good", count=3)
    made = synthesise(SynthesisPlan(root, tmp_path / "out", count=4))
    assert (made.train, made.good, made.defects) == (5, 3, {"colour": 4})


def test_good_images_are_linked_or_copied(plan: SynthesisPlan) -> None:
    synthesise(plan)
    synthesise(replace(plan, output=plan.output.with_name("copied"), copy=True))
    linked = sorted((plan.output / "train" / "good").iterdir())
    copied = sorted((plan.output.with_name("copied") / "train" / "good").iterdir())
    assert all(path.is_symlink() for path in linked)
    assert not any(path.is_symlink() for path in copied)
    assert [path.read_bytes() for path in linked] == [path.read_bytes() for path in copied]


def test_everything_is_resized_first_so_that_the_truth_stays_exact(plan: SynthesisPlan) -> None:
    synthesise(replace(plan, size_px=(32, 48)))
    dataset = open_dataset(plan.output, minimum_good=1)
    shapes = {read_image(sample.path).shape for sample in (*dataset.train, *dataset.test)}
    assert shapes == {(32, 48)}


def test_structural_defects_show_another_part(tmp_path: Path) -> None:
    data = tmp_path / "halves"
    data.mkdir()
    for index in range(6):  # the left half dark, the right one light: pasted from the other half, a region shows
        pixels = np.full((60, 80), 40 + index, np.uint8)
        pixels[:, 40:] = 180 + index
        cv2.imwrite(str(data / f"{index}.png"), pixels)
    plan = SynthesisPlan(data, tmp_path / "out", count=4, kinds=("structural",), look=Look((0.01, 0.03)))
    synthesise(plan)
    rows = json.loads((plan.output / RECORD).read_text())["defects"]
    for row in rows:
        before, after = read_image(data / row["good"]).astype(int), read_image(plan.output / row["image"]).astype(int)
        mask = read_mask(plan.output / row["image"].replace("test", "ground_truth").replace(".png", "_mask.png"))
        assert mask.any()
        assert np.array_equal(before != after, mask)


def test_shapes_come_from_real_masks(tmp_path: Path, plan: SynthesisPlan) -> None:
    masks = tmp_path / "masks" / "hole"
    masks.mkdir(parents=True)
    ring = np.zeros((50, 50), np.uint8)
    cv2.circle(ring, (25, 25), 15, 255, 5)
    cv2.imwrite(str(masks / "0_mask.png"), ring)
    synthesise(replace(plan, masks=tmp_path / "masks", look=Look((0.05, 0.08))))
    for path in (plan.output / "ground_truth" / "colour").iterdir():
        outside = ~read_mask(path)
        count, _ = cv2.connectedComponents(outside.astype(np.uint8), connectivity=4)
        assert count == 3  # the background, and the hole of the ring


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": Path("nowhere")}, "does not exist"),
        ({"masks": Path("nowhere")}, "no such folder of masks"),
        ({"look": Look((0.1, 0.05))}, "ascending"),
        ({"look": Look(contrast=0.0)}, "between 0 and 200"),
        ({"size_px": (8, 8)}, "between 32 and 4096"),
        ({"kinds": ("structural",)}, r"part\d\.png: no structural defect with a contrast of 40"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    plan: SynthesisPlan, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        synthesise(replace(plan, **changes))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert [path.name for path in plan.output.parent.iterdir()] == ["good"]


def test_an_existing_folder_is_never_written_to(plan: SynthesisPlan) -> None:
    plan.output.mkdir()
    with pytest.raises(DataError, match="exists; choose another folder"):
        synthesise(plan)
