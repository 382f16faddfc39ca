"""The gallery of a category as a table: a row for each image, a column for each detector."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from calibration.comparison import Category
from calibration.gallery import Gallery, Judged, Picture, Row
from calibration.report.markup import Markup, element, joined


def gallery_table(category: Category, detectors: Sequence[str]) -> Markup | None:
    """The table with what its colours mean; None without pictures.

    Args:
        category: With its gallery.
        detectors: Columns.
    """
    gallery = category.gallery
    if gallery is None or not gallery.rows:
        return None
    heads = [element("th", title, scope="col") for title in ("image", "frame", "ground truth", *detectors)]
    table = element(
        "table",
        element("caption", _title(gallery)),
        element("thead", element("tr", *heads)),
        element("tbody", *(_row(row, detectors) for row in gallery.rows)),
        class_="gallery",
    )
    remark = (
        "Anomaly maps run from dark blue (as a good part usually is) through green (the threshold) to red. Ground "
        "truth is magenta, a refined mask yellow. Misjudged parts come first."
    )
    return joined(
        element("h3", "Gallery"),
        element("p", remark, class_="soft"),
        element("div", table, class_="wide", tabindex="0"),
    )


def _title(gallery: Gallery) -> str:
    shown = sum(bool(row.misjudged) for row in gallery.rows)
    return (
        f"{len(gallery.rows)} of {gallery.images} test images; {shown} of the {gallery.misjudged} that at least one "
        "detector misjudges"
    )


def _row(row: Row, detectors: Sequence[str]) -> Markup:
    kind = "defective" if row.bad else "good"
    truth = (
        _image(row.truth, f"Defect marked in {row.name}") if row.truth else ("not marked" if row.bad else "no defect")
    )
    return element(
        "tr",
        element("th", row.name, element("span", kind, class_="kind"), scope="row"),
        element("td", _image(row.image, f"Frame {row.name}, {kind}")),
        element("td", truth),
        *(_judged(row, name, row.judged[name]) for name in detectors),
    )


def _judged(row: Row, detector: str, judged: Judged) -> Markup:
    if judged.rejected == row.bad:
        verdict = element("span", "rejected" if judged.rejected else "passes")
    else:
        verdict = element("span", "✗ false reject" if judged.rejected else "✗ missed", class_="wrong")
    amount = (
        f"{judged.score / judged.threshold:.2f} × threshold" if judged.threshold > 0 else f"score {judged.score:.4g}"
    )
    return element(
        "td",
        _image(judged.overlay, f"Anomaly map of {detector} over {row.name}"),
        _image(judged.refined, f"Refined mask of {detector} over {row.name}") if judged.refined else None,
        verdict,
        element("span", amount, class_="kind"),
    )


def _image(picture: Picture, text: str) -> Markup:
    source = f"data:image/jpeg;base64,{b64encode(picture.data).decode('ascii')}"
    return element("img", src=source, alt=text, width=picture.width_px, height=picture.height_px, decoding="async")
