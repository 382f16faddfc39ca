"""The two backbones that ship inside the package, trained from generated pictures alone.

`resnet_synth` is a plain residual network (He et al., CVPR 2016, basic blocks), `vovnet_synth` an aggregating
one (one-shot aggregation after Lee et al., "VoVNet", CVPR Workshops 2019, behind a 7x7 stem of stride 4).
Both are plain convolutions with batch normalisation and ReLU, so that every engine can fold and fuse them. How
they were trained is in ``bundled_weights/MODEL_CARD.md``; the programs are in `calibration.pretraining`.
"""

from __future__ import annotations

import hashlib
from importlib import resources

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from inspector.domain.errors import RecipeError

_WEIGHTS_FOLDER = "bundled_weights"


class ConvNorm(nn.Sequential):
    """Convolution without bias, then batch normalisation; the size stays, or halves with stride 2."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int] = 3, stride: int = 1, dilation: int = 1
    ) -> None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2 * dilation, width // 2 * dilation)
        super().__init__(
            nn.Conv2d(inputs, outputs, (height, width), stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs)
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, post-activation.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: 1, or 2 to halve the size; with 2 or with other channels the shortcut is a 1x1 convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3)
        plain = stride == 1 and inputs == outputs
        self.shortcut: nn.Module = nn.Identity() if plain else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride), not negative."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class AggregationBlock(nn.Module):
    """A chain of 3x3 convolutions whose outputs are all concatenated, merged by 1x1, with a shortcut.

    Args:
        channels: Channels in and out.
        middle: Channels of each convolution of the chain.
        dilations: Dilation of each convolution of the chain.
    """

    def __init__(self, channels: int, middle: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.chain = nn.ModuleList(
            ConvNorm(middle if i else channels, middle, 3, dilation=dilation) for i, dilation in enumerate(dilations)
        )
        self.merge = ConvNorm(channels + middle * len(dilations), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) in and out, not negative."""
        collected = [x]
        for convolution in self.chain:
            collected.append(F.relu(convolution(collected[-1])))
        return F.relu(self.merge(torch.cat(collected, dim=1)) + x)


class _ThreeStages(nn.Module):
    """Runs three stages in a row and returns the output of each.

    Attributes:
        channels: Channels of the three feature maps.
        strides: Their strides against the image, in pixels.
    """

    channels: tuple[int, int, int] = (32, 64, 128)
    strides = (4, 8, 16)

    def __init__(self, first: nn.Module, second: nn.Module, third: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.third = first, second, third

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps of the three hierarchies.

        Args:
            images: (B, 3, H, W) float, normalised with ImageNet's mean and deviation; H and W multiples of 16.

        Returns:
            Post-ReLU maps (B, channels[k], H / strides[k], W / strides[k]), not negative.
        """
        first = self.first(images)
        second = self.second(first)
        return first, second, self.third(second)


class ResNetSynth(_ThreeStages):
    """Plain residual network: 0.61 M parameters, 0.29 GMAC at 256 x 256 px."""

    def __init__(self) -> None:
        c1, c2, c3 = self.channels
        super().__init__(
            nn.Sequential(
                ConvNorm(3, 16, 3, stride=2), nn.ReLU(), ConvNorm(16, c1, 3, stride=2), nn.ReLU(), BasicBlock(c1, c1)
            ),
            BasicBlock(c1, c2, stride=2),
            nn.Sequential(BasicBlock(c2, c3, stride=2), BasicBlock(c3, c3)),
        )


class VovNetSynth(_ThreeStages):
    """Aggregating network: 0.55 M parameters, 0.27 GMAC at 256 x 256 px."""

    def __init__(self) -> None:
        c1, c2, c3 = self.channels
        super().__init__(
            nn.Sequential(ConvNorm(3, c1, 7, stride=4), nn.ReLU(), AggregationBlock(c1, 24, (1, 1))),
            nn.Sequential(ConvNorm(c1, c2, 3, stride=2), nn.ReLU(), AggregationBlock(c2, 48, (1, 1))),
            nn.Sequential(
                ConvNorm(c2, c3, 3, stride=2),
                nn.ReLU(),
                AggregationBlock(c3, 64, (1, 1, 1)),
                AggregationBlock(c3, 64, (1, 1, 2)),
            ),
        )


_ARCHITECTURES: dict[str, type[ResNetSynth] | type[VovNetSynth]] = {
    "resnet_synth": ResNetSynth,
    "vovnet_synth": VovNetSynth,
}


def bundled_names() -> tuple[str, str]:
    """Names of the bundled pair: source backbone, target backbone.

    >>> bundled_names()
    ('resnet_synth', 'vovnet_synth')
    """
    source, target = _ARCHITECTURES
    return source, target


def build_bundled(name: str) -> nn.Module:
    """The architecture with random weights, in train mode.

    Args:
        name: One of `bundled_names()`.

    Returns:
        A module with `channels`, `strides` and ``forward(images) -> three feature maps``.

    Raises:
        KeyError: For an unknown name.

    >>> import torch
    >>> maps = build_bundled("resnet_synth")(torch.zeros(1, 3, 64, 96))
    >>> [tuple(m.shape) for m in maps]
    [(1, 32, 16, 24), (1, 64, 8, 12), (1, 128, 4, 6)]
    """
    return _ARCHITECTURES[name]()


def load_bundled(name: str) -> nn.Module:
    """The backbone with its shipped weights: float32, eval mode, gradients off.

    Args:
        name: One of `bundled_names()`.

    Raises:
        KeyError: For an unknown name.
        RecipeError: If the installed package lacks the weights, or they are damaged or of another version.
    """
    module = build_bundled(name)
    expected = {key for key in module.state_dict() if not key.endswith("num_batches_tracked")}
    try:
        tensors = {key: value.float() for key, value in load(_weights(name)).items()}
        if tensors.keys() != expected:
            raise ValueError(f"other tensors: {sorted(tensors.keys() ^ expected)[:3]}")
        module.load_state_dict(tensors, strict=False)
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise RecipeError(
            f"the bundled weights of {name} don't fit this version ({error}); reinstall the package"
        ) from error
    return module.eval().requires_grad_(False)


def bundled_hash(name: str) -> str:
    """SHA-256 of the shipped weights file, 64 hexadecimal digits.

    Args:
        name: One of `bundled_names()`.

    Raises:
        KeyError: For an unknown name.
        RecipeError: If the installed package lacks the weights.
    """
    return hashlib.sha256(_weights(name)).hexdigest()


def _weights(name: str) -> bytes:
    if name not in _ARCHITECTURES:
        raise KeyError(name)
    file = resources.files(__package__) / _WEIGHTS_FOLDER / f"{name}.safetensors"
    try:
        return file.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"the bundled weights of {name} are missing from the installed package ({error}); reinstall the package"
        ) from error
