"""What follows a credential? A successor of its kind; for a while, both count."""

from pathlib import Path
from typing import Any

import click

from wampauth import keys
from wampauth.cli.acting import acted
from wampauth.cli.credentials import alike, described, new_ticket, of_certificate
from wampauth.cli.doers import FOLLOWS
from wampauth.cli.options import SPAN, Authid, on_store, seconds, terms, with_chosen, with_terms
from wampauth.cli.reaching import ended
from wampauth.cli.saying import say, with_json
from wampauth.store import Connection, showing, writing

SHOWN = {"key": "key is a public key", "cert": "certificate is a file with one"}
FOLLOWED_BY = {"scram": "password", "token": "enrol"}  # the kinds that aren't rotated


@click.command()
@click.argument("authid", type=Authid())
@click.argument("credential")
@click.argument("pubkey", metavar="[PUBKEY|FILE]", required=False)
@click.option("--overlap", default="7d", show_default=True, metavar="SPAN", help="How long the old one still counts.")
@with_terms
@with_json
@with_chosen
@on_store()
def rotate(
    store: Connection,
    authid: str,
    credential: str,
    pubkey: str | None,
    overlap: str,
    from_stdin: bool,
    from_env: str | None,
    **options: str | None,
) -> None:
    """Give a credential a successor of its kind, and let it run out after the overlap. A key's successor is PUBKEY, a
    certificate's is in FILE."""
    if not SPAN.fullmatch(overlap):
        raise click.UsageError("--overlap is a span like 7d, 12h or 0s")
    old = showing.credential(store, authid, credential)
    if old["kind"] in FOLLOWED_BY:
        other = f"`wampauth {FOLLOWED_BY[old['kind']]} {authid}`"
        raise showing.Refused(f"{credential} is a {old['kind']}: {other} gives another one")
    given = terms(store, **options)
    secret = None
    if old["kind"] in SHOWN:
        successor = _shown(store, old["kind"], pubkey, bool(from_stdin or from_env), given)
    else:
        secret, successor = _ticket(old["kind"], pubkey, from_stdin, from_env, given)
    identifier = writing.rotate(store, authid, credential, successor, seconds(overlap))
    ends = showing.credential(store, authid, old["id"])["expires"]
    is_sooner = ends == old["expires"]  # than the overlap
    change = described(
        {FOLLOWS: old["id"], **({"which ends": ends} if is_sooner else {"which ends in": overlap}), **given}
    )
    acted("rotate", authid, credential=identifier, change=change)
    when = f"{ends}, as it did before" if is_sooner else f"in {overlap}"
    sentence = f"{identifier} follows {credential}, which runs out {when}."
    if old["expires"] and not successor.get("expires"):
        sentence += " It has no end itself: --expires gives it one."
    sentence += alike(store, authid, {"label": old["label"], **given})
    numbers: dict[str, Any] = {}
    if not seconds(overlap):
        told = ended(store, showing.show(store, authid), old["id"])
        sentence, numbers = f"{sentence} {told}", {**told.numbers()}
    shown = {"authid": authid, "credential": identifier, "follows": credential, "overlap": overlap, "old_expires": ends}
    say(sentence, ticket=secret, **shown, **numbers)


def _shown(store: Connection, kind: str, shown: str | None, is_ticket: bool, given: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a key or a certificate, which was given as the last argument."""
    if is_ticket:
        raise click.UsageError(f"the successor of a {SHOWN[kind]}, not a ticket")
    if not shown:
        raise click.UsageError(f"the successor of a {SHOWN[kind]}: give it as the last argument")
    if kind == "cert":
        return of_certificate(store, Path(shown), given)
    return {**given, "kind": kind, "verifier": keys.read_public(shown)}


def _ticket(
    kind: str, shown: str | None, from_stdin: bool, from_env: str | None, given: dict[str, Any]
) -> tuple[str | None, dict[str, Any]]:
    """A ticket to hand over, if it was made here, and what is stored of it."""
    if shown:
        raise click.UsageError("the successor of a ticket is a ticket, not a public key")
    secret, made = new_ticket(from_stdin, from_env)
    if kind != made["kind"]:
        raise click.UsageError("a chosen ticket is followed by a chosen one: --from-stdin or --from-env")
    return secret, {**given, **made}
