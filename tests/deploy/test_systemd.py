"""systemd's own judgement of the unit: no mistake, little exposure; and what the daemon relies on."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.config.schema import Supervision
from inspector.domain.errors import ConfigError, RecipeError
from inspector.outputs.log_format import VARIABLE, JsonFormatter, log_formatter

Tool = Callable[[str, str], str]


class Sections(configparser.RawConfigParser):
    """A unit file; keys keep their case, the last of several values stays."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


@pytest.fixture
def unit(root: Path) -> configparser.SectionProxy:
    sections = Sections(strict=False)
    sections.read(root / "deploy/systemd/inspector@.service")
    return sections["Service"]


@pytest.fixture
def staged(root: Path, tmp_path: Path) -> Path:
    """An instance of the unit with all drop-ins, as systemd would find it; its program exists."""
    instance = tmp_path / "inspector@press-1.service"
    shutil.copy(root / "deploy/systemd/inspector@.service", tmp_path / "inspector@.service")
    shutil.copy(root / "deploy/systemd/inspector@.service", instance)
    shutil.copytree(root / "deploy/systemd/drop-ins", tmp_path / "inspector@press-1.service.d")
    for path in (*tmp_path.glob("*.service"), *tmp_path.glob("*.d/*.conf")):
        there = shutil.which("true") or "/bin/true"
        path.write_text(path.read_text().replace("/opt/inspector/venv/bin/inspector", there))
    return instance


def analyze(tool: Tool, *arguments: str) -> str:
    command = [tool("systemd-analyze", "systemd"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_unit_and_drop_ins_verify_clean(tool: Tool, staged: Path) -> None:
    said = analyze(tool, "verify", "--man=no", str(staged))
    # What other units of this machine lack is no matter of ours.
    assert not [line for line in said.splitlines() if "inspector" in line], said


def test_a_mistake_in_the_unit_would_be_found(tool: Tool, staged: Path) -> None:
    staged.write_text(staged.read_text().replace("ProtectSystem=strict", "ProtectSistem=strict"))
    said = analyze(tool, "verify", "--man=no", str(staged))
    assert "ProtectSistem" in said


def test_exposure_is_small(tool: Tool, staged: Path) -> None:
    said = analyze(tool, "security", "--offline=true", "--threshold=25", str(staged))
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert level is not None, said
    assert float(level.group(1)) <= 2.5


def test_unit_fits_the_daemon(unit: configparser.SectionProxy) -> None:
    assert unit["Type"] == "notify"
    assert unit["ExecStart"] == "/opt/inspector/venv/bin/inspector run -c /etc/inspector/%i.yaml"
    hopeless = {int(code) for code in unit["RestartPreventExitStatus"].split()}
    assert hopeless == {ConfigError.exit_code, RecipeError.exit_code}
    limits = Supervision()
    assert int(unit["TimeoutStopSec"]) > limits.stop_timeout_s
    assert int(unit["TimeoutStartSec"]) > limits.start_timeout_s
    # A hung child is the gate's to kill; the watchdog is for the gate.
    assert int(unit["WatchdogSec"]) > 2 * limits.heartbeat_timeout_s


def test_the_journal_gets_the_structured_log(root: Path) -> None:
    text = (root / "deploy/systemd/inspector@.service").read_text()
    chosen = re.findall(rf"^Environment={VARIABLE}=(\w+)$", text, re.MULTILINE)
    assert chosen == ["json"]
    assert isinstance(log_formatter("gate", {VARIABLE: chosen[0]}, "s", text="", to_journal=False), JsonFormatter)


def test_cameras_stay_within_reach(unit: configparser.SectionProxy, root: Path) -> None:
    text = (root / "deploy/systemd/inspector@.service").read_text()
    assert "PrivateDevices=" not in text.replace("# Cameras only. PrivateDevices would hide them.", "")
    assert "DeviceAllow=char-video4linux rw" in text
    assert "DeviceAllow=char-usb_device rw" in text
    assert "MemoryDenyWriteExecute=true" not in text
    rule = (root / "deploy/udev/70-inspector-usb3-vision.rules").read_text()
    assert f'GROUP="{unit["Group"]}"' in rule
    for line in filter(None, re.sub(r"#.*", "", rule).splitlines()):
        assert re.fullmatch(r'(\w+(\{\w+\})?(==|=|\+=)"[^"]*"(, )?)+', line), line
