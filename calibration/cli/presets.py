"""Detectors with their authors' settings, by name.

Where a paper and its public code differ, a preset is what produced the published numbers; the other form is an option.
Images are resized whole, without the centre crop of the PaDiM and PatchCore code, which hides defects at the border,
and CFLOW-AD goes without the paper's third map, ResNet's layer4, which is no hierarchy here.
"""

from __future__ import annotations

from typing import Any

from inspector.domain.errors import DataError

_ABLATION = {"source": "resnet18", "target": "resnet34", "levels": (3,), "schedule": "published"}
_PAIR = {"source": "resnet34", "target": "resnet50", "levels": (1, 2, 3), "schedule": "published"}

#: Options of each preset, by their names in the command. The published latent widths are the defaults of these pairs.
PRESETS: dict[str, dict[str, Any]] = {
    "pfm": _ABLATION,  # PFM paper, Table VII, case 1
    "b-pfm": _ABLATION,  # case 2
    "mb-pfm": {**_PAIR, "position": "none"},  # case 11
    "pefm": {**_PAIR, "position": "add"},
    "padim": {"source": "wide_resnet50_2", "levels": (1, 2, 3), "channels": 550},
    # The authors' code, which gave their numbers, has no weight on the image score.
    "patchcore": {"source": "wide_resnet50_2", "levels": (2, 3), "coreset": 0.1, "neighbours": 0},
    "cflow-ad": {"source": "wide_resnet50_2", "levels": (2, 3), "schedule": "published"},
}


def with_preset(options: dict[str, Any]) -> dict[str, Any]:
    """Options of the command, those that were not given taken from the preset that they name.

    Raises:
        DataError: There is no such preset, or it is one of another detector.
    """
    name = options["preset"]
    if name is None:
        return options
    if name not in PRESETS:
        raise DataError(f"unknown preset {name!r}; known are {', '.join(PRESETS)}")
    if options["detector"] not in (None, name):
        raise DataError(f"the preset {name} is one of the detector of that name; leave --detector or --preset out")
    settings = {"detector": name, "weights": "imagenet", "size": (256,), **PRESETS[name]}
    return {key: settings.get(key) if value is None else value for key, value in options.items()}
