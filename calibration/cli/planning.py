"""From command-line options to a plan, with defaults that depend on the machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from calibration.plan import Plan, default_pair
from calibration.schedule import schedule_named
from inspector.domain.errors import DataError
from inspector.models.bundled import bundled_names

#: Features that stay in memory where there is plenty of it.
_MEMORY_BYTES = 4 << 30


def make_plan(data: Path, recipe: Path, options: dict[str, Any]) -> tuple[Plan, str]:
    """The plan, and a remark on what was chosen for the user (empty if nothing was).

    Raises:
        DataError: Options that can't be.
    """
    remarks = []
    device = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    weights = options["weights"]
    if weights is None:
        chosen = {options["source"], options["target"]} - {None}
        named = bool(options["weights_dir"] or chosen - set(bundled_names()))
        weights = "imagenet" if named or (device == "cuda" and not chosen) else "bundled"
        remarks.append(f"weights: {weights} ({_reason(device, named or bool(chosen))}; choose with --weights)")
    pair = default_pair(weights)
    size = options["size"]
    if len(size) not in (1, 2):
        raise DataError("--size takes SIDE or HEIGHT,WIDTH")
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
        memory_bytes=_memory_bytes(options["memory_gib"]),
        scratch=options["scratch"],
    )
    return plan, "; ".join(remarks)


def _memory_bytes(gib: float | None) -> int:
    if gib is not None:
        return round(gib * 2**30)
    try:
        available = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:  # not every system has it
        available = None
    return min(_MEMORY_BYTES, int(available[1]) * 1024 // 2) if available else _MEMORY_BYTES


def _reason(device: str, named: bool) -> str:
    if named:
        return "backbones or a weights folder were named"
    return "there is a GPU" if device == "cuda" else "no GPU here, so the light pair that ships with the package"
