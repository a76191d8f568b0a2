"""Who is in now, and who shall leave? Questions to the nodes that have the store open."""

import json
import sys
from typing import Any

import click

from wampauth.cli.acting import acted
from wampauth.cli.options import Authid, on_store
from wampauth.cli.reaching import Answers, Own, ask, counted
from wampauth.cli.saying import as_lines, as_object
from wampauth.cli.tables import show_records
from wampauth.store import Connection, moments, showing

COLUMNS = ("authid", "realm", "role", "session", "credential", "label", "method", "address", "tls", "since", "until")
METHODS = {"key": "cryptosign", "chosen": "ticket"}  # by which a kind of credential lets in, if not the kind's own name


@click.command()
@click.option("--authid", metavar="A", type=Authid(), help="Only those of this one.")
@click.option("--realm", metavar="R", help="Only those in this realm.")
@as_lines
@on_store(nodes=True)
def sessions(store: Connection | Own, authid: str | None, realm: str | None, as_json: bool) -> None:
    """List who is in now, at all nodes that have the store open: sessions that an authenticator let in. Exit code 1: no
    node has answered."""
    meant = _stored(store, authid)
    answers = ask(store, {"do": "sessions", "authid": meant, "realm": realm})
    found = [item for item in answers.telling("session") if not item["ended"]]
    found.sort(key=lambda item: (item["realm"], item["authid"], item["since"] or 0.0))
    show_records(told(store, found), COLUMNS, as_json)
    finish(answers, realm)


@click.command()
@click.argument("authid", type=Authid(), required=False)
@click.option("--session", type=int, metavar="ID", help="Only this one.")
@as_object
@on_store(urgent=True, nodes=True)
def kick(store: Connection | Own, authid: str | None, session: int | None, as_json: bool) -> None:
    """End the live sessions of AUTHID, or one session. What it logs in with stays good: it may come back. Exit code 1:
    no node has answered."""
    if (authid is None) == (session is None):
        raise click.UsageError("give either an AUTHID, or --session with an ID that `wampauth sessions` shows")
    meant = _stored(store, authid)
    answers = ask(store, {"do": "kick", "authid": meant, "session": session})
    found = answers.telling("ended")
    number, whose = len(found), authid or next((one["authid"] for one in found if "authid" in one), None)
    acted("kick", whose, session=session, change=f"{number} ended")
    if as_json:
        nodes = {"nodes": answers.asked, "silent": answers.silent}
        click.echo(json.dumps({"authid": authid, "session": session, "ended": number, **nodes}))
    elif answers.asked:
        click.echo(counted(number), err=True)
    finish(answers)


def _stored(store: Connection | Own, authid: str | None) -> str | None:
    """The authid as it is stored, if it is."""
    return authid if authid is None or isinstance(store, Own) else showing.stored(store, authid)


def finish(answers: Answers, realm: str | None = None) -> None:
    """Say what is missing, and exit with 1 if that may be everything."""
    warning = answers.warning(realm)
    if warning:
        click.echo(warning, err=True)
    if answers.silent == answers.asked:
        sys.exit(1)


def told(store: Connection | Own, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The sessions with what the store knows of their credentials."""
    ids = {item["credential"] for item in found if item["credential"]}
    known = {} if isinstance(store, Own) else showing.labels(store, ids)
    records = []
    for item in found:
        kind, label = known.get(item["credential"], (None, None))
        method = item["method"] or (METHODS.get(kind, kind) if kind else None)
        times = {"since": moments.iso(item["since"]), "until": moments.iso(item["until"])}
        records.append({name: {**item, "label": label, "method": method, **times}[name] for name in COLUMNS})
    return records
