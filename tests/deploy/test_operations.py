"""What the operations guide says is so: its commands exist, its files are installed, no cause is left out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from calibration.cli.main import cli as calibrate
from inspector.cli.main import cli as inspector
from inspector.config.load import load_config
from inspector.domain.verdict import Cause

PROGRAMS: dict[str, click.Command] = {"inspector": inspector, "calibrate": calibrate}


@pytest.fixture(scope="module")
def guide(root: Path) -> str:
    return (root / "docs/operations.md").read_text()


def commands(text: str) -> list[list[str]]:
    """Commands of the two programs, in blocks of shell and in running text."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    candidates = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)
    words = [shlex.split(candidate, comments=True) for candidate in candidates if "..." not in candidate]
    return [found for found in words if found and found[0] in PROGRAMS and len(found) > 1]


def parsed(words: list[str]) -> None:
    """Parses a command as the program would, without running it."""
    command, context = PROGRAMS[words[0]], None
    arguments = words[1:]
    while True:
        context = command.make_context(words[0], list(arguments), parent=context, resilient_parsing=False)
        if not isinstance(command, click.Group):
            return
        remaining = [*context._protected_args, *context.args]
        if not remaining:
            return
        name, found, arguments = command.resolve_command(context, remaining)
        assert name is not None
        assert found is not None
        command = found


def test_every_command_of_the_guide_exists(guide: str) -> None:
    found = commands(guide)
    assert len(found) > 10
    for words in found:
        try:
            parsed(words)
        except click.ClickException as error:
            pytest.fail(f"{shlex.join(words)}: {error.format_message()}")


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.ClickException, match="No such command"):
        parsed(["inspector", "reticulate"])
    with pytest.raises(click.ClickException, match="No such option"):
        parsed(["inspector", "check", "--gently"])


def test_every_link_inside_the_guide_leads_somewhere(guide: str) -> None:
    headings = re.findall(r"^#+ (.+)$", guide, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]+)\)", guide)
    assert len(links) > 10
    assert set(links) <= anchors


def test_table_of_causes_is_complete(guide: str) -> None:
    table = guide[guide.index("## Table of causes") : guide.index("## Backup")]
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    judged = {Cause.SCORE_WITHIN_THRESHOLD, Cause.SCORE_ABOVE_THRESHOLD}
    assert rows == {cause.value for cause in Cause if cause not in judged}


def test_every_shipped_file_that_the_guide_names_is_there(root: Path, guide: str) -> None:
    for path in set(re.findall(r"\bdeploy/[\w./@-]*\w", guide)):
        assert (root / path).exists(), path


def test_configuration_of_a_service_loads(root: Path) -> None:
    config = load_config(root / "deploy/station.yaml")
    assert config.verdicts.log is not None
    # The unit lets it write nowhere else.
    for path in (config.verdicts.log, config.recipe):
        assert path.is_relative_to("/var/lib/inspector")
