"""Who is known? Principals, with all that belongs to them."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from wampauth import names
from wampauth.cli.acting import acted
from wampauth.cli.asked import of_others
from wampauth.cli.options import SPAN, Authid, confirmed, on_store, seconds
from wampauth.cli.presence import presence_of
from wampauth.cli.reaching import ended
from wampauth.cli.saying import as_lines, as_object, say, with_json
from wampauth.cli.tables import show_records
from wampauth.nodeconfig import Places, beside
from wampauth.store import Connection, moving, showing, writing

FORCE = "Also if no configuration beside the store has this realm or role."


@click.command()
@click.argument("authid", type=Authid())
@click.option("--realm", required=True, help="The realm it joins.")
@click.option("--role", required=True, help="Its role there.")
@click.option("--extra", default="{}", metavar="JSON", help="An object that it finds in its authextra.")
@click.option("--force", is_flag=True, help=FORCE)
@with_json
@click.pass_obj
def add(path: str, authid: str, realm: str, role: str, extra: str, force: bool) -> None:
    """Add a principal. It can't log in until it has a ticket or a key."""
    places = beside(path)
    require_place(places, realm, role, force)
    _add(authid=authid, realm=realm, role=role, extra=extra)
    if warning := of_others(path):
        click.echo(warning, err=True)
    if places.files and realm not in places.watched:
        click.echo(
            f"No `Sessions` watches {realm}: who is revoked stays in it until it leaves (see `wampauth check`).",
            err=True,
        )


@on_store(new=True)
def _add(store: Connection, authid: str, realm: str, role: str, extra: str) -> None:
    writing.add(store, {"authid": authid, "realm": realm, "role": role, "extra": parsed(extra)})
    acted("add", names.authid(authid), realm=realm, change=f"role {role}")
    who = names.authid(authid)
    say(f"{who} joins {realm} as {role}, once it has a ticket or a key.", authid=who, realm=realm, role=role)


@click.command("list")
@click.option("--realm", metavar="R", help="Only those of this realm.")
@click.option("--role", metavar="R", help="Only those with this role.")
@click.option("--state", type=click.Choice([*showing.STATES]), help="Only those who are that.")
@click.option("--expiring", metavar="SPAN", help="Only those of whose credentials one runs out within, say, 14d.")
@as_lines
@on_store()
def list_(store: Connection, as_json: bool, expiring: str | None, **some: str | None) -> None:
    """List the principals, or some of them."""
    if expiring is not None and not SPAN.fullmatch(expiring):
        raise click.UsageError("--expiring is a span like 14d or 12h")
    found = showing.principals(store, expiring=seconds(expiring) if expiring else None, **some)
    columns = ("authid", "realm", "role", "state", "credentials", *(("expires",) if expiring else ()))
    show_records(found, columns, as_json)


@click.command()
@click.argument("authid", type=Authid())
@as_object
@on_store()
def show(store: Connection, authid: str, as_json: bool) -> None:
    """Show a principal and its credentials, its live sessions and its last login."""
    principal = showing.show(store, authid)
    presence = presence_of(store, principal["authid"])
    if as_json:
        click.echo(json.dumps({**principal, **presence.fields()}))
        return
    for name in "authid", "realm", "role", "extra", "max_sessions", "state", "revoked":
        if principal[name] is not None:
            value = principal[name]
            click.echo(f"{name + ':':9} {json.dumps(value) if name == 'extra' else value}")
    presence.tell()
    for credential in principal["credentials"]:
        credential["public key"] = credential["verifier"] if credential["kind"] == "key" else None
    click.echo()
    columns = ("id", "kind", "state", "label", "not_before", "expires", "revoked", "public key")
    show_records(principal["credentials"], columns, as_json)


@click.command()
@click.argument("authid", type=Authid())
@confirmed("Forget this principal and all its credentials?")
@as_object
@on_store(urgent=True)
def remove(store: Connection, authid: str, as_json: bool) -> None:
    """Forget a principal and all its credentials."""
    who = showing.show(store, authid)
    writing.remove(store, authid)
    acted("remove", authid)
    told = ended(store, who)
    if as_json:
        click.echo(json.dumps({"authid": authid, **told.numbers()}))
    else:
        click.echo(f"{authid} is removed. {told}", err=True)


@click.command()
@click.argument("authid", type=Authid())
@with_json
@on_store()
def restore(store: Connection, authid: str) -> None:
    """Take the revocation of AUTHID back. Credentials that were withdrawn one by one stay withdrawn."""
    writing.restore(store, authid)
    acted("restore", authid)
    say(f"{authid} is restored. What was revoked one by one stays so.", authid=authid, state="active")


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--force", is_flag=True, help=FORCE)
@with_json
@on_store(new=True)
def import_(store: Connection, file: Any, force: bool) -> None:
    """Add the principals in FILE (- for standard input), as `export` writes them: all or none."""
    size = os.fstat(file.fileno()).st_size
    lines = file.readlines()  # all, before nobody else can write: there may be somebody to wait for
    with click.progressbar(length=size, label="Importing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        places = beside(click.get_current_context().obj)
        count = moving.load(
            store, counted(lines, bar.update), lambda realm, role: require_place(places, realm, role, force)
        )
    acted("import", change=f"{count} principal{'' if count == 1 else 's'}")
    say("1 principal was imported." if count == 1 else f"{count} principals were imported.", imported=count)


@click.command()
@on_store(unasked=True)
def export(store: Connection) -> None:
    """Write all principals as JSON lines: no ticket and no private key, but what Argon2id makes of chosen tickets and
    passwords, so keep it like the store itself."""
    acted("export")
    for principal in moving.export(store):
        click.echo(json.dumps(principal))


def parsed(extra: str) -> Any:
    """The object that the option holds."""
    try:
        return json.loads(extra)
    except (ValueError, RecursionError):
        raise names.Malformed("extra is a JSON object") from None


def require_place(places: Places, realm: str, role: str, force: bool) -> None:
    """See that a principal has somewhere to go: a slip would show at its first login only, as the router's refusal.

    :raises showing.Refused: if it has not, by the configurations beside the store, or for the authenticators' realm.
    """
    files = ", ".join(places.files)
    if realm in places.own:
        raise showing.Refused(f"{realm} is the authenticators' own realm in {files}: nobody is let in there")
    if force or not places.roles:
        return
    if realm not in places.roles:
        known = ", ".join(sorted(places.roles.keys() - places.own)) or "none"
        raise showing.Refused(f"there is no realm {realm} in {files}, but {known} (--force: add it all the same)")
    if role not in places.roles[realm]:
        known = ", ".join(sorted(places.roles[realm])) or "none"
        raise showing.Refused(f"{realm} has no role {role} in {files}, but {known} (--force: add it all the same)")


def counted(lines: Iterable[bytes], update: Callable[[int], None]) -> Iterable[bytes]:
    """Pass `lines` on, and tell `update` how many bytes that were."""
    for line in lines:
        yield line
        update(len(line))
