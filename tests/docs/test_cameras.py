"""The commands of docs/cameras.md do what they say, run one after the other by a shell."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "cameras.md"
LIMIT_S = 400


def commands() -> str:
    return "".join(re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))


def causes(log: Path) -> Counter[str]:
    return Counter(json.loads(line)["cause"] for line in log.read_text().splitlines())


@pytest.mark.process
@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.usefixtures("gentl_producer")  # skips without a compiler
def test_walk_through_works_as_written() -> None:
    with tempfile.TemporaryDirectory(prefix="walk-") as name:  # pytest's own paths are too long for sockets
        folder = Path(name)
        output = folder / "output.txt"
        with output.open("w") as stream:
            shell = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", commands()],
                cwd=folder,
                env=os.environ
                | {
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "XDG_RUNTIME_DIR": str(folder),
                    "OMP_WAIT_POLICY": "PASSIVE",
                },
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = shell.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                if shell.poll() is None:  # the whole session: a daemon that was left behind ends too
                    os.killpg(shell.pid, signal.SIGTERM)
                    shell.wait(30)
        said = output.read_text()
        assert code == 0, said
        assert (folder / "first.png").is_file()
        assert "\nExposureTime\t5000.0\n" in (folder / "camera.pfs").read_text()
        assert len(list((folder / "good-parts").glob("*.png"))) == 40
        free, triggered = causes(folder / "verdicts.jsonl"), causes(folder / "triggered.jsonl")
        assert free["score_above_threshold"] >= 1, said
        assert free["score_within_threshold"] >= 1, said
        assert (triggered["frame_missing"], triggered["camera_lost"]) == (2, 1), said
        assert said.count(" not inspected\n") >= 2, said


def test_walk_through_has_its_commands() -> None:
    text = commands()
    for command in ("cameras", "cameras show", "snapshot", "collect", "check", "run", "simulator tell"):
        assert f"inspector {command} " in text or f"inspector {command}\n" in text
