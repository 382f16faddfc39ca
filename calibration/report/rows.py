"""The tables "paper | ours", for the terminal and the page alike."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from calibration.comparison import Comparison, Failure
from calibration.published import METRICS, Published, Setting, is_whole_mvtec, published

#: What the metrics are called.
TITLES = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "aupro": "AUPRO (FPR up to 0.3)"}
#: What stands where a figure can't be formed.
NONE = "–"


@dataclass(frozen=True)
class Cell:
    """One detector in one row.

    Attributes:
        paper: As printed, in percent; empty if it is not printed.
        ours: In percent with two digits; "failed" or a dash without a figure.
        best: None of the detectors is better in this row.
        failed: There is no figure because of an error.
        note: How many of the categories a mean is over, where not over all.
    """

    paper: str
    ours: str
    best: bool = False
    failed: bool = False
    note: str = ""


@dataclass(frozen=True)
class MetricTable:
    """One metric of all detectors on all categories.

    Attributes:
        metric: Its name in `calibration.published.METRICS`.
        title: Its name for people.
        detectors: The columns, and whether each has anything printed.
        rows: Name of the category (the last is the mean, if there are several) and the cells.
    """

    metric: str
    title: str
    detectors: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def metric_tables(comparison: Comparison) -> list[MetricTable]:
    """A table for each metric."""
    columns = published_columns(comparison)
    return [_table(comparison, metric, columns) for metric in METRICS]


def published_columns(comparison: Comparison) -> dict[str, Published | None]:
    """What each detector is held against; None where no category is one of MVTec AD's, or nothing is printed."""
    columns: dict[str, Published | None] = {}
    for detector in comparison.detectors:
        results = comparison.results(detector)
        setting = results[0].setting if results else Setting(detector, "", None, (), "", 0)
        columns[detector] = published(setting) if any(category.mvtec for category in comparison.categories) else None
    return columns


def percent(value: float) -> str:
    """A share as a percentage with two digits.

    >>> percent(0.97456), percent(float("nan"))
    ('97.46', '–')
    """
    return NONE if math.isnan(value) else f"{100 * value:.2f}"


def _table(comparison: Comparison, metric: str, columns: dict[str, Published | None]) -> MetricTable:
    rows = []
    for category in comparison.categories:
        cells, values = [], []
        for detector in comparison.detectors:
            cell = category.cells[detector]
            column = columns[detector] if category.mvtec else None
            printed = column.written(category.name, metric) if column else ""
            failed = isinstance(cell, Failure)
            value = math.nan if isinstance(cell, Failure) else getattr(cell.figures, metric)
            values.append(value)
            cells.append(Cell(printed, "failed" if failed else percent(value), failed=failed))
        rows.append((category.name, _with_best(cells, values)))
    if len(comparison.categories) > 1:
        rows.append(_mean_row(comparison, metric, columns))
    detectors = tuple(
        (detector, any(cells[number].paper for _, cells in rows))
        for number, detector in enumerate(comparison.detectors)
    )
    return MetricTable(metric, TITLES[metric], detectors, tuple(rows))


def _mean_row(
    comparison: Comparison, metric: str, columns: dict[str, Published | None]
) -> tuple[str, tuple[Cell, ...]]:
    categories = comparison.categories
    whole = all(category.mvtec for category in categories) and is_whole_mvtec(c.name for c in categories)
    cells, values = [], []
    for detector in comparison.detectors:
        value, count = comparison.mean(detector, metric)
        column = columns[detector]
        # A mean over fewer categories is not to be compared with the others.
        part = f"{count} of {len(categories)}" if 0 < count < len(categories) else ""
        values.append(math.nan if part else value)
        printed = column.written_mean(metric) if column and whole else ""
        cells.append(Cell(printed, percent(value), note=part))
    return "mean", _with_best(cells, values)


def _with_best(cells: list[Cell], values: list[float]) -> tuple[Cell, ...]:
    known = [value for value in values if not math.isnan(value)]
    if len(known) < 2:
        return tuple(cells)
    best = percent(max(known))  # equal to the printed digit is equal
    return tuple(replace(cell, best=percent(value) == best) for cell, value in zip(cells, values, strict=True))
