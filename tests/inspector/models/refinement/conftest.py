"""The toy detector, fitted, and what a refinement knows of its good parts."""

from __future__ import annotations

import pytest

from calibration.refinement.fit import fit_prior
from inspector.models.refinement.prior import Prior

from ....toy_detector import ToyDetector, good_image


@pytest.fixture(scope="session")
def toy() -> ToyDetector:
    return ToyDetector().fit([good_image(seed) for seed in range(20)])


@pytest.fixture(scope="session")
def toy_prior(toy: ToyDetector) -> Prior:
    return fit_prior(toy, [good_image(seed) for seed in range(100, 120)], components=3)
