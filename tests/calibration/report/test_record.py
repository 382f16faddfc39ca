"""The JSON holds everything, and the same figures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from calibration.comparison import Comparison
from calibration.report.record import SCHEMA, comparison_record, run_facts

FACTS = run_facts("calibrate compare <data>", "data", "cpu", seed=1)


@pytest.fixture(scope="module")
def record_(compared: Any) -> Any:
    return json.loads(json.dumps(comparison_record(compared.comparison, FACTS), allow_nan=False))


def test_run_is_described(record_: Any) -> None:
    assert record_["schema"] == SCHEMA
    run = record_["run"]
    assert (run["command"], run["seed"], run["device"]) == ("calibrate compare <data>", 1, "cpu")
    assert run["threads"] >= 1
    assert {"inspector", "python", "torch", "numpy", "scikit-learn"} <= set(run["software"])


def test_figures_are_those_of_the_comparison(compared: Any, record_: Any) -> None:
    comparison: Comparison = compared.comparison
    assert [entry["name"] for entry in record_["categories"]] == [category.name for category in comparison.categories]
    for category, entry in zip(comparison.categories[:2], record_["categories"], strict=False):
        assert len(entry["test_images"]) == 12
        for detector in ("mb-pfm", "padim"):
            result, cell = category.result(detector), entry["detectors"][detector]
            assert result is not None
            assert cell["figures"] == json.loads(json.dumps(result.figures.as_record()))
            assert cell["scores"] == result.scores.tolist()
            assert cell["median_ms_per_image"] == result.median_ms
            assert cell["training_s"] == result.training_s
            assert cell["published_percent"] is None
            assert cell["pro"]["x"][-1] == 0.3
    assert record_["means"]["padim"]["aupro"] == {"value": comparison.mean("padim", "aupro")[0], "categories": 2}


def test_failures_and_figures_without_a_value(record_: Any) -> None:
    cell = record_["categories"][0]["detectors"]["pefm"]
    assert (cell["error"], cell["exit_code"]) == ("no plan for <pefm>", 65)
    assert record_["means"]["pefm"]["aupro"] == {"value": None, "categories": 0}


def test_printed_figures_are_named_with_their_source(compared: Any) -> None:
    comparison: Comparison = compared.comparison
    tile = replace(comparison.categories[0], name="tile", mvtec=True)
    record = comparison_record(Comparison(comparison.detectors, (tile,)), FACTS)
    cells = record["categories"][0]["detectors"]
    assert cells["padim"]["published_percent"] == {"image_auroc": 97.4, "pixel_auroc": 93.9, "aupro": None}
    assert cells["pefm"]["published_percent"]["aupro"] == 87.52  # also where ours failed
    assert record["published"]["padim"]["source"].startswith("README")
