"""How does a key get onto a device? The operator makes a one-time token, with which it has its own registered."""

import csv
import json
import secrets
import sys
from typing import Any

import click

from wampauth.cli.acting import acted
from wampauth.cli.options import SPAN, Authid, Moment, moment, on_store, seconds
from wampauth.cli.principals import FORCE, parsed, require_place
from wampauth.cli.saying import as_lines
from wampauth.nodeconfig import beside
from wampauth.store import Connection, enrolling

LARGEST = 100_000  # tokens at once
COLUMNS = ("authid", "token", "expires")


@click.command()
@click.argument("authid", type=Authid(), required=False)
@click.option("--realm", help="The realm it joins, if it isn't known yet.")
@click.option("--role", help="Its role there, if it isn't known yet.")
@click.option("--extra", default="{}", metavar="JSON", help="An object that it finds in its authextra, if it is new.")
@click.option("--expires", default="1h", show_default=True, metavar="TIME", type=Moment(), help="When the token ends.")
@click.option("--overlap", metavar="SPAN", help="How long keys that it has still count then. Without: as they did.")
@click.option("--label", default="", help="A note, for you.")
@click.option(
    "--count", type=click.IntRange(1, LARGEST), help="Make so many: PREFIX1 to PREFIX9, PREFIX01 to PREFIX10."
)
@click.option("--prefix", help="What the authids of --count begin with.")
@click.option("--first", type=click.IntRange(0), default=1, show_default=True, help="The first number of --count.")
@as_lines
@click.option("--force", is_flag=True, help=FORCE)
@click.pass_obj
def enrol(
    path: str,
    /,
    authid: str | None,
    extra: str,
    overlap: str | None,
    count: int | None,
    prefix: str | None,
    first: int,
    force: bool,
    **options: Any,
) -> None:
    """Make a one-time token with which the device AUTHID has its own new key registered, and print it, once. Or make
    many: CSV, with --count and --prefix."""
    if (authid is None) == (count is None) or (count is None) != (prefix is None):
        raise click.UsageError("give either AUTHID, or --count and --prefix")
    if overlap is not None and not SPAN.fullmatch(overlap):
        raise click.UsageError("--overlap is a span like 7d, 12h or 0s")
    realm, role = options["realm"], options["role"]
    if realm and role:
        require_place(beside(path), realm, role, force)
    authids = [str(authid)] if count is None else numbered(str(prefix), first, count)
    _enrol(authids=authids, extra=extra, overlap=overlap, alone=count is None, **options)


@on_store(new=True)
def _enrol(
    store: Connection,
    authids: list[str],
    realm: str | None,
    role: str | None,
    extra: str,
    expires: str,
    overlap: str | None,
    label: str,
    as_json: bool,
    alone: bool,
) -> None:
    terms: dict[str, Any] = {"label": label, "expires": moment(store, expires)}
    if overlap is not None:
        terms["overlap"] = seconds(overlap)
    if not (as_json or alone):
        "".join(authids).encode(sys.stdout.encoding)  # or the tokens would be given, and couldn't be shown
    tokens = [secrets.token_urlsafe(32) for _ in authids]  # 256 bits each
    of_all = {"realm": realm, "role": role, "extra": parsed(extra)}
    made = enrolling.invite(store, ({"authid": authid, **of_all} for authid in authids), tokens, terms)
    until = f"a token until {terms['expires']}"
    if alone:
        acted("enrol", authids[0], credential=made[0], realm=realm, change=until)
    else:
        acted("enrol", realm=realm, change=f"{until} for each of {len(authids)}, {authids[0]} to {authids[-1]}")
    _show([(authid, token, terms["expires"]) for authid, token in zip(authids, tokens, strict=True)], as_json, alone)
    whose = authids[0] if alone else f"{len(authids)} devices"
    click.echo(f"{whose}: good once, until {terms['expires']}. This is the only time that a token is shown.", err=True)


def _show(rows: list[tuple[str, str, str]], as_json: bool, alone: bool) -> None:
    """Print the tokens: each as JSON, the only one by itself, or many in CSV."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(dict(zip(COLUMNS, row, strict=True))))
    elif alone:
        ((_, token, _),) = rows
        click.echo(token)
    else:
        csv.writer(sys.stdout, lineterminator="\n").writerows([COLUMNS, *rows])


def numbered(prefix: str, first: int, count: int) -> list[str]:
    """PREFIX001 to PREFIX100: with as many digits as the last one has, so that they are sorted by number."""
    last = first + count - 1
    return [f"{prefix}{number:0{len(str(last))}}" for number in range(first, last + 1)]
