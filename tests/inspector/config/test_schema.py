"""Nothing listens beyond this machine, nothing changes after the start, and everything is explained."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from inspector.config.schema import InspectorConfig, Metrics, Verdicts, Worker


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for info in annotation.model_fields.values():
            yield from models(info.annotation)
    for argument in typing.get_args(annotation):
        yield from models(argument)


MODELS = sorted(set(models(InspectorConfig)), key=lambda model: model.__name__)


def test_all_models_are_found() -> None:
    names = {model.__name__ for model in MODELS}
    assert {"InspectorConfig", "Line", "FolderCamera", "GenicamCamera", "Feature", "Supervision"} <= names


@pytest.mark.parametrize("model", MODELS)
def test_every_setting_is_explained(model: type[BaseModel]) -> None:
    assert [n for n, info in model.model_fields.items() if not info.description and n != "kind"] == []


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_frozen_and_refuses_what_it_does_not_know(model: type[BaseModel]) -> None:
    assert model.model_config["extra"] == "forbid"
    assert model.model_config["frozen"] is True
    assert model.model_config["allow_inf_nan"] is False


@pytest.mark.parametrize(
    "endpoint",
    [None, "tcp://127.0.0.1:5561", "tcp://127.8.8.8:1", "tcp://[::1]:5561", "tcp://localhost:5561", "ipc:///run/v"],
)
def test_local_endpoint_is_accepted(endpoint: str | None) -> None:
    assert Verdicts(endpoint=endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5561",
        "tcp://*:5561",
        "tcp://eth0:5561",
        "tcp://192.168.1.4:5561",
        "tcp://[::]:5561",
        "tcp://example.org:5561",
        "tcp://127.0.0.1.example.org:5561",
        "tcp://127.0.0.1@192.168.1.4:5561",
        "tcp://192.168.1.4;127.0.0.1:5561",
    ],
)
def test_endpoint_beyond_loopback_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="not a loopback address"):
        Verdicts(endpoint=endpoint)


@pytest.mark.parametrize(
    "endpoint", ["", "127.0.0.1:5561", "udp://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:*", "ipc://run/v", "x"]
)
def test_malformed_endpoint_is_refused(endpoint: str) -> None:
    # A relative ipc path would lie wherever the daemon was started.
    with pytest.raises(ValidationError, match="expected tcp://"):
        Verdicts(endpoint=endpoint)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_local_metrics_host_is_accepted(host: str) -> None:
    assert Metrics(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.0.0.1", "metrics.local", "localhost.example.org"])
def test_metrics_host_beyond_loopback_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="not a loopback address"):
        Metrics(host=host)


CURVE: Any = {"secret_key": "k", "clients": "c"}
TLS: Any = {"certificate": "c", "key": "k", "client_ca": "a"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "[::]", "127.0.0.1"])
def test_with_keys_verdicts_may_go_further(host: str) -> None:
    assert Verdicts(endpoint=f"tcp://{host}:5561", curve=CURVE).endpoint == f"tcp://{host}:5561"
    assert Metrics(host=host.strip("[]"), tls=TLS).host == host.strip("[]")


@pytest.mark.parametrize("host", ["*", "eth0", "example.org", "127.0.0.1@192.168.1.4"])
def test_a_name_is_no_address_to_listen_on(host: str) -> None:
    with pytest.raises(ValidationError, match="no IP address"):
        Verdicts(endpoint=f"tcp://{host}:5561", curve=CURVE)
    with pytest.raises(ValidationError, match="no IP address"):
        Metrics(host=host, tls=TLS)


def test_a_mistake_in_the_keys_is_the_only_one_that_is_told() -> None:
    with pytest.raises(ValidationError) as error:
        Verdicts(endpoint="tcp://0.0.0.0:5561", curve={"secret_key": "k"})  # type: ignore[arg-type]
    assert [item["loc"] for item in error.value.errors()] == [("curve", "clients")]


@pytest.mark.parametrize("station", ["", "-a", ".", "../x", "a/b", "a b", "a\n", "x" * 65, "é"])
def test_station_is_a_plain_name(station: str) -> None:
    # It becomes a label and part of a path.
    with pytest.raises(ValidationError, match="should match pattern"):
        InspectorConfig(station=station, recipe="r", camera={"kind": "folder", "path": "p"})  # type: ignore[arg-type]


def test_configuration_survives_the_way_to_the_children() -> None:
    camera = {"kind": "genicam", "serial": "1", "features": [{"name": "Gain", "value": 2.5}]}
    config = InspectorConfig.model_validate({"station": "s", "recipe": "/r", "camera": camera})
    assert InspectorConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(("device", "engine"), [("cpu", "openvino"), ("cuda", "cuda")])
def test_the_engine_follows_the_device_unless_it_is_named(device: Any, engine: str) -> None:
    assert Worker(device=device).chosen_engine == engine
    assert Worker(device=device, engine="pytorch").chosen_engine == "pytorch"


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"device": "cuda", "engine": "openvino"}, "take device cpu, or engine cuda"),
        ({"device": "cpu", "engine": "cuda"}, "take device cuda, or engine openvino"),
        ({"device": "cuda", "engine": "pytorch", "precision": "bfloat16"}, "bfloat16 needs engine openvino"),
        ({"engine": "pytorch", "precision": "bfloat16"}, "bfloat16 needs engine openvino"),
        ({"precision": "float16"}, "float16 needs engine cuda on device cuda"),
        ({"device": "cuda", "engine": "pytorch", "precision": "float16"}, "float16 needs engine cuda"),
    ],
)
def test_an_engine_that_can_not_do_it_is_refused(settings: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ValidationError, match=remedy):
        Worker(**settings)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_computes_in_every_precision(precision: Any) -> None:
    assert Worker(device="cuda", precision=precision).precision == precision
