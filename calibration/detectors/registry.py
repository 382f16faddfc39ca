"""Every detector by its name."""

from __future__ import annotations

from calibration.detectors.base import Method
from calibration.detectors.cflow import CflowMethod
from calibration.detectors.mapping import Mapping
from calibration.detectors.padim import PadimMethod
from calibration.detectors.patchcore import PatchCoreMethod
from inspector.domain.errors import DataError

#: All that can be calibrated, the default first. PFM and B-PFM use the level of the paper's ablation (Table VII).
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Mapping("mb-pfm", (1, 2, 3), "none"),
        Mapping("b-pfm", (3,), "none"),
        Mapping("pfm", (3,), "none"),
        Mapping("pefm", (1, 2, 3), "add"),
        PadimMethod(),
        PatchCoreMethod(),
        CflowMethod(),
    )
}


def method_named(name: str) -> Method:
    """The detector of a name.

    Raises:
        DataError: There is none.
    """
    if name not in METHODS:
        raise DataError(f"unknown detector {name!r}; known are {', '.join(METHODS)}")
    return METHODS[name]
