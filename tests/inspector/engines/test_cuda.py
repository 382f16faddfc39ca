"""The CUDA engine's own code, run without a GPU: every detector's scores, in every order that the device may take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from inspector.cameras.bayer import demosaiced
from inspector.domain.errors import EngineError
from inspector.domain.frame import Frame, Mosaic, PixelFormat, pixels_of
from inspector.domain.precision import Precision
from inspector.engines.base import PipelinedEngine
from inspector.engines.cuda import CudaEngine
from inspector.engines.cuda_device import CudaDevice
from inspector.models.preprocess import Preprocess
from inspector.models.tiled import Tiled
from inspector.recipe.manifest import Normalisation

from ...cuda_double import HostDevice
from ...detectors import RECORDS, built
from .cuda_cases import PARTS, SHAPE, WHOLE, engine_of, frames, mosaics, plain_scores, scores_of


@pytest.mark.parametrize("shape", [SHAPE, None], ids=["sizes known", "sizes open"])
@pytest.mark.parametrize("name", RECORDS)
def test_scores_of_every_detector_and_batch_size_are_the_plain_engines(
    name: str, shape: tuple[int, ...] | None
) -> None:
    network = built(name, (64, 64))
    expected = plain_scores(network, frames(5))
    engine = engine_of(network, HostDevice(), shape=shape, max_batch=5)
    for batch in range(1, 6):
        assert scores_of(engine, frames(5)[:batch]) == pytest.approx(expected[:batch], rel=1e-3)
    assert len({round(score, 6) for score in expected}) == 5


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", RECORDS)
def test_half_precision_is_used_for_the_body_alone(name: str, precision: Precision) -> None:
    network = built(name, (64, 64))
    expected = plain_scores(network, frames(2))
    engine = engine_of(network, HostDevice(), precision=precision, max_batch=2)
    found = scores_of(engine, frames(2))
    assert found == pytest.approx(expected, rel=0.05 if precision == "bfloat16" else 0.01)
    assert found != pytest.approx(expected, rel=1e-7)
    for score in found:  # one formed in half precision would be a multiple of 2**-11 of its power of two
        mantissa, _ = math.frexp(score)
        assert mantissa * 2**11 != round(mantissa * 2**11)


def test_tiles_and_colours() -> None:
    network = Tiled(built("mb-pfm", (64, 64)), PARTS)
    coloured = frames(3, (*SHAPE, 3))
    engine = engine_of(network, HostDevice(), geometry=PARTS, shape=(*SHAPE, 3), max_batch=3)
    assert scores_of(engine, coloured) == pytest.approx(plain_scores(network, coloured, PARTS), rel=1e-3)


def test_frames_of_open_size_may_differ() -> None:
    network = built("mb-pfm", (64, 64))
    mixed = [frames(1)[0], frames(1, (64, 64))[0], frames(1, (80, 70, 3))[0]]
    engine = engine_of(network, HostDevice(), shape=None)
    assert scores_of(engine, mixed) == pytest.approx(plain_scores(network, mixed), rel=1e-3)


@pytest.mark.parametrize("shape", [(*SHAPE, 3), None], ids=["sizes known", "sizes open"])
def test_a_raw_frame_has_the_score_of_its_picture_to_the_bit(shape: tuple[int, ...] | None) -> None:
    network = Tiled(built("mb-pfm", (64, 64)), PARTS)
    raw = mosaics(5)
    pictures = [demosaiced(mosaic) for mosaic in raw]
    engine = engine_of(network, HostDevice(), geometry=PARTS, shape=shape, max_batch=5)
    expected = [scores_of(engine, pictures[:batch]) for batch in range(1, 6)]
    assert [scores_of(engine, raw[:batch]) for batch in range(1, 6)] == expected
    assert scores_of(engine, [pictures[0], raw[1], pictures[2], raw[3], raw[4]]) == expected[4]
    assert expected[4] == pytest.approx(plain_scores(network, pictures, PARTS), rel=1e-3)


class Mean(nn.Module):
    """Stands for a body: cheap, each image's row is its own, and NaN stays NaN."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images.mean(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3)))


