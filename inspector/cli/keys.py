"""`inspector keys`: a key pair for connections beyond this machine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("name")
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default=True,
    help="Folder of the two files; made if it is not there.",
)
def keys(name: str, folder: Path) -> None:
    """Make a CURVE key pair for NAME, a station or one who connects to it."""
    from inspector.wire.curve import write_key_pair

    public, secret = write_key_pair(name, folder)
    click.echo(
        f"{secret}: secret, for {name} alone, mode 0600: secret_key in its configuration.\n"
        f"{public}: public, for the others: whoever connects to {name} needs it; where {name} connects to, it goes "
        "into the folder `clients`, and counts from the next start on."
    )
