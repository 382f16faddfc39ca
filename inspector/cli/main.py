"""The command `inspector`: arguments, one log line for an error, exit codes."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

import inspector
from inspector.cli.demo.command import demo
from inspector.cli.keys import keys
from inspector.cli.measuring import bench, soak, tail
from inspector.cli.remote_camera import camera
from inspector.cli.simulator import simulator
from inspector.config.load import load_config
from inspector.domain.errors import FatalError
from inspector.outputs.log_format import name_station, start_log

log = logging.getLogger("inspector")

_CONFIG = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("inspector.yaml"),
    show_default=True,
    help="Configuration file.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(inspector.__version__, prog_name="inspector")
def cli() -> None:
    """Inspects parts on a conveyor: every trigger gets exactly one verdict, in time."""


@cli.command()
@_CONFIG
def run(config_path: Path) -> None:
    """Run the line until SIGTERM, Ctrl-C or the end of the source."""
    from inspector.roles.daemon import run_daemon

    config = load_config(config_path)
    name_station(config.station)
    run_daemon(config, os.environ, load=lambda: load_config(config_path))


@cli.command()
@_CONFIG
@click.option("--camera/--no-camera", default=True, show_default=True, help="Open the camera too.")
def check(config_path: Path, camera: bool) -> None:
    """Check configuration, recipe and camera, and print the resolved configuration."""
    from inspector.cli.check import check_station

    click.echo(check_station(load_config(config_path), open_camera=camera))


_PRODUCERS = click.option(
    "--producer",
    "producers",
    multiple=True,
    type=click.Path(path_type=Path),
    help="GenTL producer (.cti); may be repeated. Default: GENICAM_GENTL64_PATH.",
)
_VIEW = click.option("--view", help="Name of the view, where the station has several cameras.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.group(invoke_without_command=True)
@_PRODUCERS
@_JSON
@click.pass_context
def cameras(context: click.Context, producers: tuple[Path, ...], as_json: bool) -> None:
    """List the cameras that can be found; or show and save the settings of one."""
    context.obj = producers
    if context.invoked_subcommand is None:
        from inspector.cli.cameras import camera_table

        click.echo(camera_table(producers, as_json=as_json))


@cameras.command()
@click.argument("name")
@_PRODUCERS
@_JSON
@click.pass_obj
def show(former: tuple[Path, ...], name: str, producers: tuple[Path, ...], as_json: bool) -> None:
    """Print the node map of camera NAME: its serial number, user id, model or index."""
    from inspector.cli.cameras import node_table

    click.echo(node_table(producers or former, name, as_json=as_json))


@cameras.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path))
@_PRODUCERS
@click.pass_obj
def save(former: tuple[Path, ...], name: str, file: Path, producers: tuple[Path, ...]) -> None:
    """Save the settings of camera NAME to FILE (.pfs), for features_file in the configuration."""
    from inspector.cli.cameras import save_features

    click.echo(save_features(producers or former, name, file))


_DECISION = click.option("--decision", type=click.Choice(["pass", "fail", "not_inspected"]), help="Only these parts.")
_SINCE = click.option("--since", type=click.DateTime(), help="Only parts judged then or later, in local time.")
_LIMIT = click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Entries at most, the latest."
)


@cli.group()
def archive() -> None:
    """Look at the pictures and verdicts that the line has kept."""


@archive.command("list")
@_CONFIG
@_VIEW
@_DECISION
@_SINCE
@_LIMIT
@_JSON
def archive_list(config_path: Path, view: str | None, as_json: bool, **choice: Any) -> None:
    """List entries, the latest first."""
    from inspector.cli.archive import archive_folder, archive_table

    click.echo(archive_table(archive_folder(load_config(config_path).line_of(view)), as_json=as_json, **choice))


@archive.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@_CONFIG
@_VIEW
@_DECISION
@_SINCE
@_LIMIT
def archive_export(folder: Path, config_path: Path, view: str | None, **choice: Any) -> None:
    """Copy entries into FOLDER: pictures, maps and verdicts."""
    from inspector.cli.archive import archive_folder, export_entries

    click.echo(export_entries(archive_folder(load_config(config_path).line_of(view)), folder, **choice))


_PATIENCE = click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Longest wait for a frame, in seconds.",
)


@cli.group()
def recipe() -> None:
    """List recipes; let the running line take up another one, or the former one again."""


@recipe.command("list")
@click.argument("folder", type=click.Path(path_type=Path))
@_JSON
def recipe_list(folder: Path, as_json: bool) -> None:
    """List the recipes in FOLDER, their hashes checked."""
    from inspector.cli.recipes import list_recipes

    click.echo(list_recipes(folder, as_json=as_json))


_WHY = click.option("--why", required=True, help="Reason, for the audit log.")


@cli.command()
@_CONFIG
@_JSON
def status(config_path: Path, as_json: bool) -> None:
    """Show how the running line of a configuration stands."""
    from inspector.cli.control import control

    click.echo(control(config_path, "status", as_json=as_json))


@cli.command()
@_CONFIG
@_WHY
def pause(config_path: Path, why: str) -> None:
    """Take no more triggers; parts that are open get their verdicts. A part without a verdict is a reject."""
    from inspector.cli.control import control

    click.echo(control(config_path, "pause", why=why))


@recipe.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_CONFIG
@_VIEW
@_WHY
def activate(folder: Path, config_path: Path, view: str | None, why: str) -> None:
    """Let the running line take up the recipe in FOLDER, between two parts, once it is loaded and proven."""
    from inspector.cli.control import change_recipe

    click.echo(change_recipe(config_path, view, folder, why))


@recipe.command()
@_CONFIG
@_VIEW
@_WHY
def rollback(config_path: Path, view: str | None, why: str) -> None:
    """Let the running line take up the recipe again that was in use before."""
    from inspector.cli.control import change_recipe

    click.echo(change_recipe(config_path, view, None, why))


@cli.command()
@_CONFIG
@_WHY
def resume(config_path: Path, why: str) -> None:
    """Take triggers again after a pause."""
    from inspector.cli.control import control

    click.echo(control(config_path, "resume", why=why))


@cli.command()
@_CONFIG
@_WHY
def reload(config_path: Path, why: str) -> None:
    """Let the running line take up what has changed in its configuration; refused as a whole where that can't be."""
    from inspector.cli.control import control

    click.echo(control(config_path, "reload", why=why))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("snapshot.png"))
