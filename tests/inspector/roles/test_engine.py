"""An engine is trusted when it has given the golden frame the recipe's score."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
import torch

from inspector.config.schema import Worker
from inspector.domain.errors import EngineError
from inspector.domain.precision import Precision
from inspector.engines.cuda import CudaEngine
from inspector.engines.eager import EagerEngine
from inspector.engines.openvino_cpu import OpenVinoEngine
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles import cuda_engine
from inspector.roles.engine import create_engine

from ...cuda_double import HostDevice


def with_score(recipe: Recipe, factor: float) -> Recipe:
    golden = recipe.manifest.golden.model_copy(update={"score": recipe.manifest.golden.score * factor})
    return dataclasses.replace(recipe, manifest=recipe.manifest.model_copy(update={"golden": golden}))


@pytest.mark.parametrize("name", ["pytorch", "openvino"])
def test_the_engine_must_reproduce_the_golden_score(random_recipe: Path, name: Literal["pytorch", "openvino"]) -> None:
    recipe = load_recipe(random_recipe)
    settings = Worker(engine=name, threads=1, max_batch=2)
    engine = create_engine(settings, recipe)
    assert isinstance(engine, OpenVinoEngine if name == "openvino" else EagerEngine)
    assert engine.infer([recipe.golden_frame()])[0].score == pytest.approx(recipe.manifest.golden.score, rel=1e-4)
    with pytest.raises(EngineError, match="golden frame"):
        create_engine(settings, with_score(recipe, 1.05))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_on_a_gpu_the_cuda_engine_must_reproduce_it_too(
    precision: Precision, random_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_engine, "CudaDevice", HostDevice)
    recipe = load_recipe(random_recipe)
    settings = Worker(device="cuda", precision=precision, threads=1, max_batch=2)
    engine = create_engine(settings, recipe)
    assert isinstance(engine, CudaEngine)
    assert engine.infer([recipe.golden_frame()])[0].score == pytest.approx(recipe.manifest.golden.score, rel=1e-2)
    with pytest.raises(EngineError, match="golden frame"):
        create_engine(settings, with_score(recipe, 1.05))


def test_without_a_gpu_the_cuda_engine_says_so(random_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"PyTorch finds no CUDA device; set worker\.device: cpu"):
        create_engine(Worker(device="cuda", precision="float16"), load_recipe(random_recipe))
