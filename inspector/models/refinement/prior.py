"""What a refinement knows of good parts: learnt in the calibration, as tensors that can become part of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inspector.domain.errors import DataError
from inspector.models.refinement.canvas import Canvas
from inspector.models.refinement.detector import FeatureLoss
from inspector.models.refinement.mixture import Mixture, mixture_from_tensors

_NAMES = ("colour", "variation", "pull", "units", "quantiles", "coarse", "low", "high")
#: First part of the names of the tensors, in a recipe's weights.safetensors or in a file of their own.
PREFIX = "prior."


@dataclass(frozen=True)
class Prior:
    """Good parts, as the refinement knows them.

    Attributes:
        mixture: Colours of single pixels.
        colour: Mean norm of the gradient of the mixture's distance (eq. 10) at a pixel of good parts, ().
        variation: Mean norm of the gradient of the total variation (eq. 11) at a pixel of good parts, ().
        pull: Mean norm of the gradient of the feature loss (eqs 4 to 7, without a knee) at a pixel of good parts, ().
        units: Spread of the scores of each level, from their median to their 95 % quantile, (K,).
        quantiles: 95 % quantile of score / unit for each level, (K,).
        coarse: Threshold of the coarse mask, the 99.9 % quantile of the pixels of good anomaly maps, ().
        low: Smallest allowed value of each channel, (3,), normalised.
        high: Largest allowed value.
    """

    mixture: Mixture
    colour: Tensor
    variation: Tensor
    pull: Tensor
    units: Tensor
    quantiles: Tensor
    coarse: Tensor
    low: Tensor
    high: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """What `prior_from_tensors` reads: float32 on the CPU, all names begin with `PREFIX`."""
        named = {f"mixture.{name}": tensor for name, tensor in self.mixture.tensors().items()}
        named |= {name: getattr(self, name) for name in _NAMES}
        return {PREFIX + name: tensor.detach().cpu().float().contiguous() for name, tensor in named.items()}


def prior_from_tensors(tensors: Mapping[str, Tensor]) -> Prior:
    """The prior of `Prior.tensors`; tensors of other names don't matter.

    Raises:
        DataError: Tensors of the prior are missing.
    """
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    try:
        return Prior(
            mixture_from_tensors({name.removeprefix("mixture."): tensor for name, tensor in own.items()}),
            *(own[name] for name in _NAMES),
        )
    except KeyError as error:
        raise DataError(f"the refinement's tensors lack {error.args[0]}") from error


def mean_pull(loss: FeatureLoss, image: Tensor, canvas: Canvas, where: Tensor | None = None) -> float:
    """Mean over pixels of the norm of a feature loss's gradient, of the part along what may change.

    Args:
        loss: Of the detector.
        image: (1, 3, H, W).
        canvas: What may change.
        where: bool, (1, H, W), the pixels; all if None or nowhere true.
    """
    image = image.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(image), image)
    pull = canvas.norm(gradient)
    return float(pull.mean() if where is None or not where.any() else pull[where].mean())
