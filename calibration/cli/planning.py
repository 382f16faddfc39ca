"""From command-line options to a plan, with defaults that depend on the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from calibration.plan import Plan, default_pair
from calibration.schedule import schedule_named
from inspector.domain.errors import DataError


def make_plan(data: Path, recipe: Path, options: dict[str, Any]) -> tuple[Plan, str]:
    """The plan, and a remark on what was chosen for the user (empty if nothing was).

    Raises:
        DataError: Options that can't be.
    """
    remarks = []
    device = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    weights = options["weights"]
    if weights is None:
        named = options["source"] or options["target"] or options["weights_dir"]
        weights = "imagenet" if device == "cuda" or named else "bundled"
        remarks.append(f"weights: {weights} ({_reason(device, bool(named))}; choose with --weights)")
    pair = default_pair(weights)
    size = options["size"]
    if len(size) not in (1, 2):
        raise DataError("--size takes SIDE or HEIGHT,WIDTH")
    for rate in ("target_rate", "confidence"):
        if not 0 < options[rate] < 1:
            raise DataError(f"--{rate.replace('target_rate', 'false-rejects')} must lie between 0 and 1")
    plan = Plan(
        data=data,
        recipe=recipe,
        name=options["name"] or recipe.absolute().name,
        version=options["version"],
        source=options["source"] or pair[0],
        target=options["target"] or pair[1],
        weights=weights,
        weights_dir=options["weights_dir"],
        size_px=(size[0], size[-1]),
        levels=options["levels"],
        latents=options["latents"],
        position=options["position"],
        schedule=schedule_named(options["schedule"]),
        target_rate=options["target_rate"],
        confidence=options["confidence"],
        folds=options["folds"],
        calibration_share=options["calibration_share"],
        residual_limit=options["residual_limit"],
        seed=options["seed"],
        device=device,
        threads=options["threads"],
        memory_bytes=round(options["memory_gib"] * 2**30),
        scratch=options["scratch"],
    )
    return plan, "; ".join(remarks)


def _reason(device: str, named: bool) -> str:
    if named:
        return "backbones or a weights folder were named"
    return "there is a GPU" if device == "cuda" else "no GPU here, so the light pair that ships with the package"
