"""One HTML page of a comparison: no scripts, nothing loaded from elsewhere, every picture inside."""

from __future__ import annotations

import math
import statistics
from importlib import resources

import numpy as np

from calibration.comparison import Category, Comparison, Result
from calibration.pixel_metrics import PRO_LIMIT
from calibration.report.charts import curve_chart, histogram, series_class, series_dash
from calibration.report.gallery_table import gallery_table
from calibration.report.markup import Markup, element, joined, stylesheet
from calibration.report.record import RunFacts
from calibration.report.rows import MetricTable, metric_tables, percent, published_columns


def comparison_page(comparison: Comparison, facts: RunFacts) -> str:
    """The page, a whole HTML document.

    Args:
        comparison: Figures and galleries.
        facts: Of its run.
    """
    title = f"Detectors on {', '.join(category.name for category in comparison.categories[:3])}"
    if len(comparison.categories) > 3:
        title += f" and {len(comparison.categories) - 3} more"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        stylesheet(resources.files("calibration.report").joinpath("page.css").read_text(encoding="utf-8")),
    )
    body = element(
        "body",
        element("header", element("h1", title), _lede(comparison), _facts(facts)),
        _navigation(comparison),
        element(
            "main",
            _failures(comparison),
            _figures(comparison),
            _cost(comparison),
            *(
                _category(category, comparison.detectors, f"category-{number}")
                for number, category in enumerate(comparison.categories)
            ),
        ),
        _footer(facts),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _lede(comparison: Comparison) -> Markup:
    images = sum(len(category.samples) for category in comparison.categories)
    categories = len(comparison.categories)
    detectors = len(comparison.detectors)
    return element(
        "p",
        f"{detectors} detector{'s' * (detectors != 1)} on {categories} categor{'y' if categories == 1 else 'ies'}, "
        f"{images} test images. Each detector was calibrated on good parts alone; the labels of the test images only "
        "measure.",
        class_="lede",
    )


def _facts(facts: RunFacts) -> Markup:
    pairs = [
        ("Data", element("code", facts.data)),
        ("Command", element("code", facts.command)),
        ("Device", f"{facts.device}, {facts.threads} thread{'s' * (facts.threads != 1)} ({facts.processor})"),
        ("Made", f"{facts.created}, seed {facts.seed}"),
    ]
    return element(
        "dl",
        *(joined(element("dt", name), element("dd", value)) for name, value in pairs),
        class_="facts",
    )


def _navigation(comparison: Comparison) -> Markup | None:
    if len(comparison.categories) < 2:
        return None
    links = [
        element("li", element("a", category.name, href=f"#category-{number}"))
        for number, category in enumerate(comparison.categories)
    ]
    return element("nav", element("ul", *links), aria_label="Categories")


def _failures(comparison: Comparison) -> Markup | None:
    failures = comparison.failures()
    if not failures:
        return None
    items = [
        element("li", element("b", f"{name}, {detector}: "), failure.error) for name, detector, failure in failures
    ]
    return joined(element("h2", "What failed"), element("ul", *items, class_="failures"))


def _figures(comparison: Comparison) -> Markup:
    tables = metric_tables(comparison)
    printed = any(paper for table in tables for _, paper in table.detectors)
    wide = len(comparison.detectors) > 3
    remark = "In percent; the best of a row is bold."
    if printed:
        remark += " “paper” is what the named source prints, measured with the setting named below."
    return element(
        "section",
        element("h2", "Figures"),
        element("p", remark, class_="soft"),
        # Narrow tables stand beside each other.
        element("div", *(_metric_table(table) for table in tables), class_=None if printed or wide else "beside"),
        _settings(comparison) if printed else None,
    )


def _metric_table(table: MetricTable) -> Markup:
    groups, heads = [], []
    for detector, paper in table.detectors:
        span = "2" if paper else None
        kind = "group" if paper else "group single"
        groups.append(element("th", detector, scope="colgroup" if paper else "col", colspan=span, class_=kind))
        if paper:
            heads.append(element("th", "paper", scope="col", class_="paper start"))
        heads.append(element("th", "ours", scope="col", class_="ours" if paper else "ours start"))
    split = any(paper for _, paper in table.detectors)
    corner = element("th", "category", scope="col", rowspan="2" if split else None, style="text-align:left")
    rows = []
    for name, cells in table.rows:
        parts = [element("th", name, scope="row")]
        for (_, paper), cell in zip(table.detectors, cells, strict=True):
            if paper:
                parts.append(element("td", cell.paper, class_="paper start"))
            kinds = ["failed"] * cell.failed + ["best"] * cell.best + ["start"] * (not paper)
            note = element("span", cell.note, class_="kind") if cell.note else None
            parts.append(element("td", cell.ours, note, class_=" ".join(kinds) or None))
        rows.append(element("tr", *parts, class_="mean" if name == "mean" and len(table.rows) > 1 else None))
    head = element("thead", element("tr", corner, *groups), element("tr", *heads) if split else None)
    return _wide(element("table", element("caption", table.title), head, element("tbody", *rows), class_="figures"))


def _settings(comparison: Comparison) -> Markup:
    items = []
    for detector, column in published_columns(comparison).items():
        results = comparison.results(detector)
        if column is not None and results:
            text = f": paper with {column.setting} ({column.source}); ours with {_backbones(results[0])}."
            items.append(element("li", element("b", detector), text))
    return element("ul", *items, class_="notes")


def _cost(comparison: Comparison) -> Markup:
    rows = []
    for detector in comparison.detectors:
        results = comparison.results(detector)
        cells = [element("th", detector, scope="row")]
        if results:
            good, bad = (sum(getattr(result.figures.confusion, kind) for result in results) for kind in ("good", "bad"))
            rejected = good - sum(result.figures.confusion.good_pass for result in results)
            found = bad - sum(result.figures.confusion.bad_pass for result in results)
            reused = sum(result.reused for result in results)
            cells += [
                element("td", _backbones(results[0]), class_="text"),
                element("td", f"{statistics.median(result.median_ms for result in results):.1f}"),
                element("td", f"{sum(result.training_s for result in results):.0f}"),
                element("td", f"{reused} of {len(results)}"),
                element("td", f"{rejected} of {good}"),
                element("td", f"{found} of {bad}"),
            ]
        else:
            cells.append(element("td", "failed", class_="text failed", colspan="6"))
        rows.append(element("tr", *cells))
    titles = ["detector", "network", "ms an image", "training s", "recipes taken over"]
    titles += ["good parts rejected", "defects rejected"]
    left = "text-align:left"
    heads = [element("th", title, scope="col", style=left if n < 2 else None) for n, title in enumerate(titles)]
    table = element(
        "table",
        element("caption", "At each recipe's own threshold, over all categories"),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        class_="figures",
    )
    remark = (
        "Time of an image is the median of preprocessing and network, one image at a time after a warm-up, without "
        "reading the file; all detectors in the same run. Training is the time when the recipe was made."
    )
    return element("section", element("h2", "Speed and verdicts"), element("p", remark, class_="soft"), _wide(table))


def _category(category: Category, detectors: tuple[str, ...], anchor: str) -> Markup:
    # Detectors keep their colours from category to category, also where one of them failed.
    results = [(number, name, result) for number, name in enumerate(detectors) if (result := category.result(name))]
    bad = sum(bool(sample.label) for sample in category.samples)
    counts = (
        f"{category.train} good parts to calibrate on; {len(category.samples) - bad} good and {bad} defective test "
        "images."
    )
    return element(
        "section",
        element("h2", category.name),
        element("p", counts, class_="soft"),
        _curves(category, results) if results else element("p", "No detector gave figures.", class_="wrong"),
        _more_figures(category, results) if results else None,
        _histograms(category, results) if results else None,
        gallery_table(category, [name for _, name, _ in results]) if category.gallery else None,
        id=anchor,
    )


def _curves(category: Category, results: list[tuple[int, str, Result]]) -> Markup:
    legend = [
        element(
            "li",
            element(
                "svg",
                element("line", x1=0, x2=28, y1=5, y2=5, class_=series_class(n), stroke_dasharray=series_dash(n)),
                viewBox="0 0 28 10",
                aria_hidden="true",
            ),
            name,
        )
        for n, name, _ in results
    ]
    roc = [(name, n, result.roc) for n, name, result in results if result.roc is not None]
    pro = [(name, n, result.pro) for n, name, result in results if result.pro is not None]
    charts = []
    if roc:
        areas = "; ".join(f"{name} {percent(result.figures.image_auroc)} %" for _, name, result in results)
        title = f"ROC curves of the images of {category.name}. Areas: {areas}"
        chart = curve_chart(title, "good parts rejected", "defective parts rejected", roc)
        charts.append(_figure("ROC of the images", "over all thresholds", chart))
    if pro:
        areas = "; ".join(f"{name} {percent(result.figures.aupro)} %" for _, name, result in results)
        title = f"PRO curves of the pixels of {category.name}. Areas: {areas}"
        chart = curve_chart(title, "share of good pixels flagged", "overlap with each defect, mean", pro, PRO_LIMIT)
        charts.append(_figure("PRO of the pixels", f"up to a false-positive rate of {PRO_LIMIT:g}", chart))
    if not charts:
        return element("p", "Test images of one class only: there are no curves.", class_="soft")
    return joined(element("ul", *legend, class_="legend"), element("div", *charts, class_="charts"))


def _more_figures(category: Category, results: list[tuple[int, str, Result]]) -> Markup:
    titles = ["detector", "false rejects", "detection", "F1-max", "pixel F1-max", "AUPIMO", "mean IoU", "mean DICE"]
    rows = []
    for _, name, result in results:
        figures, pixels = result.figures, result.pixels
        values = [figures.confusion.false_reject_rate, figures.confusion.detection_rate, figures.f1_max]
        overlap = pixels and pixels.overlap
        values += [pixels.f1_max, pixels.aupimo] if pixels else [math.nan] * 2
        values += [overlap.mean_iou, overlap.mean_dice] if overlap else [math.nan] * 2
        cells = [element("td", percent(value)) for value in values]
        rows.append(element("tr", element("th", name, scope="row"), *cells))
    left = "text-align:left"
    heads = [element("th", title, scope="col", style=None if number else left) for number, title in enumerate(titles)]
    caption = f"Further figures of {category.name}, %"
    remark = (
        "False rejects, detection, IoU and DICE are at the recipe's threshold; IoU and DICE are means over the "
        "defective images. F1-max takes the threshold that is best for the labels: an upper bound."
    )
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        class_="figures",
    )
    return joined(element("div", _wide(table), class_="after"), element("p", remark, class_="soft"))


