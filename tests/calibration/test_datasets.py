"""Every layout is recognised, and what can't be used is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibration.datasets import Label, Sample, categories, open_dataset
from calibration.images import read_image
from inspector.domain.errors import DataError


def write(path: Path, value: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((6, 8), value, dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def write_many(folder: Path, count: int, suffix: str = ".png") -> list[Path]:
    return [write(folder / f"{number:03d}{suffix}", number) for number in range(count)]


def mvtec(root: Path, train: int = 12) -> Path:
    write_many(root / "train" / "good", train)
    write_many(root / "test" / "good", 3)
    write_many(root / "test" / "scratch", 2)
    for number in range(2):
        write(root / "ground_truth" / "scratch" / f"{number:03d}_mask.png", 255)
    return root


def test_plain_folder_is_all_good(tmp_path: Path) -> None:
    paths = write_many(tmp_path / "tiles", 10)
    (tmp_path / "tiles" / "notes.txt").write_text("not an image")
    (tmp_path / "tiles" / "._000.png").write_bytes(b"left by another system")
    (tmp_path / "tiles" / ".cache").mkdir()
    dataset = open_dataset(tmp_path / "tiles")
    assert (dataset.name, dataset.layout, dataset.test) == ("tiles", "plain", ())
    assert [sample.path for sample in dataset.train] == paths
    assert {sample.label for sample in dataset.train} == {Label.GOOD}


def test_suffixes_are_read_whatever_their_case(tmp_path: Path) -> None:
    write_many(tmp_path, 9)
    (tmp_path / "000.png").rename(tmp_path / "000.PNG")
    write(tmp_path / "zz.bmp")
    assert len(open_dataset(tmp_path).train) == 10


def test_mvtec_layout(tmp_path: Path) -> None:
    root = mvtec(tmp_path / "bottle")
    dataset = open_dataset(root)
    assert (dataset.name, dataset.layout, len(dataset.train)) == ("bottle", "mvtec", 12)
    good = [sample for sample in dataset.test if sample.label is Label.GOOD]
    bad = [sample for sample in dataset.test if sample.label is Label.BAD]
    assert [sample.path.parent.name for sample in good] == ["good"] * 3
    assert bad == [
        Sample(
            root / "test" / "scratch" / f"{number:03d}.png",
            Label.BAD,
            "scratch",
            root / "ground_truth" / "scratch" / f"{number:03d}_mask.png",
        )
        for number in range(2)
    ]


def test_mvtec_class_without_any_mask_has_none(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    write_many(root / "test" / "dent", 2)
    dents = [sample for sample in open_dataset(root).test if sample.defect_class == "dent"]
    assert [sample.mask_path for sample in dents] == [None, None]


def test_mvtec_class_with_a_missing_mask_is_refused(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    (root / "ground_truth" / "scratch" / "001_mask.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images .*'scratch'.*001\.png"):
        open_dataset(root)


def test_mvtec_test_image_of_no_class_is_refused(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    write(root / "test" / "lonely.png")
    with pytest.raises(DataError, match=r"lonely\.png.*test/good"):
        open_dataset(root)


def test_mvtec_3d_layout(tmp_path: Path) -> None:
    root = tmp_path / "bagel"
    for folder in ("train/good", "validation/good", "test/good", "test/crack"):
        write_many(root / folder / "rgb", 10)
        (root / folder / "xyz").mkdir()
        (root / folder / "xyz" / "000.tiff").write_bytes(b"a point cloud, never read")
        write_many(root / folder / "gt", 10)
    dataset = open_dataset(root)
    assert dataset.layout == "mvtec-3d"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (10, 10, 20)
    assert dataset.train[0] == Sample(root / "train" / "good" / "rgb" / "000.png")
    crack = next(sample for sample in dataset.test if sample.label is Label.BAD)
    assert crack.path == root / "test" / "crack" / "rgb" / "000.png"
    assert crack.mask_path == root / "test" / "crack" / "gt" / "000.png"


def visa(tmp_path: Path) -> Path:
    root = tmp_path / "candle"
    write_many(root / "Data" / "Images" / "Normal", 30, ".JPG")
    write_many(root / "Data" / "Images" / "Anomaly", 2, ".JPG")
    write_many(root / "Data" / "Masks" / "Anomaly", 2)
    return root


def visa_split(root: Path, extra: str = "") -> Path:
    rows = ["object,split,label,image,mask", "capsules,train,normal,capsules/Data/Images/Normal/000.JPG,"]
    for number in range(30):
        split = "train" if number < 25 else "test"
        rows.append(f"candle,{split},normal,candle/Data/Images/Normal/{number:03d}.JPG,")
    mask = "candle/Data/Masks/Anomaly/000.png"
    rows.append(f"candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,{mask}")
    path = root.parent / "split_csv" / "1cls.csv"
    path.parent.mkdir()
    path.write_text("\n".join(rows) + "\n" + extra)
    return path


def test_visa_layout_with_its_split(tmp_path: Path) -> None:
    root = visa(tmp_path)
    visa_split(root)
    dataset = open_dataset(root)
    assert (dataset.layout, len(dataset.train), len(dataset.test)) == ("visa", 25, 6)
    bad = dataset.test[-1]
    assert bad.label is Label.BAD
    assert bad.mask_path == root / "Data" / "Masks" / "Anomaly" / "000.png"


def test_visa_layout_without_a_split_holds_every_tenth_back(tmp_path: Path) -> None:
    root = visa(tmp_path)
    dataset = open_dataset(root)
    assert (len(dataset.train), len(dataset.test)) == (27, 5)
    good = [sample.path.name for sample in dataset.test if sample.label is Label.GOOD]
    assert good == ["000.JPG", "010.JPG", "020.JPG"]
    assert not set(dataset.train) & set(dataset.test)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("candle,train,anomaly,candle/Data/Images/Anomaly/001.JPG,\n", "line 34.*training split"),
        ("candle,test,normal,candle/Data/Images/Normal/999.JPG,\n", "line 34.*does not exist"),
        ("candle,test,anomaly,candle/Data/Images/Anomaly/001.JPG,no.png\n", "mask .*does not exist"),
        ("candle,other,normal,candle/Data/Images/Normal/001.JPG,\n", "does not have"),
    ],
)
def test_wrong_row_of_a_visa_split_is_named(tmp_path: Path, row: str, message: str) -> None:
    root = visa(tmp_path)
    visa_split(root, row)
    with pytest.raises(DataError, match=message):
        open_dataset(root)


def test_visa_split_of_others_is_refused(tmp_path: Path) -> None:
    root = visa(tmp_path)
    split = visa_split(root)
    split.write_text(split.read_text().replace("candle,", "cashew,"))
    with pytest.raises(DataError, match="'candle'"):
        open_dataset(root)
    split.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="columns"):
        open_dataset(root)


def test_several_categories_are_listed(tmp_path: Path) -> None:
    folders = (mvtec(tmp_path / "bottle"), mvtec(tmp_path / "cable"))
    assert categories(tmp_path) == folders
    assert categories(folders[0]) == ()
    with pytest.raises(DataError, match=r"2 categories \(bottle, cable\)"):
        open_dataset(tmp_path)


def test_missing_folder_and_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_dataset(tmp_path / "nothing")
    with pytest.raises(DataError, match="is not a folder"):
        open_dataset(write(tmp_path / "one.png"))
    assert categories(tmp_path / "nothing") == ()


def test_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no images.*\.png"):
        open_dataset(tmp_path)


def test_category_without_train_good(tmp_path: Path) -> None:
    write_many(tmp_path / "test" / "good", 12)
    with pytest.raises(DataError, match="no train/good"):
        open_dataset(tmp_path)


def test_category_with_an_empty_train_good(tmp_path: Path) -> None:
    root = mvtec(tmp_path)
    for path in (root / "train" / "good").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"good holds no images"):
        open_dataset(root)


def test_visa_without_normal_images(tmp_path: Path) -> None:
    write_many(tmp_path / "Data" / "Images" / "Anomaly", 12)
    with pytest.raises(DataError, match="no folder Data/Images/Normal"):
        open_dataset(tmp_path)


def test_images_in_subfolders_are_not_guessed_to_be_good(tmp_path: Path) -> None:
    write_many(tmp_path, 12)
    write_many(tmp_path / "monday" / "early", 3)
    with pytest.raises(DataError, match=r"subfolders \(monday\)"):
        open_dataset(tmp_path)


def test_too_few_good_parts(tmp_path: Path) -> None:
    root = mvtec(tmp_path, train=9)
    with pytest.raises(DataError, match=r"has 9 good images.*at least 10"):
        open_dataset(root)
    assert len(open_dataset(root, minimum_good=9).train) == 9


def test_name_of_a_linked_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "candle").symlink_to(mvtec(tmp_path / "stored"), target_is_directory=True)
    assert open_dataset(tmp_path / "candle").name == "candle"


def test_magnetic_tile(shared: Callable[[str], Path]) -> None:
    dataset = open_dataset(shared("data/magnetic_tile"))
    assert (dataset.layout, len(dataset.train), len(dataset.test)) == ("mvtec", 320, 348)
    bad = [sample for sample in dataset.test if sample.label is Label.BAD]
    assert len(bad) == 198
    assert {sample.defect_class for sample in bad} == {"blowhole", "break", "crack", "fray", "uneven"}
    assert all(sample.mask_path is not None for sample in bad)
    assert read_image(dataset.train[0].path).ndim == 2
