"""Small products to calibrate on: 64 px images of a striped surface, and of one with a dark hole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from calibration.comparison import Comparison, compare
from calibration.gallery import GalleryOptions
from calibration.plan import Plan
from calibration.schedule import Schedule
from calibration.training import Step
from inspector.domain.errors import DataError

SIDE_PX = 64

#: Little work, but enough to tell a hole from a surface.
QUICK = Schedule("quick", "locations", (64, 64, 64), steps=12, rates=(1e-2, 1e-2, 5e-3), closed_form=True)


class Record:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.trainings: list[tuple[str, int, int, Step]] = []
        self.scored: list[tuple[str, int, int]] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def features(self, done: int, total: int) -> None:
        assert 0 < done <= total

    def training(self, name: str, number: int, trainings: int, step: Step) -> None:
        assert 1 <= number <= trainings
        self.trainings.append((name, number, trainings, step))

    def scoring(self, name: str, done: int, total: int) -> None:
        self.scored.append((name, done, total))


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture(scope="session")
def quiet() -> Record:
    """A reporter for fixtures that outlive a test."""
    return Record()


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and a busy machine makes them slow."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(former)


def surface(random: np.random.Generator, side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    columns = np.arange(side_px)[None, :]
    stripes = 120 + 40 * np.sin(columns / 5 + 0.3 * random.normal()) + random.normal(0, 4, (side_px, side_px))
    return stripes.clip(0, 255).astype(np.uint8)


def write_image(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def write_category(root: Path, good: int, test: int = 4, side_px: int = SIDE_PX) -> Path:
    """MVTec AD's layout with a class "hole" that has masks and a class "scratch" that has none."""
    random = np.random.default_rng(3)
    for number in range(good):
        write_image(root / "train" / "good" / f"{number:03d}.png", surface(random, side_px))
    for number in range(test):
        write_image(root / "test" / "good" / f"{number:03d}.png", surface(random, side_px))
        mask = np.zeros((side_px, side_px), np.uint8)
        mask[20:36, 10 + number : 30 + number] = 255
        hole = surface(random, side_px)
        hole[mask > 0] = 5
        write_image(root / "test" / "hole" / f"{number:03d}.png", hole)
        write_image(root / "ground_truth" / "hole" / f"{number:03d}_mask.png", mask)
        scratch = surface(random, side_px)
        scratch[30 + number] = 250
        write_image(root / "test" / "scratch" / f"{number:03d}.png", scratch)
    return root


@pytest.fixture(scope="session")
def save() -> Callable[[Path, NDArray[np.uint8]], Path]:
    """Writes an image, in OpenCV's order of colours, and makes its folder."""
    return write_image


@pytest.fixture(scope="session")
def category(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 good parts to calibrate on, and test images. Not to be changed."""
    return write_category(tmp_path_factory.mktemp("data") / "stripes", good=20)


@pytest.fixture(scope="session")
def plan_for(category: Path) -> Callable[..., Plan]:
    """Plans of calibrations that take about a second, for a folder of the recipe."""

    def plan(recipe: Path, **changes: object) -> Plan:
        settings: dict[str, object] = {
            "data": category,
            "recipe": recipe,
            "name": "stripes",
            "source": "resnet_synth",
            "target": "vovnet_synth",
            "weights": "random:1",
            "size_px": (SIDE_PX, SIDE_PX),
            "latents": (4, 4, 4),
            "schedule": QUICK,
            "folds": 0,
        }
        return Plan(**{**settings, **changes})  # type: ignore[arg-type]

    return plan


@pytest.fixture
def quick_plan(plan_for: Callable[..., Plan], tmp_path: Path) -> Callable[..., Plan]:
    """As `plan_for`; the recipe is the folder "recipe" of the test's own."""

    def plan(**changes: object) -> Plan:
        return plan_for(**{"recipe": tmp_path / "recipe", **changes})

    return plan


@dataclass(frozen=True)
class Compared:
    """A comparison with a category whose names are hostile, one without images, and a detector that always fails."""

    comparison: Comparison
    folders: tuple[Path, ...]
    work: Path
    plan: Callable[[Path, str], Plan]


#: Names that would break a page that does not escape them.
HOSTILE_CATEGORY = "a<b>&\"'"
HOSTILE_FILE = "<img src=x onerror=alert(1)>&amp;\"'.png"


@pytest.fixture(scope="session")
def compared(
    category: Path, plan_for: Callable[..., Plan], quiet: Record, tmp_path_factory: pytest.TempPathFactory
) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    hostile, broken = folder / HOSTILE_CATEGORY, folder / "broken"
    shutil.copytree(category, hostile)
    (hostile / "test" / "scratch" / "000.png").rename(hostile / "test" / "scratch" / HOSTILE_FILE)
    (broken / "train" / "good").mkdir(parents=True)

    def plan(data: Path, detector: str) -> Plan:
        if detector == "pefm":
            raise DataError("no plan for <pefm>")
        mapping = {} if detector == "mb-pfm" else {"target": None, "latents": None, "schedule": None}
        return plan_for(folder / "unused", data=data, detector=detector, threads=1, **mapping)

    folders = (category, hostile, broken)
    made = compare(
        folders,
        ("mb-pfm", "padim", "pefm"),
        plan,
        folder / "work",
        lambda: nullcontext(quiet),
        GalleryOptions(rows=12, side_px=64),
    )
    return Compared(made, folders, folder / "work", plan)
