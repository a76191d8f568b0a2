"""What if all is lost, or shouldn't have been done? A backup of the store, and the way back."""

import os
from pathlib import Path

import click

from wampauth.cli.acting import acted
from wampauth.cli.asked import instead
from wampauth.cli.options import confirmed
from wampauth.cli.saying import say, with_json
from wampauth.store import StoreError
from wampauth.store import backup as copies

MOST = 20  # credentials that are named
QUESTION = "Forget what the store holds now, and make it what it was when this file was written?"
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=FILE)
@with_json
@click.pass_obj
def backup(where: str, file: Path) -> None:
    """Write all of the store into a new FILE, while nodes use it. FILE is a store itself, for its owner only."""
    if why := instead(where):
        if not os.path.lexists(where):
            raise StoreError(why)
        click.echo(f"Mind: {why}", err=True)
    copies.keep(where, file)
    acted("backup", change=f"to {file}")
    sentence = f"{file} holds the store as it is now: keep it like the store itself. `wampauth recover` reads it."
    say(sentence, file=str(file))


@click.command()
@click.argument("file", type=FILE)
@confirmed(QUESTION)
@with_json
@click.pass_obj
def recover(where: str, file: Path) -> None:
    """Make the store what it was when `backup` wrote FILE, while nodes use it. Who was revoked since then counts
    again; whom it doesn't know leaves within a second."""
    if not file.exists():
        raise StoreError(f"there is no file {file}: give one that `wampauth backup` wrote")
    if why := instead(where, makes=True):
        raise StoreError(why)
    again = copies.bring_back(where, file)
    acted("recover", change=f"from {file}, {len(again)} credentials count again")
    lines = ["The store is what it was."]
    if again:
        lines.append(f"Credentials that count again and didn't a moment ago ({len(again)}):")
        lines += [f"  wampauth revoke {authid} --credential {credential}" for authid, credential in again[:MOST]]
    if len(again) > MOST:
        lines.append(f"  and {len(again) - MOST} more")
    say("\n".join(lines), again=[{"authid": authid, "credential": credential} for authid, credential in again])
