"""The CUDA engine on a GPU: what the double can't say, and all that it says once more."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inspector.benchmark.line import measure_line
from inspector.cameras.bayer import demosaiced
from inspector.config.schema import Worker
from inspector.domain.errors import EngineError
from inspector.domain.frame import Mosaic, PixelFormat
from inspector.domain.precision import Precision
from inspector.engines.cuda import CudaEngine
from inspector.engines.cuda_device import CudaDevice
from inspector.models.branches import in_turn, set_branches
from inspector.models.demosaic import demosaic
from inspector.models.preprocess import Preprocess
from inspector.models.tiled import Tiled
from inspector.recipe.manifest import Normalisation
from inspector.recipe.store import load_recipe
from inspector.roles.engine import create_engine
from inspector.wire.ring import Ring, close_ring, create_ring

from ...detectors import RECORDS, built
from .cuda_cases import PARTS, SHAPE, WHOLE, engine_of, frames, mosaics, plain_scores, scores_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

TOLERANCES: dict[Precision, float] = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}


@pytest.mark.parametrize("shape", [SHAPE, None], ids=["sizes known", "sizes open"])
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("name", RECORDS)
def test_every_detector_has_the_scores_of_the_cpu(
    name: str, precision: Precision, shape: tuple[int, ...] | None
) -> None:
    network = built(name, (64, 64))
    expected = plain_scores(network, frames(5))
    engine = engine_of(network, CudaDevice(), precision=precision, shape=shape, max_batch=5)
    for batch in range(1, 6):
        found = scores_of(engine, frames(5)[:batch])
        assert found == pytest.approx(expected[:batch], rel=TOLERANCES[precision])


def test_tiles_and_colours() -> None:
    network = Tiled(built("mb-pfm", (64, 64)), PARTS)
    coloured = frames(3, (*SHAPE, 3))
    engine = engine_of(network, CudaDevice(), geometry=PARTS, shape=(*SHAPE, 3), max_batch=3)
    assert scores_of(engine, coloured) == pytest.approx(plain_scores(network, coloured, PARTS), rel=1e-3)


@pytest.mark.parametrize("shape", [(*SHAPE, 3), None], ids=["sizes known", "sizes open"])
def test_raw_frames_have_the_scores_of_the_pictures_that_opencv_makes(shape: tuple[int, ...] | None) -> None:
    network = Tiled(built("mb-pfm", (64, 64)), PARTS)
    raw = mosaics(5)
    pictures = [demosaiced(mosaic) for mosaic in raw]
    engine = engine_of(network, CudaDevice(), geometry=PARTS, shape=shape, max_batch=5)
    engine.warm_up(pictures[0])
    for batch in range(1, 6):
        expected = scores_of(engine, pictures[:batch])
        assert scores_of(engine, raw[:batch]) == pytest.approx(expected, rel=1e-6)
    assert scores_of(engine, [pictures[0], raw[1], *pictures[2:]]) == pytest.approx(expected, rel=1e-6)
    assert expected == pytest.approx(plain_scores(network, pictures, PARTS), rel=1e-3)


@pytest.mark.parametrize("shape", [(33, 47), (1080, 1920), (2048, 2448)])
def test_the_colours_of_raw_frames_are_opencvs_to_the_bit(shape: tuple[int, int]) -> None:
    formats = [one for one in PixelFormat if one.red is not None]
    raw = np.random.default_rng(6).integers(0, 256, (4, *shape), np.uint8)
    made = demosaic(torch.from_numpy(raw).cuda(), torch.tensor(formats, dtype=torch.uint8).cuda()).cpu().numpy()
    for picture, pixels, pixel_format in zip(made, raw, formats, strict=True):
        assert np.array_equal(picture, demosaiced(Mosaic(pixels, pixel_format)))


def test_branches_on_streams_of_their_own_give_what_one_stream_gives() -> None:
    network = built("mb-pfm", (64, 64))
    forked = engine_of(network, CudaDevice(), precision="float16", max_batch=4)
    expected = scores_of(forked, frames(4))
    device = CudaDevice()
    device.in_branches = in_turn  # type: ignore[method-assign]
    straight = engine_of(network, device, precision="float16", max_batch=4)
    assert expected == pytest.approx(scores_of(straight, frames(4)), rel=1e-3)
    for _ in range(200):  # a race would show in one of them
        assert scores_of(forked, frames(4)) == pytest.approx(expected, rel=1e-6)
    set_branches(network, in_turn)


def test_batches_that_overlap_keep_their_own_scores_and_memory_does_not_grow() -> None:
    network = built("pfm", (64, 64))
    handle = create_ring(24, SHAPE[0] * SHAPE[1], allocate=True)
    try:
        ring = Ring(handle)
        pictures = frames(40)
        expected = plain_scores(network, pictures)
        engine = engine_of(network, CudaDevice(), max_batch=8)
        engine.register(ring.pixels)
        assert torch.from_numpy(ring.slot(3, 6300)).is_pinned()
        engine.warm_up(pictures[0])
        rng = np.random.default_rng(5)
        flight: deque[tuple[list[int], list[np.ndarray], object]] = deque()
        free = [ring.slot(number, SHAPE[0] * SHAPE[1]).reshape(SHAPE) for number in range(24)]
        allocated = torch.cuda.memory_allocated()
        for turn in range(400):
            numbers = rng.integers(0, 40, rng.integers(1, 9)).tolist()
            slots = [free.pop() for _ in numbers]
            for slot, number in zip(slots, numbers, strict=True):
                slot[:] = pictures[number]
            flight.append((numbers, slots, engine.submit(slots)))
            if len(flight) == engine.depth or turn % 7 == 0:
                numbers, slots, ticket = flight.popleft()
                found = [scored.score for scored in engine.collect(ticket)]  # type: ignore[arg-type]
                assert found == pytest.approx([expected[number] for number in numbers], rel=1e-3)
                for slot in slots:
                    slot[:] = 255  # released: written over at once
                free += slots
        while flight:
            engine.collect(flight.popleft()[2])  # type: ignore[arg-type]
        assert torch.cuda.memory_allocated() == allocated
    finally:
        close_ring(handle)


def test_dark_frames_are_numbers_in_float16() -> None:
    # Features that are all 0 have a norm of 0, which float16 can't tell from the smallest norm of a unit vector.
    engine = engine_of(built("mb-pfm", (64, 64)), CudaDevice(), precision="float16", max_batch=2)
    found = scores_of(engine, [np.zeros(SHAPE, np.uint8), np.full(SHAPE, 255, np.uint8)])
    assert all(math.isfinite(score) for score in found)


class Sum(nn.Module):
    def forward(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (parts[0].mean(dim=(1, 2, 3)),)


def around(body: nn.Module) -> CudaEngine:
    preprocess = Preprocess(WHOLE, Normalisation())
    return CudaEngine(preprocess, body, Sum(), device=CudaDevice(), input_px=(64, 64), frame_shape=SHAPE, max_batch=2)


class Broken(nn.Module):
    """0 / 0 in black images."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        lightness = (images + 1.0).relu()
        return (lightness / lightness.amax(dim=(1, 2, 3), keepdim=True),)


