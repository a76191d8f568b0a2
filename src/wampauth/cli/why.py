"""Why can't somebody get in? A login that is none, and what was refused before."""

import json
import sys
from collections import deque
from contextlib import closing
from typing import Any

import click

from wampauth import keys, names
from wampauth.audit import COUNTED
from wampauth.cli.acting import audits_of_store, audits_to_read, with_audit
from wampauth.cli.credentials import chosen_secret
from wampauth.cli.options import Authid, on_store
from wampauth.cli.reasons import Attempt, Reason, reasons
from wampauth.cli.telling import claims, in_one_line
from wampauth.cli.whose import about
from wampauth.history import History, Record, moment
from wampauth.nodeconfig import beside
from wampauth.store import Connection, moments

LAST = 10  # refusals that are shown
MEANT = {  # what the reasons in the audit mean, and what to do
    "no such credential": "the {thing} is wrong, or there is no such principal",
    "no such password": "there is no such principal, or it has no password",
    "expired": "the {thing} has run out",
    "revoked": "the {thing}, or {who}, was revoked: `wampauth log --authid {who}` says by whom",
    "not yet": "the {thing} doesn't count yet",
    "claims another realm": "the client asks for another realm than the principal's",
    "claims another authid": "the client names another authid than whose {thing} it is",
    "out of tokens": "there were too many failures before",
    "no TLS": "the connection was without TLS, and the node asks for it",
    "no channel binding": "the client didn't bind its signature to the connection, and the node asks for it",
}
THINGS = {"ticket": "ticket", "cryptosign": "key"}


@click.command()
@click.argument("authid", type=Authid(is_claim=True), required=False)
@click.option("--ticket-env", metavar="NAME", help="With the ticket that is in this variable.")
@click.option("--key", "pubkey", metavar="PUBKEY|FILE", help="With this public key.")
@click.option("--realm", metavar="R", help="Asking for this realm.")
@click.option("--last", is_flag=True, help=f"The last {LAST} refusals in the audit, of all or of AUTHID.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object; with --last, one a line.")
@with_audit
def why(authid: str | None, last: bool, as_json: bool, **shown: str | None) -> None:
    """Say why AUTHID can't get in. It counts as no attempt, and stands in no audit. Exit code 1: it can't."""
    if last:
        if any(shown.values()):
            raise click.UsageError("--last tells what was; leave out --ticket-env, --key and --realm")
        _tell_last(authid, as_json)
    elif authid is None:
        raise click.UsageError("who can't get in? Give an AUTHID, or --last")
    else:
        _tell(authid=authid, as_json=as_json, **shown)


@on_store()
def _tell(
    store: Connection, authid: str, as_json: bool, ticket_env: str | None, pubkey: str | None, realm: str | None
) -> None:
    if ticket_env and pubkey:
        raise click.UsageError("a login shows a ticket or a key: give one of --ticket-env and --key")
    ticket = names.ticket(chosen_secret(from_stdin=False, from_env=ticket_env)) if ticket_env else None
    attempt = Attempt(names.authid(authid), ticket, keys.read_public(pubkey) if pubkey else None, realm)
    found = list(reasons(store, attempt, beside(click.get_current_context().obj), audits_of_store()))
    gets_in = not any(reason.is_certain for reason in found)
    if as_json:
        click.echo(json.dumps({"authid": authid, "gets_in": gets_in, "reasons": [_record(one) for one in found]}))
    else:
        for reason in sorted(found, key=lambda reason: not reason.is_certain):
            click.echo(reason.text if reason.is_certain else f"Mind: {reason.text}")
        if gets_in:
            click.echo(f"Nothing keeps {authid} out.")
    sys.exit(not gets_in)


def _record(reason: Reason) -> dict[str, Any]:
    return {"reason": reason.name, "text": reason.text, "certain": reason.is_certain}


def _tell_last(authid: str | None, as_json: bool) -> None:
    with closing(History(audits_to_read("why --last"))) as history:
        is_about = about(authid) if authid else lambda _: True
        found = deque((one for one in history if one["outcome"] in COUNTED and is_about(one)), LAST)
    for record in found:
        click.echo(json.dumps(record) if as_json else told(record))
    if not found and not as_json:
        more = f" of {authid} is in the audit: `wampauth why {authid}` tries a login" if authid else " is in the audit"
        click.echo(f"No refusal{more}.")


def told(record: Record) -> str:
    """A refusal as a sentence, in one line that a terminal can show."""
    when = moments.iso(moment(record))
    peer = f" from {record['peer']}" if "peer" in record else ""
    if "count" in record:
        return in_one_line(f"{when}  {record['count']} more attempts{peer} were {record['outcome']}")
    who = str(record.get("authid", record.get("claimed", "somebody")))
    claimed = claims(record)
    return in_one_line(
        f"{when}  {who}{peer}{f', claiming {claimed},' if claimed else ''} was {record['outcome']}: "
        f"{_meaning(record, who)}"
    )


def _meaning(record: Record, who: str) -> str:
    """What the reason means, and what to do."""
    reason = str(record.get("reason", "no reason is known"))
    if reason not in MEANT:
        return reason
    thing = THINGS.get(str(record.get("method")), "proof")
    return MEANT[reason].format(thing=thing, who=who)
