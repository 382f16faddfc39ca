"""The commands `calibrate evaluate` and `calibrate compare`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from rich.console import Console

#: Options of `calibrate train` that a comparison chooses itself.
_OWN = frozenset({"data", "recipe", "name", "version", "detector", "preset"})
_TYPED = "calibration.typed"


class _Compare(click.Command):
    """Remembers the command as it was typed, for the report."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        typed = shlex.join(["calibrate", info_name or "compare", *args])
        context = super().make_context(info_name, args, parent, **extra)
        context.meta[_TYPED] = typed
        return context


class _Evaluate(click.Command):
    """With ``--detectors`` it is the comparison."""

    def __init__(self, *args: Any, comparison: click.Command, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._comparison = comparison

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if any(argument.split("=")[0] == "--detectors" for argument in args):
            return self._comparison.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def evaluate_command(comparison: click.Command) -> click.Command:
    """`calibrate evaluate`, which hands over to the comparison where detectors are named."""

    @click.command(cls=_Evaluate, comparison=comparison)
    @click.argument("recipe", type=click.Path(path_type=Path))
    @click.argument("data", type=click.Path(path_type=Path))
    @click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file.")
    @click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
    @click.option("--threads", type=click.IntRange(min=1), help="Threads on the CPU.")
    def evaluate(recipe: Path, data: Path, json_path: Path | None, device: str, threads: int | None) -> None:
        """Measure RECIPE on the test images of DATA: AUROC, AUPRO, F1, and pass/fail at its own threshold.

        'calibrate evaluate DATA --detectors a,b,c' is 'calibrate compare DATA --detectors a,b,c'.
        """
        from calibration.cli.progress import ConsoleReporter
        from calibration.cli.tables import evaluation_summary
        from calibration.evaluate import evaluate_recipe, write_json
        from inspector.recipe.store import load_recipe

        with ConsoleReporter(Console(stderr=True)) as reporter:
            figures = evaluate_recipe(load_recipe(recipe), data, device=device, threads=threads, reporter=reporter)
        click.echo(evaluation_summary(figures))
        if json_path is not None:
            write_json(json_path, figures.as_record())

    return evaluate


def compare_command(train: click.Command) -> click.Command:
    """`calibrate compare`, with the options of `calibrate train` that decide how a detector is made."""

    @click.command(cls=_Compare)
    @click.argument("data", type=click.Path(path_type=Path))
    @click.option("--detectors", metavar="NAME,NAME,...", required=True, help="Which, separated by commas.")
    @click.option("--categories", metavar="NAME,NAME,...", help="Only these categories of DATA. Default: all.")
    @click.option("--published", is_flag=True, help="Each detector with its preset, see 'calibrate train --preset'.")
    @click.option(
        "--work",
        type=click.Path(path_type=Path),
        default="comparison",
        show_default=True,
        help="Folder that keeps the recipes; the same command takes them from there.",
    )
    @click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write everything to this file.")
    @click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a page with curves and pictures.")
    @click.option("--gallery", type=click.IntRange(min=0), default=16, show_default=True, help="Images of a category.")
    @click.option(
        "--refine",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Refine so many of the defective ones (F2PAD, slow).",
    )
    @click.pass_context
    def compare(
        context: click.Context,
        /,
        data: Path,
        detectors: str,
        categories: str | None,
        work: Path,
        json_path: Path | None,
        html_path: Path | None,
        gallery: int,
        refine: int,
        published: bool,
        **options: Any,
    ) -> int:
        """Train DETECTORS on each category of DATA, measure them on its test images, and put them side by side.

        DATA is a category or a folder of several. A detector that fails on a category is reported there and the rest
        goes on; the exit code is then that of the first failure. An option that means nothing to a detector is left
        out for it.
        """
        import torch

        from calibration.cli.planning import make_plan
        from calibration.cli.progress import ConsoleReporter
        from calibration.cli.tables import comparison_summary
        from calibration.comparison import chosen_categories
        from calibration.comparison import compare as run
        from calibration.detectors.registry import method_named
        from calibration.evaluate import check_writable, write_json, write_text
        from calibration.gallery import GalleryOptions
        from calibration.plan import Plan
        from calibration.report.page import comparison_page
        from calibration.report.record import comparison_record, run_facts

        names = _listed(detectors)
        for name in names:
            method_named(name)
        folders = chosen_categories(data, None if categories is None else _listed(categories))
        for path, option in ((json_path, "--json"), (html_path, "--html")):
            if path is not None:
                check_writable(path, option)
        device = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
        pictures = GalleryOptions(gallery, refine, side_px=240 if len(names) <= 3 else 168, device=device)

        remarks: set[str] = set()

        def plan_for(folder: Path, detector: str) -> Plan:
            plan, remark = make_plan(folder, work / detector, _options_of(detector, options, published=published))
            if remark not in remarks | {""}:  # once is enough
                remarks.add(remark)
                click.echo(remark, err=True)
            return plan

        comparison = run(
            folders,
            names,
            plan_for,
            work,
            lambda: ConsoleReporter(Console(stderr=True)),
            pictures if html_path is not None and gallery else None,
        )
        click.echo(comparison_summary(comparison))
        facts = run_facts(context.meta[_TYPED], str(data), device, options["seed"])
        if json_path is not None:
            write_json(json_path, comparison_record(comparison, facts))
        if html_path is not None:
            write_text(html_path, comparison_page(comparison, facts), "--html")
            click.echo(f"written to {html_path}")
        return comparison.exit_code

    compare.params += [parameter for parameter in train.params if parameter.name not in _OWN]
    return compare


def _listed(names: str) -> tuple[str, ...]:
    """The names of a list with commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _options_of(detector: str, options: dict[str, Any], *, published: bool) -> dict[str, Any]:
    """What `calibrate train` would be told for a detector."""
    from calibration.detectors.base import OPTIONS
    from calibration.detectors.registry import method_named

    foreign = set(OPTIONS) - method_named(detector).options
    if "schedule" in foreign:
        foreign.add("rates")
    own = {"name": None, "version": 1, "detector": detector, "preset": detector if published else None}
    return {**options, **dict.fromkeys(foreign), **own}
