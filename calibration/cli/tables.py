"""Recipes and figures as text for a terminal."""

from __future__ import annotations

import io
import json
import math
import statistics

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from calibration.comparison import Comparison
from calibration.evaluate import CONFIDENCE, Figures
from calibration.report.rows import NONE, metric_tables
from inspector.domain.threshold import Threshold
from inspector.recipe.manifest import RecipeManifest
from inspector.recipe.store import Recipe


def _text(table: Table, width: int = 110) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    return stream.getvalue().rstrip()


def _facts(title: str, rows: list[tuple[str, str]]) -> str:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    return _text(table)


def recipe_summary(recipe: Recipe) -> str:
    """The recipe's facts and promise."""
    manifest = recipe.manifest
    network, geometry, record = manifest.network, manifest.geometry, manifest.calibration
    frame = "any size" if geometry.frame_px is None else "x".join(map(str, geometry.frame_px)) + " px"
    threshold = Threshold(**manifest.threshold.model_dump())
    rows = [
        ("folder", str(recipe.folder)),
        ("content hash", recipe.content_hash),
        ("created", manifest.created),
        ("detector", network.describe()),
        *(("network", f"{side.name} ({side.weights}, {side.sha256[:12]})") for side in network.backbones),
        ("frame, input", f"{frame}, {geometry.width_px}x{geometry.height_px} px"),
        ("good parts", f"{record.get('good_parts')} ({record.get('threshold_parts')} for the threshold)"),
        ("schedule", f"{record.get('schedule', 'none')}, {record.get('steps')} steps, seed {record.get('seed')}"),
        ("soundness", f"held-out / training residual by level {record.get('residual_ratio', 'not measured')}"),
        (
            "validation",
            f"{record.get('validation_rejected')} of {record.get('validation_parts')} unseen good parts rejected",
        ),
        ("threshold", threshold.describe()),
        ("refinement", _prior(manifest)),
    ]
    if manifest.random_weights:
        rows.append(("warning", "RANDOM WEIGHTS: this recipe can't inspect; for trials of the chain only"))
    return _facts(f"recipe {manifest.name} v{manifest.version}", rows)


def _prior(manifest: RecipeManifest) -> str:
    if manifest.prior is None:
        return "no prior: its rejects can't be refined on the line"
    return f"prior of {manifest.prior.parts} good parts, {manifest.prior.colours} colours"


def recipe_json(recipe: Recipe) -> str:
    """The manifest and the content hash as JSON."""
    record = {"content_hash": recipe.content_hash, **recipe.manifest.model_dump(mode="json")}
    return json.dumps(record, indent=2)


def _rate(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2%}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def evaluation_summary(figures: Figures) -> str:
    """The figures of an evaluation."""
    confusion = figures.confusion
    height, width = figures.map_px
    masks = f"at {width}x{height} px"
    if figures.without_mask:
        masks += f", without {figures.without_mask} defective images that have no mask"
    rows = [
        ("image AUROC", _number(figures.image_auroc)),
        ("pixel AUROC", f"{_number(figures.pixel_auroc)} ({masks})"),
        ("AUPRO (FPR 0.3)", _number(figures.aupro)),
        ("F1-max", f"{_number(figures.f1_max)} (best possible threshold, chosen with the labels)"),
        (
            "good parts",
            f"{confusion.good}: {confusion.good_pass} pass, {confusion.good_fail} fail; false-reject rate "
            f"{_rate(confusion.false_reject_rate)} "
            f"(at most {_rate(figures.false_reject_limit)} with {CONFIDENCE:.0%} confidence)",
        ),
        (
            "defective parts",
            f"{confusion.bad}: {confusion.bad_fail} fail, {confusion.bad_pass} pass; detection rate "
            f"{_rate(confusion.detection_rate)}",
        ),
        ("threshold", figures.threshold.describe()),
        ("time", f"{figures.milliseconds:.1f} ms an image, one at a time"),
    ]
    for name, (images, rejected) in figures.by_class.items():
        rows.append((f"  {name}", f"{rejected} of {images} rejected"))
    return _facts(f"{figures.recipe} on {figures.data}", rows)


def comparison_summary(comparison: Comparison) -> str:
    """The tables "paper | ours" of a comparison, speed, and what failed."""
    parts = []
    for metric in metric_tables(comparison):
        table = Table(title=f"{metric.title}, %", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("category", no_wrap=True)
        for detector, paper in metric.detectors:
            table.add_column(f"{detector}\npaper | ours" if paper else detector, justify="right", no_wrap=True)
        for name, cells in metric.rows:
            written = []
            for (_, paper), cell in zip(metric.detectors, cells, strict=True):
                ours = f"{cell.ours} ({cell.note})" if cell.note else cell.ours
                written.append(f"{cell.paper or NONE} | {ours}" if paper else ours)
            # Names of folders are no markup.
            table.add_row(Text(name), *map(Text, written), end_section=name == metric.rows[-2:][0][0])
        parts.append(_text(table, 40 + 24 * len(metric.detectors)))
    cost = Table(title="Speed", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("detector", "ms an image", "training s", "recipes taken over"):
        cost.add_column(title, justify="left" if title == "detector" else "right")
    for detector in comparison.detectors:
        results = comparison.results(detector)
        if results:
            milliseconds = statistics.median(result.median_ms for result in results)
            seconds = sum(result.training_s for result in results)
            reused = sum(result.reused for result in results)
            cost.add_row(detector, f"{milliseconds:.1f}", f"{seconds:.0f}", f"{reused} of {len(results)}")
    parts.append(_text(cost))
    parts += [f"failed: {name}, {detector}: {failure.error}" for name, detector, failure in comparison.failures()]
    return "\n\n".join(parts)
