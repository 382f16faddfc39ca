"""A camera is told apart by its kind, and a feature keeps the type that the file gave it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from inspector.config.cameras import CameraConfig, Feature, FolderCamera, GenicamCamera, SyntheticCamera, VideoCamera

CAMERA: TypeAdapter[Any] = TypeAdapter(CameraConfig)


@pytest.mark.parametrize(
    ("data", "model"),
    [
        ({"kind": "folder", "path": "p"}, FolderCamera),
        ({"kind": "video", "source": "/dev/video0"}, VideoCamera),
        ({"kind": "synthetic"}, SyntheticCamera),
        ({"kind": "genicam"}, GenicamCamera),
    ],
)
def test_kind_chooses_the_model(data: dict[str, Any], model: type) -> None:
    assert type(CAMERA.validate_python(data)) is model
    with pytest.raises(ValidationError, match="Extra inputs"):
        CAMERA.validate_python(data | {"exposure": 1})


@pytest.mark.parametrize("value", [True, False, 1, 0, 1.5, "Continuous", ""])
def test_feature_keeps_the_type_of_its_value(value: bool | int | float | str) -> None:
    # GenICam nodes are typed: 1 written to a boolean node, or true to an integer node, is an error.
    feature = Feature.model_validate({"name": "Node", "value": value})
    assert type(feature.value) is type(value)
    assert feature.value == value


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": 0},
        {"rate": -1},
        {"rate": float("inf")},
        {"rate": float("nan")},
        {"defect_ratio": -0.1},
        {"defect_ratio": 1.1},
        {"parts": 0},
        {"seed": -1},
        {"width_px": 0},
        {"height_px": 10_000},
    ],
)
def test_senseless_conveyor_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SyntheticCamera(kind="synthetic", **changes)


def test_missed_triggers_are_for_hardware_triggers() -> None:
    data = {"kind": "genicam", "missed_triggers": {"node": "CounterValue"}}
    camera = CAMERA.validate_python(data)
    assert (camera.missed_triggers.check_s, camera.missed_triggers.skip_ids) == (0.25, False)
    with pytest.raises(ValidationError, match="a software trigger without a frame is told anyway"):
        CAMERA.validate_python(data | {"software_trigger_rate": 5.0})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "give one of node"),
        ({"node": "CounterValue", "chunk": "ChunkCounterValue"}, "give one of node"),
        ({"chunk": "ChunkCounterValue", "skip_ids": True}, "skip_ids is for node"),
    ],
)
def test_missed_triggers_are_counted_in_one_way(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CAMERA.validate_python({"kind": "genicam", "missed_triggers": keys})
