"""The Debian package: what is in it, and what dpkg does with it, in a system of its own below a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import inspector

Tool = Callable[[str, str], str]

PACKAGE = "conveyor-inspector"
#: What install.sh gets its files from.
SHARE = "usr/share/conveyor-inspector"


def run(*command: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "PYTHON": sys.executable}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=timeout, env=environment
    )


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the place of 3 GB."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in (f"conveyor_inspector-{inspector.__version__}-py3-none-any.whl", "torch-2.8.0-cp311-none-any.whl"):
        (folder / name).write_bytes(b"wheel")
    return folder


@pytest.fixture(scope="session")
def package(tool: Tool, root: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool("dpkg-deb", "dpkg")
    folder = tmp_path_factory.mktemp("package")
    done = run(root / "deploy/debian/build.sh", "--wheels", wheels, folder)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file


class System:
    """dpkg with a database and files of its own."""

    def __init__(self, below: Path) -> None:
        self.below = below
        (below / "var/lib/dpkg/info").mkdir(parents=True)
        (below / "var/lib/dpkg/updates").mkdir()
        (below / "var/lib/dpkg/status").touch()

    def dpkg(self, *arguments: str | Path) -> str:
        # The interpreter and systemd are the machine's, and its scripts are run from outside of the folder.
        done = run("dpkg", f"--root={self.below}", "--force-depends", "--force-script-chrootless", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def files(self) -> list[str]:
        """All but dpkg's own."""
        return sorted(
            str(path.relative_to(self.below))
            for path in self.below.rglob("*")
            if path.is_file() and not str(path.relative_to(self.below)).startswith(("var/lib/dpkg", "var/log"))
        )


def test_scripts_are_clean(tool: Tool, root: Path) -> None:
    scripts = sorted((root / "deploy/debian").iterdir())
    assert [script.name for script in scripts] == ["build.sh", "postinst", "postrm", "prerm"]
    done = run(tool("shellcheck", "shellcheck"), *scripts)
    assert done.returncode == 0, done.stdout
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_package_holds_program_and_wheels_and_no_caches(package: Path) -> None:
    contents = run("dpkg-deb", "--contents", package).stdout
    for name in (
        "deploy/install.sh",
        "inspector/__init__.py",
        "calibration/__init__.py",
        "LICENSE",
        "docs/operations.md",
    ):
        assert f" ./{SHARE}/{name}\n" in contents
    assert contents.count(".whl\n") == 2
    assert "__pycache__" not in contents
    assert all(line.split()[1] == "root/root" for line in contents.splitlines())


def test_package_asks_for_the_python_that_its_wheels_are_for(package: Path) -> None:
    assert package.name.startswith(f"{PACKAGE}_{inspector.__version__}_")
    depends = run("dpkg-deb", "--field", package, "Depends").stdout
    minor = sys.version_info[1]
    assert f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), python3-venv" in depends


@pytest.mark.skipif(os.geteuid() != 0, reason="dpkg installs as root only, below a folder too")
def test_what_a_plant_wrote_outlives_upgrade_and_removal_and_goes_with_a_purge(package: Path, tmp_path: Path) -> None:
    system = System(tmp_path / "system")
    said = system.dpkg("--install", package)
    assert "written  /etc/systemd/system/inspector@.service" in said
    installer = system.below / SHARE / "deploy/install.sh"
    check = run(installer, "--check", "--root", system.below)
    assert check.returncode == 0, check.stdout
    own = {"etc/inspector/press-1.yaml": "station: press-1\n", "var/lib/inspector/recipes/part/recipe.json": "{}"}
    for name, text in own.items():
        (system.below / name).parent.mkdir(exist_ok=True)
        (system.below / name).write_text(text)

    (system.below / "opt/inspector/doc/operations.md").write_text("of the former release")
    system.dpkg("--install", package)
    assert run(installer, "--check", "--root", system.below).returncode == 0
    assert {name: (system.below / name).read_text() for name in own} == own

    system.dpkg("--remove", PACKAGE)
    assert system.files() == sorted(own)
    system.dpkg("--purge", PACKAGE)
    assert system.files() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "an output folder is needed"),
        (["--wheel", "out"], "unknown option --wheel"),
        (["out", "more"], "one output folder"),
        (["--wheels"], "--wheels needs a folder"),
        (["--wheels", "nowhere", "out"], "nowhere is no folder"),
        (["--wheels", ".", "out"], "no wheel of the program"),
    ],
)
def test_mistaken_calls_make_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(root / "deploy/debian/build.sh", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
