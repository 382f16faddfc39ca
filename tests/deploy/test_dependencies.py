"""The program runs with nothing but what it declares: an environment for tests has more, a plant's has not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path

import cv2
from packaging.requirements import Requirement

from ..striped_parts import SIDE_PX, striped_part

PROGRAM = Path(__file__).with_name("run_without.py")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str) -> set[str]:
    """What pip installs with a distribution, itself included."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonical(name), "")]
    while waiting:
        distribution, extra = waiting.pop()
        if (distribution, extra) in found:
            continue
        found.add((distribution, extra))
        try:
            lines = requires(distribution) or []
        except PackageNotFoundError:  # for another platform
            continue
        for requirement in map(Requirement, lines):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonical(requirement.name), one) for one in ("", *requirement.extras)]
    return {distribution for distribution, _ in found}


def modules() -> dict[str, set[str]]:
    """Names that can be imported, and the distributions that bring them; Python 3.10's own table lacks many."""
    owners: dict[str, set[str]] = defaultdict(set)
    for distribution in distributions():
        for file in distribution.files or ():
            name, _, rest = file.parts[0].partition(".")
            if file.suffix in (".py", ".so") and rest in ("", "py") and name.isidentifier():
                owners[name].add(canonical(distribution.name))
    return owners


def test_calibration_and_engine_work_without_the_packages_of_the_tests(tmp_path: Path) -> None:
    # OpenVINO imports packaging, does not declare it, and pytest brought it along: every test passed, and the installed
    # program could not calibrate.
    needed = closure("conveyor-inspector")
    assert {"torch", "openvino", "pyzmq"} <= needed
    forbidden = sorted(name for name, owners in modules().items() if not owners & needed)
    assert {"pytest", "hypothesis"} <= set(forbidden)
    good = tmp_path / "good"
    good.mkdir()
    for number in range(12):
        cv2.imwrite(str(good / f"{number}.png"), striped_part(number))
    # In bfloat16 the calibration scores with the line's engine, OpenVINO; PaDiM needs no training.
    train = ["train", str(good), "--recipe", str(tmp_path / "recipe"), "--detector", "padim", "--precision", "bfloat16"]
    quick = ["--weights", "random:1", "--source-network", "squeezenet1_1", "--size", str(SIDE_PX), "--channels", "8"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(forbidden), *train, *quick],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "imported" in done.stdout
    assert (tmp_path / "recipe").exists()
