"""The tables "paper | ours"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from calibration.comparison import Comparison, Failure
from calibration.published import MVTEC_COUNTS, Setting
from calibration.report.rows import Cell, metric_tables, percent, published_columns

MAIN = Setting("mb-pfm", "resnet34", "resnet50", (1, 2, 3), "none", 256)


def with_figures(compared: Any, names: list[str], **columns: list[float]) -> Comparison:
    """Categories of MVTec AD with the given pixel AUROC of each detector."""
    category = compared.comparison.categories[0]
    made = []
    for number, name in enumerate(names):
        cells = {}
        for detector, values in columns.items():
            result = category.result("padim")
            figures = replace(result.figures, pixel_auroc=values[number])
            setting = replace(MAIN, detector=detector.replace("_", "-"))
            cells[setting.detector] = replace(result, figures=figures, setting=setting)
        made.append(replace(category, name=name, mvtec=True, cells=cells))
    return Comparison(tuple(made[0].cells), tuple(made))


def pixel_rows(comparison: Comparison) -> dict[str, tuple[Cell, ...]]:
    return dict(metric_tables(comparison)[1].rows)


def test_printed_figures_stand_beside_ours(compared: Any) -> None:
    comparison = with_figures(compared, ["tile", "wood"], mb_pfm=[0.961234, 0.9], other=[0.5, 0.91])
    rows = pixel_rows(comparison)
    assert rows["tile"] == (Cell("96.2", "96.12", best=True), Cell("", "50.00"))
    assert rows["wood"] == (Cell("95.6", "90.00"), Cell("", "91.00", best=True))
    # The printed mean is over 15 categories, not these two.
    assert rows["mean"][0] == Cell("", "93.06", best=True)
    assert metric_tables(comparison)[1].detectors == (("mb-pfm", True), ("other", False))


def test_printed_mean_stands_beside_that_of_the_whole_data_set(compared: Any) -> None:
    comparison = with_figures(compared, list(MVTEC_COUNTS), mb_pfm=[0.97] * 15)
    assert pixel_rows(comparison)["mean"] == (Cell("97.3", "97.00"),)


def test_other_data_are_not_held_against_the_papers(compared: Any) -> None:
    comparison = with_figures(compared, ["tile"], mb_pfm=[0.9])
    own = Comparison(comparison.detectors, tuple(replace(c, mvtec=False) for c in comparison.categories))
    assert published_columns(own) == {"mb-pfm": None}
    assert pixel_rows(own) == {"tile": (Cell("", "90.00"),)}


def test_equal_to_the_last_digit_is_equally_good_and_nan_is_a_dash(compared: Any) -> None:
    comparison = with_figures(compared, ["tile"], a=[0.900001], b=[0.900002], c=[float("nan")])
    assert [cell.best for cell in pixel_rows(comparison)["tile"]] == [True, True, False]
    assert pixel_rows(comparison)["tile"][2].ours == "–"


def test_mean_over_fewer_categories_says_so_and_is_never_the_best(compared: Any) -> None:
    comparison = with_figures(compared, ["tile", "wood"], a=[0.9, 0.9], b=[0.8, 0.8], c=[0.99, 0.99])
    second = comparison.categories[1]
    failing = replace(second, cells={**second.cells, "c": Failure("broken", 65)})
    rows = pixel_rows(Comparison(comparison.detectors, (comparison.categories[0], failing)))
    assert rows["wood"][2] == Cell("", "failed", failed=True)
    assert rows["mean"] == (Cell("", "90.00", best=True), Cell("", "80.00"), Cell("", "99.00", note="1 of 2"))


@pytest.mark.parametrize(("value", "text"), [(1.0, "100.00"), (0.0, "0.00"), (float("nan"), "–")])
def test_percent(value: float, text: str) -> None:
    assert percent(value) == text
