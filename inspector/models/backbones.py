"""Frozen feature extractors: torchvision's backbones cut after their third hierarchy, and the bundled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from inspector.models import bundled


class Backbone(nn.Module):
    """Three stages whose outputs are the hierarchies 1 to 3.

    Attributes:
        channels: Channels of the three feature maps.
    """

    def __init__(self, stages: Iterable[nn.Module], channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps of the three hierarchies, strides of about 4, 8 and 16.

        Args:
            images: (B, 3, H, W), normalised with ImageNet's mean and deviation.
        """
        first = self.stages[0](images)
        second = self.stages[1](first)
        return first, second, self.stages[2](second)


class _MobileStage(nn.Module):
    """Inverted residuals up to a tap at the expansion (post-ReLU6) of the block that opens the next stage.

    The linear bottlenecks between the blocks are signed and narrow (24 to 96 channels); the expansion is the
    layer after the last non-linearity, as in the other backbones.
    """

    def __init__(self, blocks: nn.Sequential, opening: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks
        self.expansion = cast("nn.Sequential", opening.get_submodule("conv.0"))


class MobileBackbone(nn.Module):
    """MobileNetV2 up to the third hierarchy.

    Attributes:
        channels: Channels of the three feature maps (the expanded ones).
    """

    channels = (144, 192, 576)

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                _MobileStage(features[:4], features[4]),
                _MobileStage(features[4:7], features[7]),
                _MobileStage(features[7:14], features[14]),
            ]
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Backbone.forward`."""
        x, maps = images, []
        for stage in self.stages:
            x = stage.get_submodule("blocks")(x)
            maps.append(stage.get_submodule("expansion")(x))
        return maps[0], maps[1], maps[2]


def _resnet(model: nn.Module, channels: tuple[int, int, int]) -> nn.Module:
    stem = [model.get_submodule(name) for name in ("conv1", "bn1", "relu", "maxpool", "layer1")]
    return Backbone([nn.Sequential(*stem), model.get_submodule("layer2"), model.get_submodule("layer3")], channels)


def _cut(model: nn.Module, ends: tuple[int, int, int], channels: tuple[int, int, int]) -> nn.Module:
    features = cast("nn.Sequential", model.get_submodule("features"))
    first, second, third = ends
    return Backbone([features[:first], features[first:second], features[second:third]], channels)


def _mobile(model: nn.Module) -> nn.Module:
    return MobileBackbone(cast("nn.Sequential", model.get_submodule("features")))


@dataclass(frozen=True)
class TorchvisionBackbone:
    """How a backbone is cut out of its torchvision model.

    Attributes:
        channels: Channels of the three hierarchies.
        cut: Makes the three-stage module; its parameters are those of the given model.
    """

    channels: tuple[int, int, int]
    cut: Callable[[nn.Module], nn.Module]


def _narrow(channels: tuple[int, int, int] = (64, 128, 256)) -> TorchvisionBackbone:
    return TorchvisionBackbone(channels, lambda m: _resnet(m, channels))


def _vgg(ends: tuple[int, int, int]) -> TorchvisionBackbone:
    channels = (256, 512, 512)
    return TorchvisionBackbone(channels, lambda m: _cut(m, ends, channels))


_WIDE = (256, 512, 1024)
_SQUEEZE = (128, 256, 512)

#: torchvision's backbones; taps as in the PFM paper, section IV (ResNet layer1 to layer3, VGG last ReLU
#: before pools 3 to 5).
TORCHVISION_BACKBONES: dict[str, TorchvisionBackbone] = {
    "resnet18": _narrow(),
    "resnet34": _narrow(),
    "resnet50": _narrow(_WIDE),
    "resnet101": _narrow(_WIDE),
    "resnet152": _narrow(_WIDE),
    "wide_resnet50_2": _narrow(_WIDE),
    "vgg16_bn": _vgg((23, 33, 43)),
    "vgg19_bn": _vgg((26, 39, 52)),
    "squeezenet1_1": TorchvisionBackbone(_SQUEEZE, lambda m: _cut(m, (5, 8, 13), _SQUEEZE)),
    "mobilenet_v2": TorchvisionBackbone(MobileBackbone.channels, _mobile),
}


def backbone_names() -> tuple[str, ...]:
    """Every backbone that a recipe can name: the bundled pair first, then torchvision's."""
    return (*bundled.bundled_names(), *TORCHVISION_BACKBONES)


def torchvision_model(name: str) -> nn.Module:
    """The whole torchvision model with random weights, in torchvision's state-dict layout."""
    import torchvision.models  # as long to load as torch, which workers with the bundled pair need not wait for

    return cast("nn.Module", torchvision.models.get_model(name, weights=None))


def build_backbone(name: str) -> nn.Module:
    """A backbone with random weights, in eval mode and without gradients, cut after its third hierarchy.

    Args:
        name: One of `backbone_names()`.

    Returns:
        A module with `channels` and ``forward(images (B, 3, H, W)) -> three feature maps``.

    Raises:
        KeyError: For an unknown name.
    """
    if name in bundled.bundled_names():
        return freeze(bundled.build_bundled(name))
    return freeze(TORCHVISION_BACKBONES[name].cut(torchvision_model(name)))


def freeze(module: nn.Module) -> nn.Module:
    """The module itself, in eval mode with gradients off."""
    return module.eval().requires_grad_(False)