def test_nan_stays_nan() -> None:
    found = scores_of(around(Broken()), [frames(1)[0], np.zeros(SHAPE, np.uint8)])
    assert [math.isnan(score) for score in found] == [False, True]


class Huge(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (images.new_zeros(1 << 45) + images.sum(),)


def test_a_network_that_needs_too_much_memory_says_what_to_lower() -> None:
    with pytest.raises(EngineError, match=r"out of memory on the GPU .* worker\.max_batch"):
        around(Huge())


FAULTY = """
import numpy as np, torch
from torch import nn
from inspector.domain.errors import EngineError
from tests_of_the_engine import around, SHAPE

class Outside(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("places", torch.zeros(1, dtype=torch.int64))
    def forward(self, images):
        return (images[:, :, self.places],)

class Waiting(nn.Module):
    def forward(self, images):
        return (images * images.amax().item(),)
"""


def run_apart(program: str, tmp_path: Path) -> str:
    """A program of its own: after an error of the device nothing of its process can use the GPU any more."""
    package = tmp_path / "tests_of_the_engine.py"
    package.write_text(
        "from torch import nn\n"
        "from inspector.engines.cuda import CudaEngine\n"
        "from inspector.engines.cuda_device import CudaDevice\n"
        "from inspector.models.preprocess import Preprocess\n"
        "from inspector.recipe.manifest import Geometry, Normalisation\n"
        "SHAPE = (70, 90)\n"
        "class Sum(nn.Module):\n"
        "    def forward(self, parts):\n"
        "        return (parts[0].mean(dim=(1, 2, 3)),)\n"
        "def around(body):\n"
        "    preprocess = Preprocess(Geometry(width_px=64, height_px=64), Normalisation())\n"
        "    return CudaEngine(preprocess, body, Sum(), device=CudaDevice(), input_px=(64, 64), frame_shape=SHAPE)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", FAULTY + program],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout + done.stderr


def test_an_error_on_the_device_is_the_end_of_the_process(tmp_path: Path) -> None:
    told = run_apart(
        """
body = Outside()
engine = around(body)
engine.warm_up(np.zeros(SHAPE, np.uint8))
body.places.fill_(1 << 20)
torch.cuda.synchronize()
try:
    engine.infer([np.zeros(SHAPE, np.uint8)])
except EngineError as error:
    print("ended:", error)
""",
        tmp_path,
    )
    assert "ended: the GPU failed while computing a batch" in told


def test_a_network_that_can_not_be_captured_ends_with_the_way_out(tmp_path: Path) -> None:
    told = run_apart(
        """
try:
    around(Waiting())
except EngineError as error:
    print("ended:", error)
""",
        tmp_path,
    )
    assert "ended: the GPU failed while capturing the network" in told
    assert "set worker.engine: pytorch" in told


def test_warm_up_learns_how_long_a_batch_takes() -> None:
    engine = engine_of(built("mb-pfm", (64, 64)), CudaDevice(), precision="float16", max_batch=4)
    golden = frames(1)[0]
    score = engine.warm_up(golden)
    begun_ns = time.monotonic_ns()
    scored = engine.infer([golden])[0]
    ended_ns = time.monotonic_ns()
    assert scored.score == pytest.approx(score, rel=1e-5)
    assert begun_ns < scored.copied_ns < scored.computed_ns <= ended_ns
    assert 0 < engine.device_ms <= (ended_ns - begun_ns) / 1e6
    assert 0 < engine.expected_ns(1) <= engine.expected_ns(4)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_recipe_proves_itself_on_the_gpu(precision: Precision, random_recipe: Path) -> None:
    recipe = load_recipe(random_recipe)
    engine = create_engine(Worker(device="cuda", precision=precision, max_batch=4), recipe)
    assert isinstance(engine, CudaEngine)


@pytest.mark.process
def test_the_line_judges_every_part_on_the_gpu(random_recipe: Path) -> None:
    worker = Worker(device="cuda", max_batch=8, allow_random_weights=True)
    run = measure_line(random_recipe, worker, offered=240.0, parts=480, frame_px=64, deadline_ms=2000)
    assert run.parts == run.judged == 480
