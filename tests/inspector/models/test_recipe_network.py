"""A network comes back from its recipe as it went in, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from inspector.domain.errors import RecipeError
from inspector.engines.eager import EagerEngine
from inspector.models.backbones import build_backbone
from inspector.models.network import InspectionNetwork, build_network
from inspector.models.preprocess import Preprocess
from inspector.models.recipe_network import load_network, network_tensors, pack_weights
from inspector.recipe.store import CONTENT, GOLDEN_FRAME, MANIFEST, SCORES, WEIGHTS, Recipe, load_recipe

PAIR = ("resnet_synth", "vovnet_synth")


def network(source: str = PAIR[0], target: str = PAIR[1], **settings: object) -> InspectionNetwork:
    """A network none of whose statistics is what a fresh one has."""
    torch.manual_seed(31)
    shape = {"latents": (6, 8, 10), "input_px": (64, 96)} | settings
    built = build_network(build_backbone(source), build_backbone(target), **shape)  # type: ignore[arg-type]
    for name, tensor in built.state_dict().items():
        if name.endswith("running_mean"):
            tensor.uniform_(-0.2, 0.2)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return built.eval()


def images() -> Tensor:
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(5))


def rewritten(recipe: Recipe, change: Callable[[dict[str, Tensor]], None]) -> Recipe:
    """The recipe with other tensors and a content hash that fits them."""
    tensors = load(recipe.weights_path.read_bytes())
    change(tensors)
    recipe.weights_path.write_bytes(save(tensors))
    lines = [
        f"{hashlib.sha256((recipe.folder / name).read_bytes()).hexdigest()}  {name}\n" for name in (MANIFEST, WEIGHTS)
    ]
    (recipe.folder / CONTENT).write_text("".join(lines), encoding="ascii")
    return load_recipe(recipe.folder)


@pytest.mark.parametrize(
    ("pair", "settings"),
    [
        (PAIR, {}),
        (PAIR, {"position": "add"}),
        (PAIR, {"position": "concat", "levels": (1, 3), "latents": (6, 10)}),
        (PAIR, {"levels": (2,), "latents": (8,)}),
        (("resnet18", "squeezenet1_1"), {}),
    ],
)
def test_scores_are_the_same_after_the_way_through_a_recipe(
    write: Callable[..., Recipe], pair: tuple[str, str], settings: dict[str, object]
) -> None:
    sent = network(*pair, **settings)
    recipe = write(sent, *pair)
    received = load_network(load_recipe(recipe.folder))
    assert not received.training
    assert not any(parameter.requires_grad for parameter in received.parameters())
    with torch.inference_mode():
        expected, found = sent(images()), received(images())
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.anomaly_maps, expected.anomaly_maps)


def test_mobilenet_can_be_kept_in_a_recipe(write: Callable[..., Recipe]) -> None:
    # Its taps belong to two stages, so its tensors have two names; the file format refused shared memory, and a
    # calibration with it failed at its very end.
    sent = network("mobilenet_v2", "squeezenet1_1")
    received = load_network(write(sent, "mobilenet_v2", "squeezenet1_1"))
    with torch.inference_mode():
        assert torch.equal(received(images()).scores, sent(images()).scores)


@pytest.mark.parametrize("position", ["none", "add", "concat"])
def test_line_gives_the_scores_of_the_calibration(write: Callable[..., Recipe], position: str) -> None:
    sent = network(position=position)
    recipe = write(sent, *PAIR)
    preprocess = Preprocess(recipe.manifest.geometry, recipe.manifest.normalisation)
    rng = torch.Generator().manual_seed(6)
    frames = [torch.randint(0, 256, (80, 110, 3), dtype=torch.uint8, generator=rng) for _ in range(3)]
    with torch.inference_mode():
        expected = sent(torch.cat([preprocess(frame) for frame in frames])).scores
    engine = EagerEngine(preprocess, load_network(recipe), max_batch=3)
    found = torch.tensor([scored.score for scored in engine.infer([frame.numpy() for frame in frames])])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_tensors_are_named_apart_from_the_rest(write: Callable[..., Recipe]) -> None:
    built = network()
    assert all(name.startswith("network.") for name in network_tensors(built))
    frame = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    tensors = load(pack_weights(built, torch.tensor([0.5, 0.25]), frame))
    assert tensors[SCORES].dtype == torch.float64
    assert torch.equal(tensors[GOLDEN_FRAME], frame)
    assert set(tensors) == {*network_tensors(built), SCORES, GOLDEN_FRAME}
    assert not any(name.endswith("num_batches_tracked") for name in tensors)


def test_packing_leaves_the_network_alone() -> None:
    built = network()
    for tensor in network_tensors(built).values():
        tensor.zero_()
    assert next(built.parameters()).abs().sum() > 0


def test_network_in_another_memory_order_is_packed_alike() -> None:
    scores, frame = torch.zeros(1), torch.zeros(2, 2, dtype=torch.uint8)
    plain = pack_weights(network(), scores, frame)
    assert pack_weights(network().to(memory_format=torch.channels_last), scores, frame) == plain


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents": (6, 8, 12)}, "tensors don't fit the manifest"),
        ({"levels": (1, 2), "latents": (6, 8)}, "tensors don't fit the manifest, first mapping.hierarchies.2"),
        ({"position": "concat"}, "tensors don't fit the manifest"),
        (
            {"source": {"name": "resnet9000", "weights": "imagenet", "sha256": "0" * 64}},
            "this version knows no backbone 'resnet9000'",
        ),
    ],
)
def test_manifest_of_another_network_is_refused(
    write: Callable[..., Recipe], changes: dict[str, object], message: str
) -> None:
    recipe = write(network(), *PAIR, **changes)
    with pytest.raises(RecipeError, match=message):
        load_network(recipe)


def test_missing_surplus_and_misshapen_tensors_are_refused(write: Callable[..., Recipe]) -> None:
    recipe = write(network(), *PAIR)
    name = "network.mapping.hierarchies.0.shared.layer3.bias"
    good = load(recipe.weights_path.read_bytes())[name]
    with pytest.raises(RecipeError, match=r"1 tensors don't fit the manifest, first mapping\.hierarchies\.0\.shared"):
        load_network(rewritten(recipe, lambda tensors: tensors.pop(name)))
    with pytest.raises(RecipeError, match=r"1 tensors don't fit the manifest, first surplus"):
        load_network(rewritten(recipe, lambda tensors: tensors.update({name: good, "network.surplus": good.clone()})))

    def misshape(tensors: dict[str, Tensor]) -> None:
        del tensors["network.surplus"]
        tensors[name] = good[:-1]

    with pytest.raises(RecipeError, match="size mismatch"):
        load_network(rewritten(recipe, misshape))


def test_file_that_is_no_tensor_file_is_refused(write: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = write(network(), *PAIR)
    recipe.weights_path.write_bytes(b"none")
    with pytest.raises(RecipeError, match=f"{WEIGHTS}: can't be read"):
        load_network(recipe)
