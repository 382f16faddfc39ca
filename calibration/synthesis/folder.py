"""Writes synthetic defects as a category in MVTec AD's layout, the same bytes for the same seed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from calibration.datasets import list_images, open_dataset
from calibration.images import GOOD_CLASS, read_image, read_mask
from calibration.synthesis.defects import Kind, Look, make_defect
from inspector.domain.errors import DataError
from inspector.domain.frame import Mask, Pixels

#: Good images that structural defects are cut from.
_DONORS = 24
#: Largest share of a plain folder of good images that is held out for the test.
_HELD_OUT = 0.4
#: Fewer good images than this can't be split into training and test.
_MINIMUM = 4
#: List of what was drawn, beside the folders.
RECORD = "defects.json"


@dataclass(frozen=True)
class SynthesisPlan:
    """What to make.

    Attributes:
        data: Folder of good images, or a category in a known layout.
        output: Folder to write; must not exist.
        count: Defective images of each kind.
        seed: The same seed on the same images gives the same bytes.
        kinds: Kinds of defects, a folder each.
        look: Areas and contrast.
        masks: Folder of real masks to take shapes from, such as MVTec AD's ground_truth; None draws shapes.
        size_px: Height and width to resize everything to first, so that the truth is exact at a network's input;
            None keeps the images as they are.
        copy: Copy training images instead of linking to them.
    """

    data: Path
    output: Path
    count: int = 50
    seed: int = 1
    kinds: tuple[Kind, ...] = ("colour",)
    look: Look = field(default_factory=Look)
    masks: Path | None = None
    size_px: tuple[int, int] | None = None
    copy: bool = False


@dataclass(frozen=True)
class Made:
    """What was written.

    Attributes:
        train: Good training images.
        good: Good test images.
        defects: Defective images of each kind.
    """

    train: int
    good: int
    defects: dict[str, int]


def synthesise(plan: SynthesisPlan, progress: Callable[[int, int], None] = lambda done, total: None) -> Made:
    """Writes train/good, test/good, test/<kind>, ground_truth/<kind> and defects.json.

    Defects are drawn on good images that are not in train/good: those of the data's own test split, else up to
    40 % of the images, drawn with the seed. Their undamaged twins are test/good.

    Args:
        plan: What to make.
        progress: Told how many of how many defective images are done.

    Raises:
        DataError: The data can't be used, the output exists or can't be written, or no visible defect can be made.
    """
    _check(plan)
    train, held = _split(plan)
    shapes = _mask_sources(plan.masks) if plan.masks else []
    if os.path.lexists(plan.output):
        raise DataError(f"{plan.output} exists; choose another folder")
    try:
        plan.output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{plan.output.name}.", dir=plan.output.parent))
    except OSError as error:
        raise DataError(f"{plan.output} can't be written: {error.strerror}") from error
    try:
        for folder, images in (("train", train), ("test", held)):
            _put_good(scratch / folder / GOOD_CLASS, images, plan)
        rows = _put_defects(scratch, train, held, shapes, plan, progress)
        (scratch / RECORD).write_text(json.dumps({"seed": plan.seed, "defects": rows}, indent=2) + "\n", "utf-8")
        scratch.chmod(0o755)
        scratch.rename(plan.output)
    except OSError as error:
        raise DataError(f"{plan.output} can't be written: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Made(len(train), len(held), dict.fromkeys(plan.kinds, plan.count))


def _check(plan: SynthesisPlan) -> None:
    smallest, largest = plan.look.area
    if not 0.0 < smallest <= largest <= 0.5:
        raise DataError(f"areas are shares of the image, ascending, at most 0.5, not {smallest:g} and {largest:g}")
    if not 0.0 < plan.look.contrast <= 200.0:
        raise DataError(f"the contrast lies between 0 and 200 grey levels, not at {plan.look.contrast:g}")
    if plan.size_px is not None and not all(32 <= side <= 4096 for side in plan.size_px):
        raise DataError(f"the size lies between 32 and 4096 px a side, not at {plan.size_px[1]} x {plan.size_px[0]} px")


def _split(plan: SynthesisPlan) -> tuple[list[Path], list[Path]]:
    dataset = open_dataset(plan.data, minimum_good=_MINIMUM)
    train = [sample.path for sample in dataset.train]
    held = [sample.path for sample in (*dataset.validation, *dataset.test) if sample.defect_class == GOOD_CLASS]
    if not held:
        wanted = min(plan.count * len(plan.kinds), max(1, int(_HELD_OUT * len(train))))
        chosen = set(np.random.default_rng(plan.seed).choice(len(train), wanted, replace=False).tolist())
        held = [path for index, path in enumerate(train) if index in chosen]
        train = [path for index, path in enumerate(train) if index not in chosen]
    return train, held


def _mask_sources(folder: Path) -> list[Mask]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of masks")
    folders = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    masks = [read_mask(path) for below in folders for path in list_images(below)]
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        raise DataError(f"{folder} holds no masks that mark anything")
    return masks


def _put_good(folder: Path, images: Sequence[Path], plan: SynthesisPlan) -> None:
    folder.mkdir(parents=True)
    for path, name in zip(images, _names(images), strict=True):
        if plan.size_px is not None:
            _write_png(folder / f"{name}.png", _load(path, plan))
        elif plan.copy:
            shutil.copyfile(path, folder / f"{name}{path.suffix}")
        else:
            (folder / f"{name}{path.suffix}").symlink_to(path.resolve())


def _names(images: Sequence[Path]) -> list[str]:
    """Stems of the files, numbered where two of them are equal."""
    stems = [path.stem for path in images]
    return stems if len(set(stems)) == len(stems) else [f"{index:04d}-{stem}" for index, stem in enumerate(stems)]


def _put_defects(
    root: Path,
    train: Sequence[Path],
    held: Sequence[Path],
    shapes: Sequence[Mask],
    plan: SynthesisPlan,
    progress: Callable[[int, int], None],
) -> list[dict[str, object]]:
    donors: list[Pixels] = []
    if "structural" in plan.kinds:
        chosen = np.random.default_rng([plan.seed, 1]).permutation(len(train))[:_DONORS]
        donors = [_load(train[index], plan) for index in chosen]
    order = np.random.default_rng([plan.seed, 2]).permutation(len(held))
    rows: list[dict[str, object]] = []
    total = plan.count * len(plan.kinds)
    for number in range(total):
        kind, index = plan.kinds[number // plan.count], number % plan.count
        path = held[order[number % len(held)]]
        good = _load(path, plan)
        fitting = [donor for donor in donors if donor.ndim == good.ndim]
        rng = np.random.default_rng([plan.seed, 3, number])
        try:
            defect = make_defect(rng, kind, good, donors=fitting, look=plan.look, sources=shapes)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        image, truth = (root / part / kind for part in ("test", "ground_truth"))
        image.mkdir(parents=True, exist_ok=True)
        truth.mkdir(parents=True, exist_ok=True)
        _write_png(image / f"{index:03d}.png", defect.pixels)
        _write_png(truth / f"{index:03d}_mask.png", defect.mask.astype(np.uint8) * 255)
        rows.append(
            {
                "image": f"test/{kind}/{index:03d}.png",
                "good": str(path.name),
                "kind": kind,
                "area_px": int(defect.mask.sum()),
                "colour": defect.colour,
            }
        )
        progress(number + 1, total)
    return rows


def _load(path: Path, plan: SynthesisPlan) -> Pixels:
    pixels = read_image(path)
    if plan.size_px is None:
        return pixels
    height, width = plan.size_px
    shrinks = pixels.shape[0] * pixels.shape[1] > height * width
    resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _write_png(path: Path, pixels: Pixels) -> None:
    bgr = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    ok, data = cv2.imencode(".png", bgr)
    if not ok:
        raise DataError(f"{path} can't be encoded as PNG")
    path.write_bytes(data.tobytes())
