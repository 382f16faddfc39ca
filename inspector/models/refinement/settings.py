"""The constants of a refinement."""

from __future__ import annotations

from dataclasses import dataclass, fields

from inspector.domain.errors import DataError


@dataclass(frozen=True)
class Settings:
    """Weights, windows and stopping rule of F2PAD.

    "Paper" are values printed in section IV-A3; "ours" were found without labels of real defects, since the paper
    tunes its own for each category with labels.

    Attributes:
        sparsity: Weight of the LOG penalty beside the feature loss, each in its own units, see `optimise` (ours).
        mixture: Weight of the mixture of Gaussians, likewise (ours).
        smoothness: Weight of the total variation, likewise (ours).
        epsilon: Of the LOG penalty, in normalised units squared (ours).
        with_log_det: Adds log det of the covariances to the mixture's distances, which makes the nearest component
            literally the most likely one (the paper's prose says distance only).
        window_px: Side of the window of the gradient sharing (paper), odd.
        shared: Iterations with gradient sharing; after them each pixel follows its own gradient (ours; the paper shares
            in all). Sharing brings large pieces of the start back quickly, but at the end the penalty of one pixel,
            steepest next to zero, keeps its neighbours from settling and rounds thin defects off.
        spatial_px: sigma_s of the sharing (paper, 1.1).
        tonal: sigma_c of the sharing, in normalised units (paper, 3.0).
        step: Step size eta_0 at |a| = 1 (ours; the paper's alpha of 1.0 multiplies it).
        floor: Share of the step that a pixel with a = 0 keeps; without it such a pixel could never move again (ours).
        clip: Largest absolute gradient of the feature loss at a pixel, in units of its mean at good ones; None does
            not clip (the paper clips at 0.03 on its own scale).
        knee: kappa of the calibrated feature loss softplus(kappa (u - u_0)) / kappa; None takes u itself.
        patience: Iterations before the loss may stop the optimisation, and those over which its decrease is averaged.
        tolerance: Relative decrease of the loss in an iteration below which the optimisation stops (ours).
        iterations: Most iterations (paper 1200).
        reestimation: Most iterations of the second solution, without sparsity, inside the mask; 0 leaves it out.
        difference: tau_m, L2 norm of the anomaly of a pixel above which it is in the mask, in normalised units
            (paper, 0.2).
        dilation: Diameter of the ellipse that widens the coarse mask, in units of the image's shorter side (ours).
        smallest_px: Smaller pieces of the final mask are dropped (ours).
    """

    sparsity: float = 0.15
    mixture: float = 0.1
    smoothness: float = 0.1
    epsilon: float = 0.01
    with_log_det: bool = False
    window_px: int = 5
    shared: int = 40
    spatial_px: float = 1.1
    tonal: float = 3.0
    step: float = 0.1
    floor: float = 0.25
    clip: float | None = None
    knee: float | None = None
    patience: tuple[int, int] = (50, 10)
    tolerance: float = 2e-5
    iterations: int = 100
    reestimation: int = 40
    difference: float = 0.2
    dilation: float = 0.12
    smallest_px: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not value >= 0:
                raise DataError(f"{field.name} of a refinement can't be {value}; it must not be negative")
        if self.window_px % 2 == 0:
            raise DataError(f"the window of the gradient sharing must be odd, not {self.window_px} px")
        if not (self.epsilon > 0 and self.spatial_px > 0 and self.tonal > 0 and self.knee != 0):
            raise DataError("epsilon, spatial_px, tonal and knee of a refinement must be positive")
