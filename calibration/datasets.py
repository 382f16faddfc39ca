"""Good images to calibrate on and labelled images to evaluate on, from the layouts that are in use.

=================  ==========================================================================================
plain folder       images of good parts, directly in the folder
MVTec AD           train/good, test/<class>, ground_truth/<class>/<stem>_mask.*
MVTec 3D-AD        train/good/rgb, validation/good/rgb, test/<class>/{rgb,gt}; only the RGB images are used
VisA               Data/Images/{Normal,Anomaly}, Data/Masks/Anomaly; split_csv/1cls.csv beside the category
=================  ==========================================================================================

Images are listed in the order of their names. Files whose name begins with a dot are left out. Grey and
colour images may be mixed: the network sees grey ones as three equal channels.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from calibration.images import GOOD_CLASS, Label, Sample, read_image, read_mask
from inspector.cameras.decoding import IMAGE_SUFFIXES
from inspector.domain.errors import DataError

__all__ = [
    "MINIMUM_GOOD_PARTS",
    "Dataset",
    "Label",
    "Layout",
    "Sample",
    "categories",
    "list_images",
    "open_dataset",
    "read_image",
    "read_mask",
]

#: Fewer good parts than this say nothing about the parts to come.
MINIMUM_GOOD_PARTS = 10

Layout = Literal["plain", "mvtec", "mvtec-3d", "visa"]

#: Without the official list of VisA every tenth normal image is kept for the test, about as many as there.
_VISA_TEST_EVERY = 10


@dataclass(frozen=True)
class Dataset:
    """One category of a data set.

    Attributes:
        name: Name of the category, its folder's.
        root: Folder of the category.
        layout: How it was recognised.
        train: Good parts to calibrate on.
        validation: Further good parts that the published split keeps apart (MVTec 3D-AD), else empty.
        test: Labelled images, good and bad; empty for a plain folder.
    """

    name: str
    root: Path
    layout: Layout
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...] = ()
    test: tuple[Sample, ...] = ()


def open_dataset(path: Path, *, minimum_good: int = MINIMUM_GOOD_PARTS) -> Dataset:
    """Recognise the layout of a folder and list its images; none of them is read.

    Args:
        path: Folder of one category, or of good images.
        minimum_good: Good training images that there must be; with 0 a folder ``test`` alone will do.

    Returns:
        The category with at least `minimum_good` good images in `train`.

    Raises:
        DataError: The folder is missing, of no known layout, holds several categories, no or too few good
            images, or misses a mask of a class that has masks.
    """
    if not os.path.isdir(path):
        what = "is not a folder" if os.path.lexists(path) else "does not exist"
        raise DataError(f"{path} {what}; give a folder of good images or a category of MVTec AD or VisA")
    root = Path(os.path.abspath(path))  # keeps the name of a linked folder, unlike resolve()
    several = categories(path)
    if several:
        raise DataError(
            f"{path} holds {len(several)} categories ({_some(folder.name for folder in several)}); "
            f"give one of them, for example {several[0]}"
        )
    if (root / "train" / GOOD_CLASS / "rgb").is_dir():
        dataset = _open_mvtec_3d(root)
    elif (root / "train" / GOOD_CLASS).is_dir() or (minimum_good == 0 and (root / "test").is_dir()):
        dataset = _open_mvtec(root, minimum_good)
    elif (root / "Data" / "Images" / "Normal").is_dir():
        dataset = _open_visa(root)
    elif any((root / name).is_dir() for name in ("train", "test", "ground_truth")):
        raise DataError(f"{path} looks like an MVTec AD category, but has no train/good with good images")
    elif (root / "Data").is_dir():
        raise DataError(f"{path} looks like a VisA category, but has no folder Data/Images/Normal")
    else:
        dataset = _open_plain(root)
    if len(dataset.train) < minimum_good:
        raise DataError(
            f"{path} has {len(dataset.train)} good images to calibrate on; at least {minimum_good} are "
            "needed, each of another part, and some hundreds for a threshold that promises something"
        )
    return dataset


def categories(path: Path) -> tuple[Path, ...]:
    """The categories directly inside a folder, such as MVTec AD's 15; empty if it is a category itself.

    Args:
        path: Any folder.

    Returns:
        Folders in the order of their names.
    """
    if not path.is_dir() or _is_category(path):
        return ()
    return tuple(folder for folder in _folders(path) if _is_category(folder))


def list_images(folder: Path) -> tuple[Path, ...]:
    """The image files directly in a folder, in the order of their names; empty if it does not exist."""
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(
            entry
            for entry in _entries(folder)
            if entry.suffix.lower() in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        )
    )


def _open_plain(root: Path) -> Dataset:
    images = list_images(root)
    nested = [folder.name for folder in _folders(root) if any(map(list_images, (folder, *_below(folder))))]
    if nested:
        # Taking them all as good could calibrate on defects; leaving them out would lose parts silently.
        raise DataError(
            f"{root} has images in subfolders ({_some(nested)}); give a folder that holds good images "
            "directly, or name the subfolders as MVTec AD does: train/good, test/good, test/<class>"
        )
    if not images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{root} holds no images; these are read: {suffixes}")
    return Dataset(root.name, root, "plain", _good(images))


def _open_mvtec(root: Path, minimum_good: int) -> Dataset:
    stray = list_images(root / "test")
    if stray:
        raise DataError(
            f"{root / 'test'} holds images of no class ({_some(image.name for image in stray)}); "
            "put them into test/good or test/<class of the defect>"
        )
    test: list[Sample] = []
    for folder in _folders(root / "test"):
        images = list_images(folder)
        if folder.name == GOOD_CLASS:
            test += _good(images)
            continue
        truth = list_images(root / "ground_truth" / folder.name)
        masks = {mask.stem.removesuffix("_mask"): mask for mask in truth}
        test += _bad(images, folder.name, masks)
    good = root / "train" / GOOD_CLASS
    train = _need_good(good) if minimum_good else _good(list_images(good))
    return Dataset(root.name, root, "mvtec", train, test=tuple(test))


def _open_mvtec_3d(root: Path) -> Dataset:
    test: list[Sample] = []
    for folder in _folders(root / "test"):
        images = list_images(folder / "rgb")
        if folder.name == GOOD_CLASS:
            test += _good(images)
        else:
            test += _bad(images, folder.name, {mask.stem: mask for mask in list_images(folder / "gt")})
    return Dataset(
        root.name,
        root,
        "mvtec-3d",
        _need_good(root / "train" / GOOD_CLASS / "rgb"),
        validation=_good(list_images(root / "validation" / GOOD_CLASS / "rgb")),
        test=tuple(test),
    )


def _open_visa(root: Path) -> Dataset:
    for split in (root.parent / "split_csv" / "1cls.csv", root / "split_csv" / "1cls.csv"):
        if split.is_file():
            return _open_visa_split(root, split)
    normal = _need_good(root / "Data" / "Images" / "Normal")
    masks = {mask.stem: mask for mask in list_images(root / "Data" / "Masks" / "Anomaly")}
    bad = _bad(list_images(root / "Data" / "Images" / "Anomaly"), "anomaly", masks)
    held = set(normal[::_VISA_TEST_EVERY]) if bad else set()
    train = tuple(sample for sample in normal if sample not in held)
    test = tuple(sample for sample in normal if sample in held) + bad
    return Dataset(root.name, root, "visa", train, test=test)


def _open_visa_split(root: Path, split: Path) -> Dataset:
    """The official one-class split, with paths from the root of the data set."""
    columns = {"object", "split", "label", "image", "mask"}
    train: list[Sample] = []
    test: list[Sample] = []
    with split.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not columns <= set(rows.fieldnames or ()):
            raise DataError(f"{split} is no split of VisA: its columns must be {', '.join(sorted(columns))}")
        for row in rows:
            if row["object"] != root.name:
                continue
            if row["split"] not in ("train", "test") or row["label"] not in ("normal", "anomaly"):
                raise DataError(f"{split}, line {rows.line_num}: a split or label that VisA does not have")
            image = root.parent / row["image"]
            if not image.is_file():
                raise DataError(f"{split}, line {rows.line_num}: the image {image} does not exist")
            if row["label"] == "normal":
                (train if row["split"] == "train" else test).append(Sample(image))
                continue
            if row["split"] == "train":
                raise DataError(f"{split}, line {rows.line_num}: the defective {image} is in the training split")
            mask = root.parent / row["mask"] if row["mask"] else None
            if mask is not None and not mask.is_file():
                raise DataError(f"{split}, line {rows.line_num}: the mask {mask} does not exist")
            test.append(Sample(image, Label.BAD, "anomaly", mask))
    if not train:
        raise DataError(f"{split} lists no good training images of {root.name!r}; is that VisA's name?")
    return Dataset(root.name, root, "visa", tuple(train), test=tuple(test))


def _good(images: Iterable[Path]) -> tuple[Sample, ...]:
    return tuple(Sample(image) for image in images)


def _need_good(folder: Path) -> tuple[Sample, ...]:
    images = list_images(folder)
    if not images:
        raise DataError(f"{folder} holds no images; these are read: {', '.join(sorted(IMAGE_SUFFIXES))}")
    return _good(images)


def _bad(images: Iterable[Path], defect_class: str, masks: dict[str, Path]) -> tuple[Sample, ...]:
    """Defective images, with masks for all of them or for none."""
    samples = tuple(Sample(image, Label.BAD, defect_class, masks.get(image.stem)) for image in images)
    missing = [sample.path.name for sample in samples if sample.mask_path is None]
    if masks and missing:
        raise DataError(
            f"{len(missing)} of {len(samples)} images of the class {defect_class!r} have no mask "
            f"({_some(missing)}), although the class has masks; add them, or remove the class's masks"
        )
    return samples


def _is_category(folder: Path) -> bool:
    return (folder / "train" / GOOD_CLASS).is_dir() or (folder / "Data" / "Images" / "Normal").is_dir()


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("."))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror or error}") from error


def _below(folder: Path) -> Iterable[Path]:
    for child in _folders(folder):
        yield child
        yield from _below(child)


def _some(names: Iterable[str], at_most: int = 5) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - at_most} more" if len(listed) > at_most else ""
    return ", ".join(listed[:at_most]) + more
