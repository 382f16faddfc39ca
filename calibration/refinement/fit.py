"""Learns from good parts what a refinement knows of them: the `Prior` of a recipe."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor

from inspector.domain.errors import DataError
from inspector.models.refinement.canvas import Canvas
from inspector.models.refinement.detector import Detector, FeatureLoss, map_function
from inspector.models.refinement.mixture import Mixture
from inspector.models.refinement.penalties import total_variation
from inspector.models.refinement.prior import Prior, mean_pull
from inspector.recipe.manifest import Normalisation

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
#: Added to the variances, in normalised units squared: about two grey levels. Grey images have three equal channels,
#: so that without it their covariance has no inverse.
_FLOOR = 1e-3
#: Components with less weight than this hold no pixels: the fit has switched them off.
_EMPTY = 1e-3


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


def fit_mixture(pixels: NDArray[np.float32], *, components: int = 5, seed: int = 1) -> Mixture:
    """Fits the mixture by variational Bayes, as F2PAD does (its reference 44 is the one that scikit-learn cites).

    Components that hold no pixels are switched off by the fit, so `components` is an upper limit.

    Args:
        pixels: (P, 3), normalised pixels sampled from good images.
        components: Most components.
        seed: Of the initialisation.

    Raises:
        DataError: Fewer pixels than components, or pixels that are not finite.
    """
    if len(pixels) < components or not np.isfinite(pixels).all():
        raise DataError(f"a mixture of {components} colours needs at least as many finite pixels, not {len(pixels)}")
    model = BayesianGaussianMixture(n_components=components, reg_covar=_FLOOR, max_iter=50, tol=1e-2, random_state=seed)
    with warnings.catch_warnings():
        # The prior needs the colours roughly: not to have converged to 1e-3 after 200 rounds does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(pixels.astype(np.float64))
    used = np.flatnonzero(model.weights_ >= _EMPTY)
    weights = model.weights_[used] / model.weights_[used].sum()
    arrays = (weights, model.means_[used], model.covariances_[used])
    return Mixture(*(torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in arrays))


def _mean_slope(pixels: Tensor, function: Callable[[Tensor], Tensor]) -> float:
    """Mean over the pixels, (P, 3) or (1, 3, H, W), of the norm of a function's gradient at each."""
    pixels = pixels.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(pixels), pixels)
    return float(gradient.square().sum(dim=1).sqrt().mean())
