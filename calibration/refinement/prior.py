"""What calibration learns from good parts for the refinement, as tensors that can become part of a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from calibration.refinement.canvas import Canvas
from calibration.refinement.detector import Detector, FeatureLoss, map_function
from calibration.refinement.mixture import Mixture, fit_mixture, mixture_from_tensors
from calibration.refinement.penalties import total_variation
from inspector.domain.errors import DataError
from inspector.recipe.manifest import Normalisation

_NAMES = ("colour", "variation", "pull", "units", "quantiles", "coarse", "low", "high")
#: First part of the names of the tensors, in a recipe's weights.safetensors or in a file of their own.
PREFIX = "prior."
#: Good parts that a prior is learnt from where there are more.
MOST_PARTS = 64

#: Share of the pixels of good parts below the coarse mask's threshold. The paper takes the threshold that is best on
#: the test's labels; this one needs none, and never lost a defect in the check of the reconstruction.
COARSE_QUANTILE = 0.999
#: Share of the good locations below the knee of the calibrated loss. From the median to there it is one unit: a
#: standard deviation would be that of the few good locations that the detector finds strangest.
_HIGH_QUANTILE = 0.95
#: Pixels of an image that are sampled: for the colours, and for the quantile of the map.
_COLOURS, _MAP_PIXELS = 100, 65536
#: Good parts whose gradients are formed.
_PULLED = 16
#: How far beyond the good parts' range a pixel may go, in normalised units.
_MARGIN = 0.1


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


def fit_prior(
    detector: Detector,
    images: Iterable[Tensor],
    *,
    seen: Iterable[Tensor] = (),
    grey: bool = False,
    normalisation: Normalisation | None = None,
    components: int = 5,
    seed: int = 1,
) -> Prior:
    """Learns the prior from good parts, best those that the detector was not fitted on.

    Scores of parts that the detector has seen are too small; that makes the coarse mask too large, which costs time
    and surplus, but no defect.

    Args:
        detector: Frozen, in eval mode.
        images: Normalised, (1, 3, H, W) each, all of the same size.
        seen: More good parts of which only the colours are learnt, such as those that the detector was fitted on.
        grey: They have one channel three times.
        normalisation: Of the images.
        components: Most components of the mixture.
        seed: Of the sampling and of the mixture's initialisation.

    Raises:
        DataError: No images, or scores that are zero or not finite.
    """
    rng = np.random.default_rng(seed)
    maps = map_function(detector)
    levels: list[list[Tensor]] = []
    kept: list[Tensor] = []
    colours, pooled, variations = [], [], []
    low, high = torch.full((3,), torch.inf), torch.full((3,), -torch.inf)
    for image, scored in itertools.chain(zip(images, itertools.repeat(True)), zip(seen, itertools.repeat(False))):
        if scored:
            if len(kept) < _PULLED:
                kept.append(image)
            with torch.inference_mode():
                levels.append([scores[0, 0].cpu() for scores in maps(image)])
                anomaly = detector(image).anomaly_maps.flatten().cpu().numpy()
            pooled.append(rng.choice(anomaly, min(_MAP_PIXELS, anomaly.size), replace=False))
        variations.append(_mean_slope(image, lambda pixels: total_variation(pixels).sum()))
        pixels = image[0].flatten(1).T.cpu()
        colours.append(pixels[torch.from_numpy(rng.integers(0, len(pixels), _COLOURS))].numpy())
        low, high = torch.minimum(low, pixels.amin(dim=0)), torch.maximum(high, pixels.amax(dim=0))
    if not levels:
        raise DataError("there are no good images to learn the refinement's prior from")
    units, quantiles = [], []
    for scores in zip(*levels, strict=True):
        stacked = torch.stack(scores)
        middle, high_end = np.quantile(stacked.numpy(), (0.5, _HIGH_QUANTILE))
        unit = float(high_end - middle)
        if not (np.isfinite(unit) and unit > 0):
            raise DataError("the detector's scores of good images are all equal or not finite; calibrate again")
        units.append(unit)
        quantiles.append(float(high_end) / unit)
    loss = FeatureLoss(maps, torch.tensor(units), torch.tensor(quantiles))
    canvas = Canvas(normalisation or Normalisation(), grey=grey)
    sample = np.concatenate(colours)
    mixture = fit_mixture(sample, components=components, seed=seed)
    return Prior(
        mixture,
        torch.tensor(_mean_slope(torch.from_numpy(sample), lambda pixels: mixture.distances(pixels).sum())),
        torch.tensor(np.mean(variations), dtype=torch.float32),
        torch.tensor(np.mean([mean_pull(loss, image, canvas) for image in kept]), dtype=torch.float32),
        torch.tensor(units),
        torch.tensor(quantiles),
        torch.tensor(float(np.quantile(np.concatenate(pooled), COARSE_QUANTILE))),
        low - _MARGIN,
        high + _MARGIN,
    )


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


def _mean_slope(pixels: Tensor, function: Callable[[Tensor], Tensor]) -> float:
    """Mean over the pixels, (P, 3) or (1, 3, H, W), of the norm of a function's gradient at each."""
    pixels = pixels.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(pixels), pixels)
    return float(gradient.square().sum(dim=1).sqrt().mean())
