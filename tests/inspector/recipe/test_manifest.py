"""A recipe that makes no sense is refused before the line starts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from inspector.domain.threshold import Threshold
from inspector.recipe import manifest as module
from inspector.recipe.manifest import RecipeManifest, ThresholdRecord

GOOD: dict[str, Any] = {
    "schema_version": 1,
    "name": "tile",
    "version": 3,
    "created": "2026-02-03T04:05:06+00:00",
    "geometry": {
        "width_px": 64,
        "height_px": 96,
        "region_px": {"left": 1, "top": 2, "width": 30, "height": 40},
        "frame_px": [80, 60],
        "channels": 1,
    },
    "network": {
        "source": {"name": "resnet_synth", "weights": "bundled", "sha256": "0" * 64},
        "target": {"name": "vovnet_synth", "weights": "bundled", "sha256": "1" * 64},
        "levels": [1, 3],
        "latents": [8, 16],
    },
    "threshold": {
        "value": 1.5,
        "method": "tolerance_limit",
        "target": 0.01,
        "promise": 0.0099,
        "confidence": 0.95,
        "sample_size": 300,
        "exceedances_allowed": 0,
        "exact": True,
        "parts_needed": 0,
    },
    "golden": {"score": 1.25, "tolerance": 0.01},
    "calibration": {"images": 300},
}


def changed(key: str, value: object) -> dict[str, Any]:
    data = copy.deepcopy(GOOD)
    place = data
    *path, last = key.split(".")
    for part in path:
        place = place[part]
    place[last] = value
    return data


def test_good_manifest_is_read() -> None:
    manifest = RecipeManifest.model_validate(GOOD)
    assert manifest.geometry.frame_px == (80, 60)
    assert manifest.network.latents == (8, 16)
    assert not manifest.random_weights
    assert RecipeManifest.model_validate(manifest.model_dump(mode="json")) == manifest


@pytest.mark.parametrize("side", ["source", "target"])
def test_one_random_backbone_makes_the_recipe_unfit(side: str) -> None:
    assert RecipeManifest.model_validate(changed(f"network.{side}.weights", "random:7")).random_weights


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../tile"),
        ("name", "a/b"),
        ("name", ".."),
        ("name", "tile\n"),
        ("name", ""),
        ("version", 0),
        ("extra", 1),
        ("geometry.width_px", 16),
        ("geometry.height_px", 100_000),
        ("geometry.channels", 4),
        ("geometry.frame_px", [80]),
        ("geometry.region_px", {"left": -1, "top": 0, "width": 3, "height": 3}),
        ("geometry.region_px", {"left": 0, "top": 0, "width": 0, "height": 3}),
        ("geometry.region_px.depth", 1),
        ("network.levels", []),
        ("network.levels", [3, 1]),
        ("network.levels", [1, 1]),
        ("network.levels", [0, 1]),
        ("network.levels", [1, 4]),
        ("network.latents", [8]),
        ("network.latents", [8, 0]),
        ("network.position", "rotary"),
        ("network.detector", "padim"),
        ("network.detector", "spade"),
        ("network.target", None),
        ("network.latents", None),
        ("network.padim", {"channels": 100}),
        ("network.position_base", 0),
        ("network.mapped", "other"),
        ("network.source.sha256", "0" * 63),
        ("network.source.sha256", "G" * 64),
        ("threshold.value", float("nan")),
        ("threshold.value", float("inf")),
        ("threshold.target", 0),
        ("threshold.promise", 1),
        ("threshold.confidence", 1),
        ("threshold.method", "guess"),
        ("threshold.sample_size", 0),
        ("threshold.exceedances_allowed", 300),
        ("threshold.parts_needed", -1),
        ("golden.tolerance", 0),
        ("calibration", None),
    ],
)
def test_senseless_manifest_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        RecipeManifest.model_validate(changed(key, value))


SIDE = {"name": "resnet18", "weights": "imagenet", "sha256": "0" * 64}
OTHERS: dict[str, dict[str, Any]] = {
    "padim": {"padim": {"channels": 100}},
    "patchcore": {"patchcore": {"rows": 10, "neighbours": 0}},
    "cflow-ad": {"cflow": {"blocks": 8, "condition": 128, "clamp": 1.9}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_detector_with_one_backbone(name: str) -> None:
    network = {"detector": name, "source": SIDE, "levels": [2, 3], **OTHERS[name]}
    manifest = RecipeManifest.model_validate(changed("network", network))
    assert [side.name for side in manifest.network.backbones] == ["resnet18"]
    assert not manifest.random_weights
    written = manifest.model_dump(mode="json")
    assert None not in written["network"].values()
    assert RecipeManifest.model_validate(written) == manifest
    (own,) = OTHERS[name].values()
    assert manifest.network.describe().startswith(f"{name}, levels 2 3, ")
    assert all(f"{key} {value:g}" in manifest.network.describe() for key, value in own.items())


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": SIDE}, "has no target"),
        ({"latents": [8, 8]}, "has no latents"),
        ({"padim": None, "patchcore": None, "cflow": None}, "needs "),
    ],
)
def test_entries_of_other_detectors_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    network = {"detector": name, "source": SIDE, "levels": [2, 3], **OTHERS[name], **changes}
    with pytest.raises(ValidationError, match=f"{name} {message}"):
        RecipeManifest.model_validate(changed("network", network))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("padim", {"channels": 0}),
        ("patchcore", {"rows": 0, "neighbours": 0}),
        ("patchcore", {"rows": 1, "neighbours": -1}),
        ("cflow", {"blocks": 1, "condition": 6, "clamp": 1.9}),
        ("cflow", {"blocks": 1, "condition": 8, "clamp": 0}),
    ],
)
def test_senseless_detector_is_refused(part: str, value: dict[str, Any]) -> None:
    name = "cflow-ad" if part == "cflow" else part
    with pytest.raises(ValidationError):
        RecipeManifest.model_validate(
            changed("network", {"detector": name, "source": SIDE, "levels": [2], part: value})
        )


def test_recipe_of_an_earlier_version_is_read() -> None:
    # Such recipes name detector, position and latents, and nothing of what came later.
    network = {**GOOD["network"], "detector": "mb-pfm", "position": "add"}
    read = RecipeManifest.model_validate(changed("network", network)).network
    assert (read.detector, read.position_base, read.mapped) == ("mb-pfm", 10000.0, "raw")
    assert read.describe() == "mb-pfm, levels 1 3, latents 8 16, position code add (10000), mapped features raw"


def test_threshold_that_the_domain_refuses_is_refused_as_a_recipe() -> None:
    # A threshold of .nan passed the manifest and stopped the gate with a traceback instead of a message.
    with pytest.raises(ValidationError, match="finite number"):
        RecipeManifest.model_validate(changed("threshold.value", float("nan")))


def test_threshold_record_is_the_domains_threshold() -> None:
    record = ThresholdRecord.model_validate(GOOD["threshold"])
    assert vars(Threshold(**record.model_dump())) == GOOD["threshold"]


@pytest.mark.parametrize(
    "model",
    [m for m in vars(module).values() if isinstance(m, type) and issubclass(m, module.Part) and m is not module.Part],
)
def test_every_entry_is_explained(model: type[BaseModel]) -> None:
    assert [name for name, info in model.model_fields.items() if not info.description] == []
