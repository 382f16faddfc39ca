"""From command-line options to a plan, with defaults that depend on the machine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from calibration.cli.presets import with_preset
from calibration.detectors.registry import method_named
from calibration.plan import Plan
from calibration.schedule import Schedule, schedule_named
from inspector.domain.errors import DataError
from inspector.models.bundled import bundled_names

#: Features that stay in memory where there is plenty of it.
_MEMORY_BYTES = 4 << 30
#: Side of the input where none is named.
_SIZE_PX = (256,)


def make_plan(data: Path, recipe: Path, options: dict[str, Any]) -> tuple[Plan, str]:
    """The plan, and a remark on what was chosen for the user (empty if nothing was).

    Raises:
        DataError: Options that can't be.
    """
    options = with_preset(options)
    method = method_named(options["detector"] or "mb-pfm")
    remarks = []
    device = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    weights = options["weights"]
    if weights is None:
        chosen = {options["source"], options["target"]} - {None}
        named = bool(options["weights_dir"] or chosen - set(bundled_names()))
        weights = "imagenet" if named or (device == "cuda" and not chosen) else "bundled"
        remarks.append(f"weights: {weights} ({_reason(device, named or bool(chosen))}; choose with --weights)")
    source, target = method.default_backbones(weights)
    size = options["size"] or _SIZE_PX
    if len(size) not in (1, 2):
        raise DataError("--size takes SIDE or HEIGHT,WIDTH")
    plan = Plan(
        data=data,
        recipe=recipe,
        name=options["name"] or recipe.absolute().name,
        version=options["version"],
        source=options["source"] or source,
        target=options["target"] or target,
        weights=weights,
        detector=method.name,
        weights_dir=options["weights_dir"],
        size_px=(size[0], size[-1]),
        tile_px=_tile(options.get("tile")),
        overlap_px=options.get("overlap", 32),
        region_px=_region(options.get("region")),
        ignore=options.get("ignore"),
        levels=options["levels"],
        latents=options["latents"],
        position=options["position"],
        position_base=options["position_base"],
        mapped=options["mapped"],
        smoothing_px=options.get("smoothing"),
        schedule=_schedule(options["schedule"], options["rates"], method.name),
        channels=options["channels"],
        coreset=options["coreset"],
        neighbours=options["neighbours"],
        target_rate=options["target_rate"],
        confidence=options["confidence"],
        folds=options["folds"],
        calibration_share=options["calibration_share"],
        residual_limit=options["residual_limit"],
        seed=options["seed"],
        device=device,
        precision=options.get("precision", "float32"),
        threads=options["threads"],
        memory_bytes=_memory_bytes(options["memory_gib"]),
        scratch=options["scratch"],
    )
    return plan, "; ".join(remarks)


def _schedule(name: str | None, rates: tuple[float, ...] | None, detector: str) -> Schedule | None:
    if rates is None:
        return None if name is None else schedule_named(name, detector)
    if len(rates) != 3 or not all(rate > 0 for rate in rates):
        raise DataError("--rates takes three positive rates, those of levels 1, 2 and 3")
    first, second, third = rates
    return replace(schedule_named(name or "fast", detector), rates=(first, second, third))


def _tile(numbers: tuple[int, ...] | None) -> tuple[int, int] | None:
    if numbers is None:
        return None
    if len(numbers) not in (1, 2):
        raise DataError("--tile takes SIDE or HEIGHT,WIDTH")
    return numbers[0], numbers[-1]


def _region(numbers: tuple[int, ...] | None) -> tuple[int, int, int, int] | None:
    if numbers is None:
        return None
    if len(numbers) != 4 or min(numbers) < 0 or 0 in numbers[2:]:
        raise DataError("--region takes LEFT,TOP,WIDTH,HEIGHT in pixels of the frame, such as 100,0,800,600")
    left, top, width, height = numbers
    return left, top, width, height


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
