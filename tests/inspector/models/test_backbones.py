"""The taps are torchvision's own feature maps at the layers that the papers name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inspector.models.backbones import (
    TORCHVISION_BACKBONES,
    backbone_names,
    build_backbone,
    freeze,
    torchvision_model,
)
from inspector.models.bundled import bundled_names

#: Where torchvision's model computes each hierarchy, its channels, and its size for an input of 64 px.
TAPS: dict[str, tuple[tuple[str, str, str], tuple[int, int, int], tuple[int, int, int]]] = {
    "resnet18": (("layer1", "layer2", "layer3"), (64, 128, 256), (16, 8, 4)),
    "resnet34": (("layer1", "layer2", "layer3"), (64, 128, 256), (16, 8, 4)),
    "resnet50": (("layer1", "layer2", "layer3"), (256, 512, 1024), (16, 8, 4)),
    "resnet101": (("layer1", "layer2", "layer3"), (256, 512, 1024), (16, 8, 4)),
    "wide_resnet50_2": (("layer1", "layer2", "layer3"), (256, 512, 1024), (16, 8, 4)),
    "vgg16_bn": (("features.22", "features.32", "features.42"), (256, 512, 512), (16, 8, 4)),
    "vgg19_bn": (("features.25", "features.38", "features.51"), (256, 512, 512), (16, 8, 4)),
    "squeezenet1_1": (("features.4", "features.7", "features.12"), (128, 256, 512), (15, 7, 3)),
    "mobilenet_v2": (
        ("features.4.conv.0", "features.7.conv.0", "features.14.conv.0"),
        (144, 192, 576),
        (16, 8, 4),
    ),
}


def test_every_torchvision_backbone_is_tested_here() -> None:
    # resnet152 is resnet101 with more blocks, and too slow for a unit test.
    assert set(TAPS) == set(TORCHVISION_BACKBONES) - {"resnet152"}
    assert backbone_names() == (*bundled_names(), *TORCHVISION_BACKBONES)


@pytest.fixture(autouse=True)
def quick_initialisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG's classifiers take seconds to initialise, and no tap depends on them."""
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: nn.init.zeros_(self.weight))
    monkeypatch.setattr(nn.init, "normal_", lambda tensor, *_a, **_k: nn.init.constant_(tensor, 0.01))


@pytest.mark.parametrize("name", TAPS)
def test_taps_are_torchvisions_own_outputs(name: str) -> None:
    layers, channels, sizes = TAPS[name]
    torch.manual_seed(5)
    model = freeze(torchvision_model(name))
    for module in model.modules():  # statistics that a missing or doubled normalisation would show
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr, operator]
    seen: dict[str, Tensor] = {}

    def note(layer: str) -> Any:
        return lambda _module, _inputs, output: seen.setdefault(layer, output.clone())

    for layer in layers:
        model.get_submodule(layer).register_forward_hook(note(layer))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        model(images)
        expected = [seen[layer] for layer in layers]
        backbone = TORCHVISION_BACKBONES[name].cut(model)
        found = backbone(images)
    assert tuple(backbone.channels) == TORCHVISION_BACKBONES[name].channels == channels
    assert [tuple(tap.shape) for tap in found] == [
        (1, width, size, size) for width, size in zip(channels, sizes, strict=True)
    ]
    for tap, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(tap, reference, rtol=1e-5, atol=1e-6)
        assert tap.min() >= 0  # after the last non-linearity
        assert tap.std() > 0


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v2", *bundled_names()])
def test_backbone_is_frozen_and_no_larger_than_it_must_be(name: str) -> None:
    backbone = build_backbone(name)
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(isinstance(module, nn.Linear) for module in backbone.modules())
    taps = backbone(torch.zeros(2, 3, 64, 96))
    assert [tap.shape[1] for tap in taps] == list(backbone.channels)
    assert not any(tap.requires_grad for tap in taps)


def test_later_stages_do_not_change_what_was_tapped() -> None:
    # torchvision's ReLUs work in place: a tap that shared memory with them would be spoiled afterwards.
    for name in ("resnet18", "mobilenet_v2", "squeezenet1_1"):
        torch.manual_seed(1)
        backbone = build_backbone(name)
        images = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            taps = backbone(images)
            before = [tap.clone() for tap in taps]
            backbone(images)
        assert all(torch.equal(tap, kept) for tap, kept in zip(taps, before, strict=True))


def test_unknown_backbone_is_an_error() -> None:
    with pytest.raises(KeyError):
        build_backbone("resnet9000")
