"""The optimisation of the non-defective image: F2PAD's eq. 12 and section III-D, III-E.

Weights. The paper searches them for each category on labelled defects, and divides that of the sparsity by the area of
the coarse mask. Here one set of weights serves, since each term of eq. 12 is measured in its own unit::

    F(N) = L(N) / l + lambda R_s(X - N) + beta R_MOG(N) / m + gamma R_TV(N) / t

What decides about a pixel is not what the terms are worth but how strongly they pull at it: their gradients. Where the
image is good, L (eqs 4 to 7) has no reason to pull, and what gradient it has is the noise that the sparsity has to
beat, so that a good pixel that the start has changed goes back to X; at a defect L pulls more strongly, and N stays
away from X. So the unit of each term is its pull at a good pixel:

- l, m and t are the mean norms of the gradients of L, R_MOG and R_TV at a pixel of good parts, from the calibration.
  A detector may find a part strange also where it is good (squared distances of PaDiM differ by a factor of 100 between
  parts), and then its noise is larger too: so l is at least the same mean over this image outside of the widened
  coarse mask.
- R_s (eq. 8) is scaled to slope 1 at an anomaly of norm 1; at norm r it pulls with about lambda / r.

So F does not change with a factor on the scores, nor with copies of a level; and with the size of the image the pull at
a pixel changes in l, m, t as it does in their terms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inspector.domain.frame import Mask
from inspector.models.refinement.adan import Adan
from inspector.models.refinement.canvas import Canvas, Window, to_image
from inspector.models.refinement.detector import Detector, FeatureLoss, map_function
from inspector.models.refinement.penalties import log_penalty, total_variation
from inspector.models.refinement.prior import Prior, mean_pull
from inspector.models.refinement.settings import Settings
from inspector.models.refinement.sharing import share, sharing_weights
from inspector.models.refinement.start import INPAINTERS, Inpainter, widened, without_specks
from inspector.recipe.manifest import Normalisation

#: Called after each iteration with its number and loss.
Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Refinement:
    """What became of an image.

    Attributes:
        mask: bool, (H, W): the refined mask.
        coarse: bool, (H, W): the detector's map above its threshold.
        domain: bool, (H, W): where the image was optimised, the coarse mask widened.
        start: float32, (1, 3, H, W): the inpainted image that the optimisation started from.
        optimised: float32, (1, 3, H, W): the solution of eq. 12, which gives the mask.
        recovered: float32, (1, 3, H, W): the non-defective image after re-estimation, outside of the mask the given.
        losses: Objective at each iteration, the re-estimation's left out.
        iterations: Of both solutions together.
    """

    mask: Mask
    coarse: Mask
    domain: Mask
    start: Tensor
    optimised: Tensor
    recovered: Tensor
    losses: tuple[float, ...]
    iterations: int


def refine(
    detector: Detector,
    image: Tensor,
    prior: Prior,
    *,
    grey: bool = False,
    settings: Settings | None = None,
    normalisation: Normalisation | None = None,
    inpainters: Sequence[Inpainter] = INPAINTERS,
    progress: Progress = lambda iteration, loss: None,
) -> Refinement:
    """Finds the pixels of the defects of one image.

    Args:
        detector: Frozen, in eval mode.
        image: X, (1, 3, H, W), normalised.
        prior: Of the same detector and image size.
        grey: The image has one channel three times; then so has the non-defective image.
        settings: Weights and windows.
        normalisation: Of the image, for the inpainting.
        inpainters: Make starts, of which the best is taken.
        progress: Told how it goes.

    Returns:
        The masks and images; all masks empty if the anomaly map stays below the coarse threshold.
    """
    settings = settings or Settings()
    normalisation = normalisation or Normalisation()
    image = image.detach().contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        anomaly = detector(image).anomaly_maps[0, 0]
    coarse = (anomaly > prior.coarse.to(anomaly)).cpu().numpy()
    if not coarse.any():
        return Refinement(coarse, coarse, coarse, image, image, image, (), 0)
    domain = widened(coarse, round(settings.dilation * min(coarse.shape)))
    canvas = Canvas(normalisation, grey=grey)
    start, unit = _best_start(detector, image, domain, prior, settings, canvas, inpainters)
    feature_loss = FeatureLoss(map_function(detector, start), prior.units, prior.quantiles, settings.knee)
    solver = _Solver(image, prior, feature_loss, unit, settings, canvas)
    optimised, losses = solver.solve(start, domain, settings.sparsity, settings.iterations, progress)
    mask = difference_mask(image, optimised, settings)
    recovered = image
    more: list[float] = []
    if mask.any():
        recovered = torch.where(_as_tensor(mask, image), optimised, image)
        recovered, more = solver.solve(recovered, mask, 0.0, settings.reestimation, progress)
    return Refinement(mask, coarse, domain, start, optimised, recovered, tuple(losses), len(losses) + len(more))


def _best_start(
    detector: Detector,
    image: Tensor,
    domain: Mask,
    prior: Prior,
    settings: Settings,
    canvas: Canvas,
    inpainters: Sequence[Inpainter],
) -> tuple[Tensor, float]:
    """The fill N_0 with the smallest L / l + beta R_MOG / m, and l: the optimisation only leaves small valleys."""
    feature_loss = FeatureLoss(map_function(detector), prior.units, prior.quantiles, settings.knee)
    pixels, inside = canvas.pixels(image), _as_tensor(domain, image)
    starts, losses, colours = [], [], []
    for inpainter in inpainters:
        filled = to_image(inpainter(pixels, domain), canvas.normalisation).to(image)
        start = torch.where(inside, filled, image)
        with torch.no_grad():
            distances = prior.mixture.distances(start[0][:, inside[0, 0]].T, with_log_det=settings.with_log_det)
            losses.append(float(feature_loss(start)))
        starts.append(start)
        colours.append(float(distances.sum()) / float(prior.colour))
    # A bad fill also disturbs the features of good pixels beside it.
    calmest = starts[int(np.argmin(losses))]
    unit = max(float(prior.pull), mean_pull(feature_loss, calmest, canvas, ~inside[:, 0]))
    sums = [loss / unit + settings.mixture * colour for loss, colour in zip(losses, colours, strict=True)]
    return starts[int(np.argmin(sums))], unit


def difference_mask(image: Tensor, clean: Tensor, settings: Settings) -> Mask:
    """M_p = 1 where the norm of x_p - n_p exceeds a limit (F2PAD eq. 2, in the numerical form of its ablation).

    Args:
        image: X, (1, 3, H, W).
        clean: N.
        settings: Limit and smallest piece.
    """
    norm = (image - clean).square().sum(dim=1)[0].sqrt()
    return without_specks((norm > settings.difference).cpu().numpy(), settings.smallest_px)


class _ClippedGradient(torch.autograd.Function):
    """The identity, whose gradient is clamped at each pixel."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, limit: float) -> Tensor:
        """The image."""
        ctx.limit = limit
        return image.view_as(image)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Its gradient, clamped."""
        return gradients[0].clamp(-ctx.limit, ctx.limit), None


class _Solver:
    """Minimises eq. 12 over the pixels of a domain."""

    def __init__(
        self,
        image: Tensor,
        prior: Prior,
        feature_loss: FeatureLoss,
        unit: float,
        settings: Settings,
        canvas: Canvas,
    ) -> None:
        self._image = image
        self._prior = prior
        self._feature_loss = feature_loss
        self._unit = unit
        self._settings = settings
        self._canvas = canvas
        self._low, self._high = canvas.limits(prior.low.to(image), prior.high.to(image))

    def solve(
        self, start: Tensor, domain: Mask, sparsity: float, iterations: int, progress: Progress
    ) -> tuple[Tensor, list[float]]:
        """The solution (1, 3, H, W), the given image outside of the domain, and the loss at each iteration.

        Args:
            start: Initial N, (1, 3, H, W).
            domain: Where N may differ from X.
            sparsity: Weight of the LOG penalty; 0 for the re-estimation.
            iterations: Most iterations.
            progress: Told how it goes.
        """
        settings, canvas = self._settings, self._canvas
        window = Window.around(domain, settings.window_px)
        given = window.cut(self._image)
        inside = window.cut(_as_tensor(domain, self._image))
        paint, paint_given = canvas.narrow(window.cut(start)), canvas.narrow(given)
        adan = Adan()
        losses: list[float] = []
        for iteration in range(iterations):
            paint = paint.detach().requires_grad_()
            clean = torch.where(inside, canvas.wide(paint), given)
            loss = self._objective(window, given, clean, inside, sparsity)
            (gradient,) = torch.autograd.grad(loss, paint)
            losses.append(float(loss.detach()))
            with torch.no_grad():
                if settings.window_px > 1 and iteration < settings.shared:
                    weights = sharing_weights(clean, settings.window_px, settings.spatial_px, settings.tonal)
                    gradient = share(gradient, weights)
                direction = adan.direction(gradient * inside)
                # Eq. 15, reconstructed: the step grows with the anomaly, as the LOG penalty's gradient falls with it.
                size = settings.step * (settings.floor + (paint_given - paint).abs())
                moved = (paint - size * direction).clamp(self._low, self._high)
                paint = torch.where(inside, moved, paint_given)
            progress(iteration + 1, losses[-1])
            if self._settled(losses):
                break
        result = torch.where(inside, canvas.wide(paint.detach()), given)
        return window.pasted(self._image, result), losses

    def _objective(self, window: Window, given: Tensor, clean: Tensor, inside: Tensor, sparsity: float) -> Tensor:
        """F(N) of eq. 12 in the units above; all sums over the domain.

        Outside of it N does not change, so leaving that out changes F by a constant.
        """
        settings = self._settings
        seen = clean
        if settings.clip is not None:
            seen = _ClippedGradient.apply(clean, settings.clip)
        total = self._feature_loss(window.pasted(self._image, seen)) / self._unit
        where = inside[:, 0]
        if sparsity:
            total = total + sparsity * log_penalty(given - clean, settings.epsilon)[where].sum()
        if settings.mixture:
            pixels = clean[0][:, inside[0, 0]].T
            distances = self._prior.mixture.distances(pixels, with_log_det=settings.with_log_det)
            total = total + settings.mixture / float(self._prior.colour) * distances.sum()
        if settings.smoothness:
            total = total + settings.smoothness / float(self._prior.variation) * total_variation(clean).sum()
        return total

    def _settled(self, losses: list[float]) -> bool:
        """The loss hardly falls any more, averaged over some iterations, since momentum makes it swing."""
        earliest, span = self._settings.patience
        if len(losses) < max(earliest, span + 1):
            return False
        decrease = (losses[-1 - span] - losses[-1]) / span
        return decrease < self._settings.tolerance * abs(losses[-1])


def _as_tensor(mask: Mask, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None].to(like.device)
