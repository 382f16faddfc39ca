"""The compiled engine gives the scores of the plain one, in every precision, for every batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import openvino_telemetry
import pytest
import torch
from torch import Tensor, nn

from inspector.cameras.bayer import demosaiced
from inspector.domain.errors import EngineError
from inspector.domain.frame import Mosaic, PixelFormat
from inspector.engines import openvino_cpu
from inspector.engines.capabilities import cpu_has_bfloat16
from inspector.engines.eager import EagerEngine
from inspector.engines.openvino_cpu import OpenVinoEngine, Precision
from inspector.models.backbones import build_backbone, freeze
from inspector.models.folding import fold_batch_norms
from inspector.models.network import build_network
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation

PRECISIONS = [
    "float32",
    pytest.param("bfloat16", marks=pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU has no bfloat16")),
]


def frames(count: int, height: int = 70, width: int = 90) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.integers(0, 256, (height, width), dtype=np.uint8) for _ in range(count)]


def preprocess() -> Preprocess:
    return Preprocess(Geometry(width_px=64, height_px=64), Normalisation())


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(41)
    backbones = build_backbone("resnet_synth"), build_backbone("vovnet_synth")
    built = build_network(*backbones, latents=(6, 8, 10), position="concat", input_px=(64, 64))
    freeze(built)
    return fold_batch_norms(built)


@pytest.fixture(scope="module", params=PRECISIONS)
def engine(request: pytest.FixtureRequest, network: nn.Module) -> OpenVinoEngine:
    return build(network, request.param, max_batch=3)


def build(network: nn.Module, precision: Precision, max_batch: int = 1) -> OpenVinoEngine:
    body, head = partition(network)
    return OpenVinoEngine(preprocess(), body, head, input_px=(64, 64), precision=precision, max_batch=max_batch)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_scores_are_those_of_the_plain_engine(engine: OpenVinoEngine, network: nn.Module, batch: int) -> None:
    plain = EagerEngine(preprocess(), network, max_batch=batch)
    expected = [scored.score for scored in plain.infer(frames(batch))]
    scores = [scored.score for scored in engine.infer(frames(batch))]
    assert scores == pytest.approx(expected, rel=5e-3)
    assert len({round(score, 5) for score in scores}) == batch


def test_float32_agrees_to_the_rounding(network: nn.Module) -> None:
    plain = EagerEngine(preprocess(), network)
    score = build(network, "float32").infer(frames(1))[0].score
    assert score == pytest.approx(plain.infer(frames(1))[0].score, rel=1e-5)


def test_a_raw_frame_has_the_score_of_its_picture(engine: OpenVinoEngine) -> None:
    raw = [Mosaic(frames(2)[0], PixelFormat.BAYER_GB8), Mosaic(frames(2)[1], PixelFormat.BAYER_RG8)]
    pictures = engine.infer([demosaiced(mosaic) for mosaic in raw])
    assert [scored.score for scored in engine.infer(raw)] == [scored.score for scored in pictures]


def test_bfloat16_is_really_used_and_not_for_the_distances(network: nn.Module) -> None:
    if not cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    exact, rounded = (build(network, precision).infer(frames(1))[0].score for precision in ("float32", "bfloat16"))
    assert exact != rounded
    # A score that had been formed in bfloat16 would be a multiple of 2**-8 of its power of two.
    mantissa, _ = math.frexp(rounded)
    assert mantissa * 2**8 != round(mantissa * 2**8)


def test_warm_up_gives_the_score_of_the_golden_frame_and_times_are_in_order(engine: OpenVinoEngine) -> None:
    golden = frames(1)[0]
    assert engine.warm_up(golden) == engine.infer([golden])[0].score
    first, second = engine.infer([golden, golden])
    assert first.score == pytest.approx(second.score, rel=1e-6)
    assert first.copied_ns < first.computed_ns


def test_results_of_a_batch_do_not_change_when_the_next_one_is_computed(engine: OpenVinoEngine) -> None:
    first, second = frames(2)
    before = engine.infer([first])[0]
    engine.infer([second])
    assert engine.infer([first])[0].score == before.score


def test_nothing_is_reported_over_the_network(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """`openvino.convert_model` sends its use to a server unless somebody opted out on this machine."""

    def report(*args: object, **kwargs: object) -> None:
        raise AssertionError("telemetry")

    monkeypatch.setattr(openvino_telemetry.Telemetry, "__call__", report, raising=False)
    monkeypatch.setattr(openvino_telemetry.Telemetry, "init", report)
    build(network, "float32")


def test_without_bfloat16_the_engine_says_what_to_do(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_cpu, "cpu_has_bfloat16", lambda: False)
    with pytest.raises(EngineError, match="calibrate and run with precision float32"):
        build(network, "bfloat16")


class Unknown(nn.Module):
    """An operation that OpenVINO does not know."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.special.bessel_j1(images),)


def test_a_network_that_can_not_be_compiled_ends_with_the_way_out() -> None:
    def head(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors

    with pytest.raises(EngineError, match=r"worker\.engine: pytorch"):
        OpenVinoEngine(preprocess(), Unknown(), head, input_px=(64, 64))


class Broken(nn.Module):
    """Stands for a network whose arithmetic went wrong: 0 / 0 wherever the image is 0."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images / images,)


def test_nan_stays_nan() -> None:
    def head(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return (tensors[0].amax(dim=(1, 2, 3)),)

    engine = OpenVinoEngine(Black(), Broken(), head, input_px=(64, 64))
    assert math.isnan(engine.infer(frames(1))[0].score)


class Black(nn.Module):
    def forward(self, frame: Tensor) -> Tensor:
        return torch.zeros(1, 3, 64, 64)
