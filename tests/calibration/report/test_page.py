"""The page is well-formed, holds everything itself, and shows the figures of the comparison."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from calibration.comparison import Comparison
from calibration.report.page import comparison_page
from calibration.report.record import run_facts
from calibration.report.rows import metric_tables

VOID = {"meta", "img", "br"}
#: Pictures in base64, and all else.
LARGEST_BYTES = 15_000_000
FACTS = run_facts("calibrate compare '<data>'", "<data>", "cpu", seed=1)


class Page(HTMLParser):
    """Reads a page and refuses elements that aren't closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text(compared: Any) -> str:
    return comparison_page(compared.comparison, FACTS)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_page_is_whole_and_loads_nothing(page: Page, text: str) -> None:
    assert text.startswith("<!doctype html>\n<html lang=")
    assert text.count("</html>") == 1
    assert not page.all("script")
    assert not page.all("link")
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text
    assert "@import" not in text
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("src") or "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        assert (attributes.get("href") or "#").startswith("#")


def test_hostile_names_are_text(page: Page, compared: Any) -> None:
    hostile = compared.comparison.categories[1]
    assert hostile.name in page.text
    names = {sample.path.name for sample in hostile.samples}
    (odd,) = [name for name in names if "onerror" in name]
    assert any(odd in (attributes.get("alt") or "") for attributes in page.all("img"))
    assert odd in page.text
    assert "no plan for <pefm>" in page.text
    assert not any(attributes.get("src") == "x" for attributes in page.all("img"))


def test_figures_are_those_of_the_comparison(page: Page, compared: Any) -> None:
    for table, shown in zip(metric_tables(compared.comparison), page.tables, strict=False):
        body = [row for row in shown if row[0] in dict(table.rows)]
        assert [row[0] for row in body] == [name for name, _ in table.rows]
        for (_, cells), row in zip(table.rows, body, strict=True):
            assert row[1:] == [cell.ours + cell.note for cell in cells]
    auroc = compared.comparison.categories[0].result("padim").figures.image_auroc
    assert page.tables[0][1][:3][2] == f"{100 * auroc:.2f}"


def test_further_figures_of_a_category(page: Page, compared: Any) -> None:
    result = compared.comparison.categories[0].result("padim")
    (table,) = [table for table in page.tables if "AUPIMO" in table[0] and table[1][0] == "mb-pfm"][:1]
    values = [result.figures.confusion.false_reject_rate, result.figures.confusion.detection_rate]
    values += [result.figures.f1_max, result.pixels.f1_max, result.pixels.aupimo]
    values += [result.pixels.overlap.mean_iou, result.pixels.overlap.mean_dice]
    assert table[2] == ["padim", *(f"{100 * value:.2f}" for value in values)]


def test_printed_columns_appear_where_there_are_some(compared: Any) -> None:
    comparison: Comparison = compared.comparison
    tile = replace(comparison.categories[0], name="tile", mvtec=True)
    page = Page(comparison_page(Comparison(("mb-pfm", "padim"), (tile,)), FACTS))
    heads, row = page.tables[1][1:3]
    assert heads == ["paper", "ours", "paper", "ours"]
    assert row[:2] == ["tile", "96.2"]
    assert row[3] == "93.9"
    assert "PFM paper, Tables III, IV and V" in page.text


def test_everything_can_be_read_without_seeing(page: Page) -> None:
    for image in page.all("img"):
        assert image["alt"]
        assert int(image["width"] or 0) > 0
        assert int(image["height"] or 0) > 0
    charts = [svg for svg in page.all("svg") if svg.get("aria-hidden") != "true"]
    assert len(charts) == 2 * (2 + 2)  # two curves and two histograms in each of two categories
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)
    assert all(head.get("scope") in ("col", "row", "colgroup") for head in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_anchors_are_unique_and_lead_somewhere(page: Page) -> None:
    anchors = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors)) == 3
    assert [link["href"] for link in page.all("a")] == [f"#{anchor}" for anchor in anchors]


def test_pictures_are_whole_and_the_page_is_not_too_large(text: str, compared: Any) -> None:
    pictures = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", text)]
    rows = [row for category in compared.comparison.categories if category.gallery for row in category.gallery.rows]
    assert sum(map(len, pictures)) == sum(row.size_bytes for row in rows)
    assert all(data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9" for data in pictures)
    without = len(text) - sum(len(data) for data in re.findall(r"base64,([^\"]+)", text))
    # A budget of 8 MB of pictures is 10.7 MB in base64; 15 categories with 7 detectors have 35 times these two's rest.
    assert 8_000_000 * 4 / 3 + without / 4 * 7 * 15 < LARGEST_BYTES


def test_nothing_to_show_is_a_page_too(compared: Any) -> None:
    broken = compared.comparison.categories[2]
    page = Page(comparison_page(Comparison(compared.comparison.detectors, (broken,)), FACTS))
    assert "No detector gave figures." in page.text
    assert page.text.count("holds no images") == 3
