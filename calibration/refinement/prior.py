"""What calibration learns from good parts for the refinement, as tensors that can become part of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from calibration.refinement.detector import Detector, map_function
from calibration.refinement.mixture import Mixture, fit_mixture, mixture_from_tensors
from inspector.domain.errors import DataError

#: First part of the names of the tensors, in a recipe's weights.safetensors or in a file of their own.
PREFIX = "refinement."

#: Share of the pixels of good parts below the coarse mask's threshold. The paper takes the threshold that is best on
#: the test's labels; this one needs none, and never lost a defect in the check of the reconstruction.
COARSE_QUANTILE = 0.999
#: Share of the good locations below the knee of the calibrated loss.
_KNEE_QUANTILE = 0.95
#: Pixels of an image that are sampled: for the colours, and for the quantile of the map.
_COLOURS, _MAP_PIXELS = 500, 65536
#: How far beyond the good parts' range a pixel may go, in normalised units.
_MARGIN = 0.1


@dataclass(frozen=True)
class Prior:
    """Good parts, as the refinement knows them.

    Attributes:
        mixture: Colours of single pixels.
        references: Mean score of each level, () or for each location (h, w).
        quantiles: 95 % quantile of score / reference for each level, (K,).
        coarse: Threshold of the coarse mask, the 99.9 % quantile of the pixels of good anomaly maps, ().
        low: Smallest allowed value of each channel, (3,), normalised.
        high: Largest allowed value.
    """

    mixture: Mixture
    references: tuple[Tensor, ...]
    quantiles: Tensor
    coarse: Tensor
    low: Tensor
    high: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """What `prior_from_tensors` reads: float32 on the CPU, all names begin with `PREFIX`."""
        named = {f"mixture.{name}": tensor for name, tensor in self.mixture.tensors().items()}
        named |= {f"reference.{index}": tensor for index, tensor in enumerate(self.references)}
        named |= {"quantiles": self.quantiles, "coarse": self.coarse, "low": self.low, "high": self.high}
        return {PREFIX + name: tensor.detach().cpu().float().contiguous() for name, tensor in named.items()}


def prior_from_tensors(tensors: Mapping[str, Tensor]) -> Prior:
    """The prior of `Prior.tensors`; tensors of other names don't matter.

    Raises:
        DataError: Tensors of the prior are missing.
    """
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    levels = sum(name.startswith("reference.") for name in own)
    try:
        return Prior(
            mixture_from_tensors({name.removeprefix("mixture."): tensor for name, tensor in own.items()}),
            tuple(own[f"reference.{index}"] for index in range(levels)),
            *(own[name] for name in ("quantiles", "coarse", "low", "high")),
        )
    except KeyError as error:
        raise DataError(f"the refinement's tensors lack {error.args[0]}") from error


def has_prior(names: Iterable[str]) -> bool:
    """True if tensors of these names hold a prior."""
    return any(name.startswith(PREFIX) for name in names)


def fit_prior(
    detector: Detector,
    images: Iterable[Tensor],
    *,
    components: int = 5,
    fixed_pose: bool = False,
    seed: int = 1,
) -> Prior:
    """Learns the prior from good parts, best those that the detector was not fitted on.

    Scores of parts that the detector has seen are too small; that makes the coarse mask too large, which costs time
    and surplus, but no defect.

    Args:
        detector: Frozen, in eval mode.
        images: Normalised, (1, 3, H, W) each, all of the same size.
        components: Most components of the mixture.
        fixed_pose: References for each location instead of one for each level; for parts that always lie the same.
        seed: Of the sampling and of the mixture's initialisation.

    Raises:
        DataError: No images, or scores that are zero or not finite.
    """
    rng = np.random.default_rng(seed)
    maps = map_function(detector)
    levels: list[list[Tensor]] = []
    colours, pooled = [], []
    low, high = torch.full((3,), torch.inf), torch.full((3,), -torch.inf)
    for image in images:
        with torch.inference_mode():
            levels.append([scores[0, 0].cpu() for scores in maps(image)])
            anomaly = detector(image).anomaly_maps.flatten().cpu().numpy()
        pooled.append(rng.choice(anomaly, min(_MAP_PIXELS, anomaly.size), replace=False))
        pixels = image[0].flatten(1).T.cpu()
        colours.append(pixels[torch.from_numpy(rng.integers(0, len(pixels), _COLOURS))].numpy())
        low, high = torch.minimum(low, pixels.amin(dim=0)), torch.maximum(high, pixels.amax(dim=0))
    if not levels:
        raise DataError("there are no good images to learn the refinement's prior from")
    references, quantiles = [], []
    for scores in zip(*levels, strict=True):
        stacked = torch.stack(scores)
        reference = stacked.mean(dim=0) if fixed_pose else stacked.mean()
        if not (torch.isfinite(stacked).all() and (reference > 0).all()):
            raise DataError("the detector's scores of good images are zero or not finite; calibrate again")
        references.append(reference)
        quantiles.append(float(np.quantile((stacked / reference).numpy(), _KNEE_QUANTILE)))
    return Prior(
        fit_mixture(np.concatenate(colours), components=components, seed=seed),
        tuple(references),
        torch.tensor(quantiles),
        torch.tensor(float(np.quantile(np.concatenate(pooled), COARSE_QUANTILE))),
        low - _MARGIN,
        high + _MARGIN,
    )
