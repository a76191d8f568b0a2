"""What may a principal be, from now on? Another role, realm or extra, or more sessions than before."""

import json
from typing import Any

import click

from wampauth.cli.acting import acted
from wampauth.cli.options import Authid, on_store
from wampauth.cli.principals import FORCE, parsed, require_place
from wampauth.cli.reaching import ended
from wampauth.nodeconfig import beside
from wampauth.store import Connection, showing, writing


@click.command("set")
@click.argument("authid", type=Authid())
@click.option("--realm", help="The realm it joins.")
@click.option("--role", help="Its role there.")
@click.option("--extra", metavar="JSON", help="An object that it finds in its authextra.")
@click.option("--max-sessions", type=click.IntRange(min=0), metavar="N", help="How many at a time; 0: any number.")
@click.option("--force", is_flag=True, help=FORCE)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
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
    acted("set", authid, change=_described(changed))
    told = ended(store, was)
    if as_json:
        click.echo(json.dumps({**showing.show(store, authid), **told.numbers()}))
    else:
        click.echo(f"{authid} is changed. {told}", err=True)


def _described(changed: dict[str, Any]) -> str:
    """What has changed, for the audit; what an extra holds is none of its business."""
    return ", ".join(name if name == "extra" else f"{name} {value}" for name, value in changed.items())
