"""The papers' figures, checked against what they print themselves: their means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from calibration.datasets import Dataset
from calibration.images import Label, Sample
from calibration.published import (
    METRICS,
    MVTEC_COUNTS,
    PUBLISHED,
    Published,
    Setting,
    is_mvtec,
    is_whole_mvtec,
    published,
)

MAIN = Setting("mb-pfm", "resnet34", "resnet50", (1, 2, 3), "none", 256)
COLUMNS = [(name, column) for name, columns in PUBLISHED.items() for column in columns]


@pytest.mark.parametrize(("detector", "column"), COLUMNS)
def test_columns_average_to_the_printed_mean(detector: str, column: Published) -> None:
    for metric in METRICS:
        values = [column.of(category, metric) for category in MVTEC_COUNTS]
        known = [value for value in values if value is not None]
        assert len(known) in (0, 14, 15)
        mean = column.mean_of(metric)
        if len(known) == 15 and mean is not None:
            # Printed categories and means are rounded, and cable's AU-PRO is not the logged one.
            assert sum(known) / 15 == pytest.approx(mean, abs=0.06)


def test_counts_add_up_to_the_data_set() -> None:
    assert tuple(map(sum, zip(*MVTEC_COUNTS.values(), strict=True))) == (3629, 467, 1258)


def test_the_column_of_the_same_setting_is_taken() -> None:
    main = published(MAIN)
    assert main is not None
    assert main.of("transistor", "aupro") == 74.9
    assert main.of("capsule", "image_auroc") is None
    small = published(replace(MAIN, source="resnet18", target="resnet34", levels=(2, 3)))
    assert small is not None
    assert small.source.endswith("case 5")
    pefm = published(Setting("pefm", "resnet34", "resnet50", (1, 2, 3), "concat", 256))
    assert pefm is not None
    assert pefm.of("transistor", "pixel_auroc") == 96.85
    assert published(Setting("padim", "resnet18", None, (1,), "none", 128)) is PUBLISHED["padim"][0]


def test_another_setting_is_held_against_the_main_column_and_an_unknown_detector_against_none() -> None:
    assert published(replace(MAIN, source="squeezenet1_1", side_px=128)) is PUBLISHED["mb-pfm"][0]
    assert published(replace(MAIN, detector="other")) is None


def test_unknown_metric_is_an_error_and_unknown_category_is_none() -> None:
    with pytest.raises(ValueError, match="unknown metric 'f1'"):
        PUBLISHED["mb-pfm"][0].of("tile", "f1")
    assert PUBLISHED["mb-pfm"][0].of("my_tile", "aupro") is None


def test_a_folder_is_mvtec_s_only_with_its_numbers_of_images() -> None:
    train, good, bad = MVTEC_COUNTS["toothbrush"]
    test = tuple(Sample(Path(f"{number}.png")) for number in range(good))
    test += tuple(Sample(Path(f"bad-{number}.png"), Label.BAD, "defective") for number in range(bad))
    whole = Dataset("toothbrush", Path("toothbrush"), "mvtec", test[:1] * train, test=test)
    assert is_mvtec(whole)
    assert not is_mvtec(replace(whole, train=whole.train[:-1]))
    assert not is_mvtec(replace(whole, name="brush"))
    assert is_whole_mvtec(MVTEC_COUNTS)
    assert not is_whole_mvtec(["toothbrush"])
