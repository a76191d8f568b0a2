"""What may a principal be, from now on? Another role, realm or extra, or more sessions than before."""

import json
from typing import Any

import click

from wampauth.cli.acting import acted
from wampauth.cli.doers import ALREADY
from wampauth.cli.options import Authid, on_store
from wampauth.cli.principals import FORCE, parsed, require_place
from wampauth.cli.reaching import ended
from wampauth.cli.saying import as_object
from wampauth.nodeconfig import beside
from wampauth.store import Connection, showing, writing


@click.command("set")
@click.argument("authid", type=Authid())
@click.option("--realm", help="The realm it joins.")
@click.option("--role", help="Its role there.")
@click.option("--extra", metavar="JSON", help="An object that it finds in its authextra.")
@click.option("--max-sessions", type=click.IntRange(min=0), metavar="N", help="How many at a time; 0: any number.")
@click.option("--force", is_flag=True, help=FORCE)
@as_object
@on_store(urgent=True)
def set_(store: Connection, authid: str, force: bool, as_json: bool, **options: Any) -> None:
    """Give AUTHID another role, realm, extra or number of sessions. Its live sessions on the old ones end."""
    changed = {name: value for name, value in options.items() if value is not None}
    if not changed:
        raise click.UsageError("say what is to change: --realm, --role, --extra or --max-sessions")
    if "extra" in changed:
        changed["extra"] = parsed(changed["extra"])
    if "max_sessions" in changed:
        changed["max_sessions"] = changed["max_sessions"] or None
    was = showing.show(store, authid)
    if "realm" in changed or "role" in changed:
        place = {"realm": was["realm"], "role": was["role"], **changed}
        require_place(beside(click.get_current_context().obj), place["realm"], place["role"], force)
    writing.change(store, authid, changed)
    new = {name: value for name, value in changed.items() if value != was[name]}
    acted("set", was["authid"], change=_described(was, new, force) if new else ALREADY)
    told = ended(store, was)
    if as_json:
        click.echo(json.dumps({**showing.show(store, authid), **told.numbers()}))
    else:
        click.echo(f"{authid} {'is changed' if new else ALREADY}. {told}", err=True)


def _described(was: dict[str, Any], new: dict[str, Any], force: bool) -> str:
    """What has changed, for the audit: from what to what. What an extra holds is none of its business."""
    told = [name if name == "extra" else f"{name} {_told(was[name])} -> {_told(new[name])}" for name in new]
    return ", ".join([*told, *(["--force"] if force else [])])


def _told(value: str | int | None) -> str:
    """A realm, a role, or a number of sessions; None: any number."""
    return "any" if value is None else str(value)