class Sum(nn.Module):
    def forward(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (parts[0] + parts[1],)


def cheap(device: Any, *, shape: tuple[int, ...] | None = SHAPE, max_batch: int = 4, body: Any = None) -> CudaEngine:
    preprocess = Preprocess(WHOLE, Normalisation())
    return CudaEngine(
        preprocess, body or Mean(), Sum(), device=device, input_px=(64, 64), frame_shape=shape, max_batch=max_batch
    )


def cheap_score(frame: np.ndarray) -> float:
    image = Preprocess(WHOLE, Normalisation())(torch.from_numpy(frame))
    return float(image.mean() + image.amax())


POOL = frames(12)
EXPECTED = [cheap_score(frame) for frame in POOL]


@settings(max_examples=60)
@given(data=st.data(), shape=st.sampled_from([SHAPE, None]), registered=st.booleans())
def test_whatever_order_the_device_takes_each_frame_has_its_own_score(
    data: st.DataObject, shape: tuple[int, ...] | None, registered: bool
) -> None:
    device = HostDevice(lambda lanes: data.draw(st.integers(0, lanes - 1), "lane"))
    engine = cheap(device, shape=shape)
    ring = np.zeros((12, *SHAPE), np.uint8)
    if registered:
        engine.register(ring)
    waiting, flight = list(range(12)), []
    while waiting or flight:
        full = len(flight) == engine.depth
        if waiting and not full and (not flight or data.draw(st.booleans(), "submit")):
            batch = waiting[: data.draw(st.integers(1, 4), "batch")]
            del waiting[: len(batch)]
            for number in batch:
                ring[number] = POOL[number]
            given = [ring[number] if registered else POOL[number] for number in batch]
            flight.append((batch, engine.submit(given)))
            continue
        batch, ticket = flight.pop(data.draw(st.integers(0, len(flight) - 1), "which"))
        found = [scored.score for scored in engine.collect(ticket)]
        assert found == pytest.approx([EXPECTED[number] for number in batch], rel=1e-5)
        for number in batch:  # released: the camera may write over it
            ring[number] = 255


RAW = mosaics(6)
COLOURED: list[Frame] = [*RAW, *frames(6, (*SHAPE, 3))]
EXPECTED_COLOURED = [cheap_score(demosaiced(frame)) for frame in COLOURED]


@settings(max_examples=60)
@given(data=st.data(), shape=st.sampled_from([(*SHAPE, 3), None]), registered=st.booleans())
def test_raw_frames_among_pictures_keep_their_own_scores_too(
    data: st.DataObject, shape: tuple[int, ...] | None, registered: bool
) -> None:
    """As where cameras share a worker."""
    device = HostDevice(lambda lanes: data.draw(st.integers(0, lanes - 1), "lane"))
    engine = cheap(device, shape=shape)
    ring = np.zeros((12, 3 * SHAPE[0] * SHAPE[1]), np.uint8)
    if registered:
        engine.register(ring)
    waiting = data.draw(st.permutations(range(12)), "order")
    flight: list[tuple[list[int], Any]] = []
    while waiting or flight:
        if waiting and len(flight) < engine.depth and (not flight or data.draw(st.booleans(), "submit")):
            batch, waiting = waiting[:3], waiting[3:]
            given = []
            for number in batch:
                frame = COLOURED[number]
                ring[number, : pixels_of(frame).size] = pixels_of(frame).reshape(-1)
                values = ring[number, : pixels_of(frame).size].reshape(frame.shape)
                given.append(PixelFormat.of(frame).frame(values))
            flight.append((batch, engine.submit(given)))
            continue
        batch, ticket = flight.pop(data.draw(st.integers(0, len(flight) - 1), "which"))
        found = [scored.score for scored in engine.collect(ticket)]
        assert found == pytest.approx([EXPECTED_COLOURED[number] for number in batch], rel=1e-5)
        for number in batch:  # released: the camera may write over it
            ring[number] = 255


def test_a_frame_of_registered_memory_is_read_from_where_it_lies() -> None:
    engine = cheap(HostDevice())
    ring = np.zeros((2, *SHAPE), np.uint8)
    engine.register(ring)
    ticket = engine.submit([ring[1]])
    ring[1] = POOL[0]  # the device comes to it only now
    assert engine.collect(ticket)[0].score == pytest.approx(EXPECTED[0])
    elsewhere = POOL[0].copy()
    ticket = engine.submit([elsewhere])
    elsewhere[:] = 0  # copied at once, since nobody promised to leave it
    assert engine.collect(ticket)[0].score == pytest.approx(EXPECTED[0])


def test_rows_that_fill_a_batch_up_are_not_seen() -> None:
    engine = cheap(HostDevice(), shape=None)
    for buffers in engine._buffers:
        assert buffers.images is not None
        buffers.images.fill_(math.nan)
    for _ in range(2):
        assert scores_of(engine, POOL[:3]) == pytest.approx(EXPECTED[:3], rel=1e-5)


class Spoilt(nn.Module):
    """0 / 0 in black images."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        lightness = (images.amax(dim=(1, 2, 3)) + 1.0).relu()
        return (lightness / lightness, lightness)


def test_nan_stays_nan_and_is_nobody_elses() -> None:
    engine = cheap(HostDevice(), body=Spoilt())
    black = np.zeros(SHAPE, np.uint8)
    found = scores_of(engine, [POOL[0], black, POOL[1]])
    assert [math.isnan(score) for score in found] == [False, True, False]
    assert [math.isfinite(score) for score in scores_of(engine, POOL[:3])] == [True, True, True]


def test_both_backbones_and_all_levels_are_branches() -> None:
    device = HostDevice()
    engine_of(built("mb-pfm", (64, 64)), device, max_batch=1)
    assert device.branches == 2 * 2 * 2  # backbones, levels; rehearsal and capture; two sets of buffers


def test_every_size_has_its_graph_and_warm_up_learns_how_long_it_takes() -> None:
    device = HostDevice()
    engine = cheap(device, max_batch=6)
    assert isinstance(engine, PipelinedEngine)
    assert len(device.graphs) == 2 * 4  # 1, 2, 4 and 6 in each set
    assert engine.warm_up(POOL[0]) == pytest.approx(EXPECTED[0])
    assert all(graph.replays > 0 for graph in device.graphs)
    times = [engine.expected_ns(frames) for frames in range(1, 7)]
    assert 0 < times[0] <= times[1] <= times[2] == times[3] <= times[4] == times[5]
    first, second = engine.infer(POOL[:2])
    assert first.copied_ns < first.computed_ns == second.computed_ns
    assert engine.device_ms > 0


@pytest.mark.parametrize("shape", [(*SHAPE, 3), None], ids=["sizes known", "sizes open"])
def test_raw_frames_are_warm_too(shape: tuple[int, ...] | None) -> None:
    device = HostDevice()
    engine = cheap(device, shape=shape, max_batch=6)
    golden = COLOURED[-1]
    assert isinstance(golden, np.ndarray)
    assert engine.warm_up(golden) == pytest.approx(EXPECTED_COLOURED[-1])
    assert len(device.graphs) == 2 * 4 * (1 if shape is None else 2)  # none is captured while parts wait
    assert all(graph.replays > 0 for graph in device.graphs)
    captured = len(device.graphs)
    assert scores_of(engine, RAW) == pytest.approx(EXPECTED_COLOURED[:6])
    assert len(device.graphs) == captured


@pytest.mark.parametrize("prepared", [SHAPE, (64, 64, 3)])
def test_a_raw_frame_is_refused_where_grey_or_another_size_was_prepared_for(prepared: tuple[int, ...]) -> None:
    engine = cheap(HostDevice(), shape=prepared)
    with pytest.raises(ValueError, match=r"a frame of shape \(70, 90\), .* was prepared for"):
        engine.submit(RAW[:1])


def test_grey_pixels_are_no_raw_frame() -> None:
    with pytest.raises(ValueError, match="was prepared for"):
        cheap(HostDevice(), shape=(*SHAPE, 3)).submit([RAW[0].pixels])
    grey = Mosaic(POOL[0], PixelFormat.BAYER_RG8)
    engine = cheap(HostDevice(), shape=None)
    assert scores_of(engine, [grey]) != pytest.approx(scores_of(engine, [POOL[0]]), rel=1e-3)


def test_no_third_batch_is_taken_and_none_is_collected_twice() -> None:
    engine = cheap(HostDevice())
    tickets = [engine.submit(POOL[:1]), engine.submit(POOL[1:2])]
    with pytest.raises(ValueError, match="2 batches are on their way already"):
        engine.submit(POOL[2:3])
    engine.collect(tickets[0])
    with pytest.raises(ValueError, match="collected before"):
        engine.collect(tickets[0])
    assert engine.collect(tickets[1])[0].score == pytest.approx(EXPECTED[1])


def test_a_frame_that_does_not_fit_costs_nobody_else_anything() -> None:
    engine = cheap(HostDevice())
    with pytest.raises(ValueError, match="shape"):
        engine.submit([POOL[0], np.zeros((8, 8), np.uint8)])
    with pytest.raises(ValueError, match="a batch of 5 frames; the engine takes 1 to 4"):
        engine.submit(POOL[:5])
    assert scores_of(engine, POOL[:1]) == pytest.approx(EXPECTED[:1])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered\nmore"), "illegal memory access"),
        (torch.OutOfMemoryError("tried to allocate 2 GiB"), "out of memory on the GPU .* lower worker.max_batch"),
    ],
)
def test_errors_of_the_device_end_the_process(error: Exception, message: str) -> None:
    device = HostDevice()
    engine = cheap(device)

    def fail() -> None:
        raise error

    device.fault = fail
    with pytest.raises(EngineError, match=message) as caught:
        engine.infer(POOL[:1])
    assert "\n" not in str(caught.value)


class Waiting(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        means = images.mean(dim=(1, 2, 3))
        return (means, means * images.amax().item())


def test_a_network_that_can_not_be_captured_ends_with_the_way_out() -> None:
    with pytest.raises(EngineError, match=r"worker\.engine: pytorch to do without .*not permitted when stream is capt"):
        cheap(HostDevice(), body=Waiting())


def test_memory_that_the_device_can_not_read_is_named() -> None:
    device = HostDevice()
    device.refuses_memory = True
    with pytest.raises(EngineError, match="transport: zeromq"):
        cheap(device).register(np.zeros(8, np.uint8))


def test_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"set worker\.device: cpu"):
        CudaDevice()
