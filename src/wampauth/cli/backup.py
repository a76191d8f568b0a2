"""What if all is lost, or shouldn't have been done? A backup of the store, and the way back."""

from pathlib import Path

import click

from wampauth.cli.acting import acted
from wampauth.store import backup as copies

MOST = 20  # credentials that are named
QUESTION = "Forget what the store holds now, and make it what it was when this file was written?"
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@click.pass_obj
def backup(where: str, file: Path) -> None:
    """Write all of the store into a new FILE, while nodes use it. FILE is a store itself, for its owner only."""
    copies.keep(where, file)
    acted("backup", change=f"to {file}")
    click.echo(
        f"{file} holds the store as it is now: keep it like the store itself. `wampauth recover` reads it.", err=True
    )


@click.command()
@click.argument("file", type=FILE)
@click.confirmation_option("--yes", prompt=QUESTION, help="Don't ask.")
@click.pass_obj
def recover(where: str, file: Path) -> None:
    """Make the store what it was when `backup` wrote FILE, while nodes use it. Who was revoked since then counts
    again; whom it doesn't know leaves within a second."""
    again = copies.bring_back(where, file)
    acted("recover", change=f"from {file}, {len(again)} credentials count again")
    click.echo("The store is what it was.", err=True)
    if again:
        click.echo(f"Credentials that count again and didn't a moment ago ({len(again)}):", err=True)
        for authid, credential in again[:MOST]:
            click.echo(f"  wampauth revoke {authid} --credential {credential}", err=True)
    if len(again) > MOST:
        click.echo(f"  and {len(again) - MOST} more", err=True)