def _histograms(category: Category, results: list[tuple[int, str, Result]]) -> Markup:
    charts = []
    for _, name, result in results:
        bad = np.array([bool(sample.label) for sample in category.samples])
        confusion, threshold = result.figures.confusion, result.figures.threshold.value
        verdicts = (
            f"{confusion.good - confusion.good_pass} of {confusion.good} good and "
            f"{confusion.bad - confusion.bad_pass} of {confusion.bad} defective rejected"
        )
        title = f"Histogram of the scores of {name} on {category.name}; threshold {threshold:.4g}; {verdicts}"
        charts.append(_figure(name, verdicts, histogram(title, result.scores[~bad], result.scores[bad], threshold)))
    return joined(element("h3", "Scores"), element("div", *charts, class_="charts small"))


def _figure(name: str, remark: str, chart: Markup) -> Markup:
    return element("figure", element("figcaption", element("b", name), f" {remark}"), chart)


def _backbones(result: Result) -> str:
    """Network and input size in words."""
    setting = result.setting
    names = setting.source if setting.target is None else f"{setting.source} and {setting.target}"
    levels = ", ".join(map(str, setting.levels))
    position = f", position code {setting.position}" if setting.position != "none" else ""
    height, width = result.figures.map_px
    return f"{names}, hierarchies {levels}{position}, {width} x {height} px"


def _footer(facts: RunFacts) -> Markup:
    versions = ", ".join(f"{name} {version}" for name, version in facts.software.items())
    return element(
        "footer",
        element("p", f"Pixel figures are formed at the size of the network's input, over all test images. {versions}."),
    )


def _wide(table: Markup) -> Markup:
    """A table that scrolls on its own where it is too wide; by keyboard too."""
    return element("div", table, class_="wide", tabindex="0")