@_CONFIG
@_VIEW
@_PATIENCE
def snapshot(file: Path, config_path: Path, view: str | None, patience_s: float) -> None:
    """Take one picture from the configured camera into FILE (default snapshot.png)."""
    from inspector.cli.snapshot import take_snapshot

    click.echo(take_snapshot(load_config(config_path).line_of(view).camera, file, patience_s))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(min=1), default=200, show_default=True, help="Pictures to collect.")
@click.option(
    "--least-difference",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Pictures that differ by less, in grey levels of 255 on average, are near-duplicates; 0 keeps all.",
)
@_CONFIG
@_VIEW
@_PATIENCE
def collect(
    folder: Path, count: int, least_difference: float, config_path: Path, view: str | None, patience_s: float
) -> None:
    """Collect pictures of good parts from the configured camera into FOLDER, for calibrate train."""
    from inspector.cli.collect import collect as collect_pictures

    config = load_config(config_path).line_of(view)
    with click.progressbar(length=count, label="collecting", file=sys.stderr) as bar:
        collected = collect_pictures(
            config.camera,
            folder,
            count,
            least_difference=least_difference,
            patience_s=patience_s,
            say=lambda text: log.warning("%s", text),
            progress=lambda saved: bar.update(saved - bar.pos),
        )
    click.echo(collected.told(folder, count))


cli.add_command(demo)
cli.add_command(keys)
cli.add_command(camera)
cli.add_command(simulator)
cli.add_command(bench)
cli.add_command(tail)
cli.add_command(soak)


def main(argv: list[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        Exit code: 0, or that of the error (`inspector.domain.errors`), or 2 for wrong arguments.
    """
    try:
        start_log("gate", os.environ, text="%(levelname)s: %(message)s")
        cli.main(args=argv, prog_name="inspector", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except FatalError as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return error.exit_code
    except Exception:
        log.exception("defect of the program")
        return 70
    return 0
