"""An engine is trusted when it has given the golden frame the recipe's score."""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from inspector.config.schema import Worker
from inspector.domain.errors import EngineError
from inspector.domain.precision import Precision
from inspector.engines.cuda import CudaEngine
from inspector.engines.eager import EagerEngine
from inspector.engines.openvino_cpu import OpenVinoEngine
from inspector.models.sharing import SharedTensors
from inspector.recipe.store import Recipe, load_recipe
from inspector.roles import cuda_engine
from inspector.roles import engine as engine_module
from inspector.roles.engine import create_engine, create_engines

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


@pytest.mark.parametrize("name", ["pytorch", "openvino"])
def test_a_large_frame_takes_no_fresh_memory_from_the_kernel(
    random_recipe: Path, name: Literal["pytorch", "openvino"]
) -> None:
    engine = create_engine(Worker(engine=name, threads=1, max_batch=1), load_recipe(random_recipe))
    frame = np.zeros((3000, 3000), np.uint8)  # 36 MB in float32, more than the allocator ever keeps by itself
    engine.infer([frame])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    engine.infer([frame])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 36_000_000 / resource.getpagesize() / 4


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


def with_other_mappings(recipe: Recipe, folder: Path) -> Recipe:
    """A recipe of the same backbones, its mappings trained on other parts."""
    tensors = load_file(recipe.weights_path)
    for name, tensor in tensors.items():
        if name.startswith("network.mapping."):
            tensors[name] = tensor * 1.5 + 0.01
    folder.mkdir()
    save_file(tensors, folder / recipe.weights_path.name)
    return dataclasses.replace(recipe, folder=folder)


@pytest.mark.parametrize("settings", [Worker(engine="pytorch"), Worker(device="cuda", precision="float16")])
def test_recipes_of_one_process_have_the_same_backbones_in_memory_once(
    settings: Worker, random_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks: list[torch.nn.Module] = []
    share = SharedTensors.share

    def noted(self: SharedTensors, network: torch.nn.Module) -> int:
        networks.append(network)
        return share(self, network)

    monkeypatch.setattr(cuda_engine, "CudaDevice", HostDevice)
    monkeypatch.setattr(SharedTensors, "share", noted)
    monkeypatch.setattr(engine_module, "prove", lambda score, golden: None)  # other mappings, another score
    recipe = load_recipe(random_recipe)
    other = with_other_mappings(recipe, tmp_path / "other")
    settings = settings.model_copy(update={"threads": 1, "max_batch": 1})
    first, second = create_engines(settings, [recipe, other])
    places = [{name: tensor.data_ptr() for name, tensor in network.named_parameters()} for network in networks]
    apart = {name for name in places[0] if places[0][name] != places[1][name]}
    assert apart == {name for name in places[0] if name.startswith("mapping.")}
    assert 0 < len(apart) < len(places[0])
    scores = [engine.infer([recipe.golden_frame()])[0].score for engine in (first, second)]
    assert scores[0] != scores[1]
    alone = [create_engine(settings, each).infer([recipe.golden_frame()])[0].score for each in (recipe, other)]
    assert scores == alone
