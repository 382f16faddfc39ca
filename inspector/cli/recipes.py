"""`inspector recipe list`: the recipes of a folder, without torch."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from inspector.domain.errors import DataError, RecipeError
from inspector.recipe.store import MANIFEST, Recipe, load_recipe


def list_recipes(folder: Path, *, as_json: bool) -> str:
    """The recipes that lie in a folder, each with its hashes checked; damaged ones are named as such.

    Raises:
        DataError: There is no such folder, or no recipe in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name one that holds recipes")
    found = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if not found:
        raise DataError(f"{folder} holds no recipes; `calibrate train` makes them")
    rows = [_row(path) for path in found]
    if as_json:
        return json.dumps(rows, indent=2)
    table = Table(box=None, pad_edge=False)
    for name in ("folder", "recipe", "version", "detector", "made", "promise", "hash"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            *(str(row.get(name, "")) for name in ("folder", "name", "version", "detector", "created")),
            str(row.get("promise", row.get("problem", ""))),
            str(row.get("hash", ""))[:12],
        )
    console = Console()
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _row(path: Path) -> dict[str, object]:
    try:
        recipe: Recipe = load_recipe(path)
    except RecipeError as error:
        return {"folder": path.name, "problem": str(error)}
    manifest = recipe.manifest
    return {
        "folder": path.name + (" (link)" if path.is_symlink() else ""),
        "name": manifest.name,
        "version": manifest.version,
        "detector": manifest.network.detector,
        "created": manifest.created,
        "promise": f"{manifest.threshold.promise:.2%}",
        "hash": recipe.content_hash,
    }
