"""The engine gives every frame the score that it would have alone, and names the errors that end a process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inspector.cameras.bayer import demosaiced
from inspector.domain.errors import EngineError
from inspector.domain.frame import Mosaic, PixelFormat
from inspector.engines.eager import EagerEngine
from inspector.models.backbones import build_backbone
from inspector.models.network import InspectionNetwork, build_network
from inspector.models.preprocess import Preprocess
from inspector.recipe.manifest import Geometry, Normalisation


def frames(count: int, height: int = 70, width: int = 90) -> list[np.ndarray]:
    rng = np.random.default_rng(8)
    return [rng.integers(0, 256, (height, width), dtype=np.uint8) for _ in range(count)]


def preprocess() -> Preprocess:
    return Preprocess(Geometry(width_px=64, height_px=64), Normalisation())


def network() -> InspectionNetwork:
    torch.manual_seed(41)
    backbones = build_backbone("resnet_synth"), build_backbone("vovnet_synth")
    return build_network(*backbones, latents=(6, 8, 10), input_px=(64, 64)).eval()


class Recording(nn.Module):
    """Stands for the network: the score of an image is its mean, and the batch sizes are noted."""

    def __init__(self, fault: Callable[[Tensor], None] = lambda images: None) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.fault = fault

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        self.batches.append(len(images))
        self.fault(images)
        return (images.mean(dim=(1, 2, 3)),)


@pytest.mark.parametrize("batch", [2, 3, 5])
def test_frame_of_a_batch_has_the_score_that_it_has_alone(batch: int) -> None:
    engine = EagerEngine(preprocess(), network(), max_batch=batch)
    together = [scored.score for scored in engine.infer(frames(batch))]
    alone = [engine.infer([frame])[0].score for frame in frames(batch)]
    assert together == pytest.approx(alone, rel=1e-5, abs=1e-5)
    assert len({round(score, 6) for score in alone}) == batch
    assert all(isinstance(score, float) for score in together)


def test_scores_come_in_the_order_of_the_frames() -> None:
    engine = EagerEngine(preprocess(), Recording(), max_batch=4)
    greys = [np.full((64, 64), grey, np.uint8) for grey in (200, 10, 90, 250)]
    scores = [scored.score for scored in engine.infer(greys)]
    assert sorted(range(4), key=scores.__getitem__) == [1, 2, 0, 3]


def test_frames_of_a_batch_may_differ_in_size_and_colour() -> None:
    engine = EagerEngine(preprocess(), network(), max_batch=3)
    mixed = [frames(1)[0], frames(1, 64, 64)[0], np.stack(frames(3), axis=-1)]
    scores = [scored.score for scored in engine.infer(mixed)]
    assert scores == pytest.approx([engine.infer([frame])[0].score for frame in mixed], rel=1e-5, abs=1e-5)


def test_warm_up_runs_every_batch_size_and_gives_the_golden_score() -> None:
    recording = Recording()
    engine = EagerEngine(preprocess(), recording, max_batch=4)
    golden = frames(1)[0]
    score = engine.warm_up(golden)
    assert set(recording.batches) == {1, 2, 3, 4}
    assert score == engine.infer([golden])[0].score


def test_times_enclose_the_computation() -> None:
    clock: Iterator[int] = iter(range(100, 1000, 10))
    seen: list[int] = []
    engine = EagerEngine(preprocess(), Recording(lambda images: seen.append(next(clock))), clock_ns=lambda: next(clock))
    (scored,) = engine.infer(frames(1))
    assert scored.copied_ns < seen[0] < scored.computed_ns


def test_score_that_is_no_number_passes_through() -> None:
    # What becomes of it is the gate's decision: it never passes.
    def spoil(images: Tensor) -> None:
        images[1] = math.nan
        images[2] = math.inf

    scores = [s.score for s in EagerEngine(preprocess(), Recording(spoil), max_batch=3).infer(frames(3))]
    assert math.isfinite(scores[0])
    assert math.isnan(scores[1])
    assert scores[2] == math.inf


def test_nothing_is_kept_for_a_gradient() -> None:
    needed: list[bool] = []
    trainable = network().train().requires_grad_(True)
    trainable.register_forward_hook(lambda _module, _inputs, output: needed.append(output.scores.requires_grad))
    EagerEngine(preprocess(), trainable).infer(frames(1))
    assert needed == [False]


def test_a_raw_frame_has_the_score_of_its_picture() -> None:
    raw = [Mosaic(frames(2)[0], PixelFormat.BAYER_GB8), Mosaic(frames(2)[1], PixelFormat.BAYER_RG8)]
    engine = EagerEngine(preprocess(), network(), max_batch=2)
    pictures = engine.infer([demosaiced(mosaic) for mosaic in raw])
    assert [scored.score for scored in engine.infer(raw)] == [scored.score for scored in pictures]
    grey = engine.infer(frames(2))
    assert all(abs(a.score - b.score) > 1e-3 * abs(b.score) for a, b in zip(grey, pictures, strict=True))


def test_frames_are_not_changed() -> None:
    given = frames(2)
    EagerEngine(preprocess(), network(), max_batch=2).infer(given)
    assert all(np.array_equal(a, b) for a, b in zip(given, frames(2), strict=True))


def test_error_on_the_cpu_costs_one_part_only() -> None:
    # The worker counts it and goes on: it is not the kind of error that needs a new process.
    def fail(images: Tensor) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        EagerEngine(preprocess(), Recording(fail)).infer(frames(1))


def test_out_of_memory_ends_the_process() -> None:
    def fail(images: Tensor) -> None:
        raise torch.cuda.OutOfMemoryError("tried to allocate 2 GiB")

    with pytest.raises(EngineError, match="out of memory on cpu: tried to allocate"):
        EagerEngine(preprocess(), Recording(fail)).infer(frames(1))


def test_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"set worker\.device: cpu"):
        EagerEngine(preprocess(), network(), device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_device_gives_the_scores_of_the_cpu() -> None:
    expected = [scored.score for scored in EagerEngine(preprocess(), network(), max_batch=4).infer(frames(4))]
    engine = EagerEngine(preprocess(), network(), device="cuda", max_batch=4)
    engine.warm_up(frames(1)[0])
    assert [scored.score for scored in engine.infer(frames(4))] == pytest.approx(expected, rel=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_error_on_a_cuda_device_ends_the_process() -> None:
    # CUDA errors are sticky: every further call of the process would fail too.
    def fail(images: Tensor) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(EngineError, match="error on cuda: CUDA error"):
        EagerEngine(preprocess(), Recording(fail), device="cuda").infer(frames(1))
