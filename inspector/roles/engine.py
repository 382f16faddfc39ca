"""From a recipe to an engine that has proven itself on the recipe's golden frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from inspector.config.schema import Worker
from inspector.engines.base import Engine
from inspector.engines.eager import EagerEngine
from inspector.models.folding import fold_batch_norms
from inspector.models.partition import partition
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network
from inspector.models.sharing import SharedTensors
from inspector.recipe.geometry import tiles
from inspector.recipe.store import Recipe
from inspector.roles.golden_check import prove


def create_engines(
    settings: Worker, recipes: Sequence[Recipe], clock_ns: Callable[[], int] = time.monotonic_ns
) -> list[Engine]:
    """An engine for each recipe, as `create_engine`; weights that recipes have in common are in memory once.

    Not with engine openvino, which brings weights into a form of its own.
    """
    shared = SharedTensors() if len(recipes) > 1 else None
    return [create_engine(settings, recipe, clock_ns, shared) for recipe in recipes]


def create_engine(
    settings: Worker,
    recipe: Recipe,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    shared: SharedTensors | None = None,
) -> Engine:
    """The engine that the configuration asks for, warmed up and proven on the golden frame.

    Args:
        settings: Device, engine, precision, threads and batch size.
        recipe: Of the same precision.
        clock_ns: Monotonic clock of the stamps on the scores, on the CPU.
        shared: Weights of the process's other engines; None has none.

    Raises:
        EngineError: The engine can't be had here, or the golden frame's score is not the recipe's.
    """
    torch.set_num_threads(settings.threads)
    engine = _build(settings, recipe, clock_ns, shared)
    prove(engine.warm_up(recipe.golden_frame()), recipe.manifest.golden)
    return engine


def _build(settings: Worker, recipe: Recipe, clock_ns: Callable[[], int], shared: SharedTensors | None) -> Engine:
    manifest = recipe.manifest
    preprocess = Preprocess(manifest.geometry, manifest.normalisation, keep_memory=settings.device == "cpu")
    if settings.chosen_engine == "cuda":
        from inspector.roles.cuda_engine import build_cuda_engine

        network = load_network(recipe)
        return build_cuda_engine(preprocess, network, settings.precision, max_batch=settings.max_batch, shared=shared)
    network = fold_batch_norms(load_network(recipe))
    if settings.chosen_engine == "pytorch":
        if shared is not None:
            shared.share(network)
        return EagerEngine(preprocess, network, device=settings.device, max_batch=settings.max_batch, clock_ns=clock_ns)
    from inspector.engines.openvino_cpu import OpenVinoEngine  # a second to load, which others need not wait for

    assert settings.precision != "float16"  # the configuration's own rule
    body, head = partition(network)
    return OpenVinoEngine(
        preprocess,
        body,
        head,
        input_px=manifest.geometry.network_px,
        tiles=len(tiles(manifest.geometry)),
        precision=settings.precision,
        threads=settings.threads,
        max_batch=settings.max_batch,
        clock_ns=clock_ns,
    )
