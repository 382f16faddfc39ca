"""A comparison as JSON, and the facts of its run."""

from __future__ import annotations

import datetime
import math
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

import torch

import inspector
from calibration.comparison import Category, Comparison, Failure, Result
from calibration.curves import Curve
from calibration.published import METRICS, Published
from calibration.report.rows import published_columns

#: Version of the JSON; it grows where a field is dropped or changes its meaning.
SCHEMA = 1
_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "opencv-python")


@dataclass(frozen=True)
class RunFacts:
    """When, where and with what a comparison was made.

    Attributes:
        command: As it was typed.
        data: The data set.
        device: "cpu", or the GPU's name.
        threads: Of PyTorch on the CPU.
        seed: Of the calibrations.
        created: Time in UTC, ISO 8601.
        processor: The CPU's name or architecture, and its number of cores.
        software: Versions.
    """

    command: str
    data: str
    device: str
    threads: int
    seed: int
    created: str
    processor: str
    software: dict[str, str] = field(default_factory=dict)


def run_facts(command: str, data: str, device: str, seed: int) -> RunFacts:
    """The facts of this process.

    Args:
        command: As it was typed.
        data: The data set.
        device: "cpu" or "cuda".
        seed: Of the calibrations.
    """
    versions = {"inspector": inspector.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # OpenCV comes under several names
            continue
    return RunFacts(
        command=command,
        data=data,
        device=torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else device,
        threads=torch.get_num_threads(),
        seed=seed,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        processor=f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        software=versions,
    )


def comparison_record(comparison: Comparison, facts: RunFacts) -> dict[str, Any]:
    """Everything as a JSON-ready dict; shares lie in [0, 1], printed figures are percentages as printed.

    A figure that can't be formed is null.
    """
    columns = published_columns(comparison)
    means = {
        detector: {
            metric: {"value": value, "categories": count}
            for metric in METRICS
            for value, count in [comparison.mean(detector, metric)]
        }
        for detector in comparison.detectors
    }
    printed = {
        detector: column and {"setting": column.setting, "source": column.source, "mean": list(column.mean)}
        for detector, column in columns.items()
    }
    record = {
        "schema": SCHEMA,
        "run": asdict(facts),
        "detectors": list(comparison.detectors),
        "categories": [_category(category, columns) for category in comparison.categories],
        "means": means,
        "published": printed,
    }
    return dict(_without_nan(record))


def _category(category: Category, columns: dict[str, Published | None]) -> dict[str, Any]:
    cells: dict[str, dict[str, Any]] = {}
    for detector, cell in category.cells.items():
        column = columns[detector] if category.mvtec else None
        cells[detector] = _failure(cell) if isinstance(cell, Failure) else _result(cell)
        cells[detector]["published_percent"] = column and {m: column.of(category.name, m) for m in METRICS}
    return {
        "name": category.name,
        "root": str(category.root),
        "mvtec_ad": category.mvtec,
        "training_images": category.train,
        "test_images": [
            {
                "path": os.path.relpath(sample.path, category.root),
                "class": sample.defect_class,
                "defective": bool(sample.label),
            }
            for sample in category.samples
        ],
        "detectors": cells,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {"error": failure.error, "exit_code": failure.exit_code}


def _result(result: Result) -> dict[str, Any]:
    return {
        "error": None,
        "recipe_folder": str(result.recipe),
        "reused": result.reused,
        "setting": asdict(result.setting),
        "seed": result.seed,
        "training_s": result.training_s,
        "median_ms_per_image": result.median_ms,
        "figures": result.figures.as_record(),
        "pixels": None if result.pixels is None else asdict(result.pixels),
        "scores": result.scores.tolist(),
        "roc": _curve(result.roc),
        "pro": _curve(result.pro),
    }


def _curve(curve: Curve | None) -> dict[str, list[float]] | None:
    if curve is None:
        return None
    return {"x": curve.x.round(6).tolist(), "y": curve.y.round(6).tolist()}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
