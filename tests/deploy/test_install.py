"""The installation, laid out below a folder: complete, the same when run twice, and gone when asked."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Tool = Callable[[str, str], str]


class Installation:
    """Runs install.sh against a folder."""

    def __init__(self, script: Path, below: Path) -> None:
        self.script = script
        self.below = below

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(self.script), "--root", str(self.below), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})

    def tree(self) -> dict[str, tuple[int, bytes | None]]:
        """Mode and content of all that lies there."""
        return {
            str(path.relative_to(self.below)): (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
            for path in sorted(self.below.rglob("*"))
        }


@pytest.fixture
def installation(root: Path, tmp_path: Path) -> Installation:
    return Installation(root / "deploy/install.sh", tmp_path / "system")


def test_script_is_clean(tool: Tool, root: Path) -> None:
    command = [tool("shellcheck", "shellcheck"), str(root / "deploy/install.sh"), str(root / "tests/measure_gpu.sh")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert os.access(root / "deploy/install.sh", os.X_OK)


def test_check_names_what_is_missing_and_changes_nothing(installation: Installation) -> None:
    done = installation.run("--check")
    assert done.returncode == 1
    assert "missing  /etc/inspector\n" in done.stdout
    assert not installation.below.exists()


def test_installation_is_complete_and_quiet_the_second_time(root: Path, installation: Installation) -> None:
    first = installation.run()
    assert first.returncode == 0, first.stderr
    assert "written  /etc/systemd/system/inspector@.service\n" in first.stdout
    unit = installation.below / "etc/systemd/system/inspector@.service"
    assert unit.read_text() == (root / "deploy/systemd/inspector@.service").read_text()
    assert (installation.below / "etc/inspector").stat().st_mode & 0o777 == 0o750
    before = installation.tree()
    second = installation.run()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert installation.tree() == before
    check = installation.run("--check")
    assert check.returncode == 0, check.stdout
    assert check.stdout.endswith("all is in place\n")


def test_what_alerts_and_grafana_point_to_is_installed(root: Path, installation: Installation) -> None:
    installation.run()
    program = installation.below / "opt/inspector"
    assert (program / "doc/operations.md").exists()
    for folder in ("prometheus", "grafana/dashboards", "grafana/provisioning/datasources"):
        shipped = {path.name for path in (root / "deploy" / folder).glob("*.*")}
        assert {path.name for path in (program / folder).glob("*.*")} == shipped
        assert shipped
    shipped = {"gpu.conf", "memory.conf", "priority.conf", "remote.conf", "remote-camera.conf"}
    assert {path.name for path in (program / "drop-ins").iterdir()} == shipped


def test_check_sees_a_change_and_installing_mends_it(installation: Installation) -> None:
    installation.run()
    rule = installation.below / "etc/udev/rules.d/70-inspector-usb3-vision.rules"
    rule.write_text("# edited by hand\n")
    (installation.below / "etc/inspector").chmod(0o755)
    (installation.below / "opt/inspector/prometheus/alerts.yaml").unlink()
    before = installation.tree()
    check = installation.run("--check")
    assert check.returncode == 1
    assert re.search(r"^differs +/etc/udev/rules.d/70-inspector-usb3-vision.rules", check.stdout, re.MULTILINE)
    assert re.search(r"^differs +/etc/inspector: mode 755, expected 750", check.stdout, re.MULTILINE)
    assert re.search(r"^missing +/opt/inspector/prometheus/alerts.yaml", check.stdout, re.MULTILINE)
    assert installation.tree() == before
    assert installation.run().returncode == 0
    assert installation.run("--check").returncode == 0


def test_upgrade_leaves_configurations_and_recipes_alone(installation: Installation) -> None:
    installation.run()
    own = {
        installation.below / "etc/inspector/press-1.yaml": "station: press-1\n",
        installation.below / "var/lib/inspector/recipes/part/recipe.yaml": "name: part\n",
        installation.below / "etc/systemd/system/inspector@press-1.service.d/gpu.conf": "[Service]\n",
    }
    for path, text in own.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    installation.run()
    assert {path: path.read_text() for path in own} == own
    assert installation.run("--uninstall").returncode == 0
    assert {path: path.read_text() for path in own} == own
    left = [path for path in installation.below.rglob("*") if path.is_file()]
    assert sorted(left) == sorted(own)
    assert installation.run("--uninstall", "--purge").returncode == 0
    assert [path for path in installation.below.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--purge"], "--purge goes with --uninstall"),
        (["--chek"], "unknown option --chek"),
        (["--root"], "--root needs a folder"),
        (["--root", "/"], "the running system"),
        (["--root", "/tmp/.."], "the running system"),
    ],
)
def test_mistaken_calls_change_nothing(installation: Installation, arguments: list[str], message: str) -> None:
    done = installation.run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert not installation.below.exists()


def test_help_names_every_option(installation: Installation) -> None:
    done = installation.run("--help")
    assert done.returncode == 0
    options = set(re.findall(r"^        (--[a-z]+)", installation.script.read_text(), re.MULTILINE))
    assert options == {"--check", "--uninstall", "--purge", "--root", "--help"}
    assert all(option in done.stdout for option in options)
