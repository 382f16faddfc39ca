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
        f"{secret}: secret, for {name} alone, mode 0600. A station names it in verdicts.curve.secret_key.\n"
        f"{public}: public, for the others. The station's goes to everyone who connects to it; a client's goes into "
        "the station's folder verdicts.curve.clients, which takes effect with the station's next start."
    )
