"""The bundled pair has the taps that it promises, and weights of another version are refused."""

from __future__ import annotations

import hashlib
import os

import pytest
import torch
from safetensors.torch import save
from torch import nn

from inspector.domain.errors import RecipeError
from inspector.models import bundled
from inspector.models.bundled import build_bundled, bundled_hash, bundled_names, load_bundled


def trained(name: str) -> nn.Module:
    """The architecture with statistics that a fresh one doesn't have."""
    torch.manual_seed(51)
    module = build_bundled(name)
    module(torch.randn(4, 3, 64, 64))  # in train mode: moves the running statistics
    return module.eval()


def shipped(module: nn.Module, half: bool = False, **changes: torch.Tensor) -> bytes:
    state = {key: t for key, t in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    return save({key: tensor.half() if half else tensor for key, tensor in (state | changes).items()})


@pytest.mark.parametrize("name", bundled_names())
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_taps_have_the_promised_channels_and_strides(name: str, height: int, width: int) -> None:
    module = build_bundled(name).eval()
    taps = module(torch.randn(2, 3, height, width))
    assert [tuple(tap.shape) for tap in taps] == [
        (2, channels, height // stride, width // stride)
        for channels, stride in zip(module.channels, module.strides, strict=True)
    ]
    assert all(tap.min() >= 0 for tap in taps)


@pytest.mark.parametrize("name", bundled_names())
def test_network_is_as_small_as_its_description(name: str) -> None:
    module = build_bundled(name).eval()
    parameters = sum(parameter.numel() for parameter in module.parameters())
    products = []
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda conv, _i, output: products.append(output.numel() * conv.weight[0].numel())
            )
    module(torch.zeros(1, 3, 256, 256))
    described = f"{parameters / 1e6:.2f} M parameters, {sum(products) / 1e9:.2f} GMAC at 256 x 256 px"
    assert described in (type(module).__doc__ or "")


@pytest.mark.parametrize("name", bundled_names())
@pytest.mark.parametrize("half", [False, True])
def test_weights_are_taken_from_the_package(name: str, half: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = trained(name)
    data = shipped(sent, half)
    monkeypatch.setattr(bundled, "_weights", {name: data}.__getitem__)
    received = load_bundled(name)
    assert not received.training
    assert not any(parameter.requires_grad for parameter in received.parameters())
    assert {parameter.dtype for parameter in received.parameters()} == {torch.float32}
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for tap, expected in zip(received(images), sent(images), strict=True):
            torch.testing.assert_close(tap, expected, rtol=0, atol=0.05 if half else 0)
    assert bundled_hash(name) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("fault", ["junk", "missing", "surplus", "shape", "other"])
def test_weights_that_do_not_fit_are_refused(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = bundled_names()
    module = trained(source)
    first = next(iter(module.state_dict()))
    state = {key: t for key, t in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    data = {
        "junk": b"no tensors",
        "missing": save({key: tensor for key, tensor in state.items() if key != first}),
        "surplus": shipped(module, surplus=torch.zeros(1)),
        "shape": shipped(module, **{first: torch.zeros(1)}),
        "other": shipped(trained(target)),
    }[fault]
    monkeypatch.setattr(bundled, "_weights", lambda name: data)
    with pytest.raises(RecipeError, match=f"bundled weights of {source} don't fit this version"):
        load_bundled(source)


def test_package_without_the_weights_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "_WEIGHTS_FOLDER", "nowhere")
    for read in (load_bundled, bundled_hash):
        with pytest.raises(RecipeError, match=r"missing from the installed package.*reinstall"):
            read(bundled_names()[0])


def test_unknown_name_is_an_error() -> None:
    for read in (build_bundled, load_bundled, bundled_hash):
        with pytest.raises(KeyError):
            read("resnet18")


@pytest.mark.parametrize("name", bundled_names())
def test_shipped_weights_load_and_see_something(name: str) -> None:
    try:
        module = load_bundled(name)
    except RecipeError as error:
        if os.environ.get("CI") != "true" and isinstance(error.__context__, OSError | None):
            pytest.skip("the bundled weights are not in this checkout")
        raise
    with torch.inference_mode():
        taps = module(torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)))
    for tap in taps:
        assert tap.isfinite().all()
        assert 0.05 < (tap > 0).float().mean() < 0.95
        assert tap.std() > 0.01
