"""Why can't somebody get in? A login that is none, and what was refused before."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import click

from wampauth import keys, names
from wampauth.cli.acting import audits_of_store, audits_to_read, with_audit
from wampauth.cli.asked import instead, is_unknowable
from wampauth.cli.credentials import chosen_secret
from wampauth.cli.joins import marked, places_of_audit
from wampauth.cli.lately import Lately
from wampauth.cli.options import Authid, on_store
from wampauth.cli.reasons import owner, reasons
from wampauth.cli.refused import Causes, alike, is_turned_away
from wampauth.cli.storeless import tell_from_audit
from wampauth.cli.trying import GOOD, MISSED, Attempt, Reason
from wampauth.cli.unnamed import Unnamed
from wampauth.cli.whose import about
from wampauth.history import History
from wampauth.nodeconfig import beside
from wampauth.store import Connection, StoreError, connect, showing

LAST = 10  # refusals that are shown, those that are alike as one


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
    elif authid is None and not (shown["ticket_env"] or shown["pubkey"]):
        raise click.UsageError("who can't get in? Give an AUTHID, or --last; --key or --ticket-env finds whose it is")
    elif authid is not None and not any(shown.values()) and is_unknowable(_store_path()):
        tell_from_audit(authid, as_json)
    else:
        _tell(authid=authid, as_json=as_json, **shown)


@on_store()
def _tell(
    store: Connection, authid: str | None, as_json: bool, ticket_env: str | None, pubkey: str | None, realm: str | None
) -> None:
    if ticket_env and pubkey:
        raise click.UsageError("a login shows a ticket or a key: give one of --ticket-env and --key")
    ticket = names.ticket(chosen_secret(from_stdin=False, from_env=ticket_env)) if ticket_env else None
    key = keys.read_public(pubkey) if pubkey else None
    who = names.authid(authid) if authid is not None else owner(store, ticket, key)
    attempt = Attempt(who, ticket, key, realm)
    lately = Lately(store, attempt, audits_of_store())
    if who is None:
        found = [Reason("unknown", _unknown(attempt))]
    else:
        found = list(reasons(store, attempt, beside(click.get_current_context().obj), audits_of_store(), lately))
    if one := lately.of_connection:
        found.insert(0, Reason(MISSED[one.reason], lately.sentence(one)))
    if as_json:
        _tell_programs(attempt, found, lately)
    else:
        _tell_people(attempt, found, lately, whose=authid is None)
    sys.exit(not _gets_in(found))


def _gets_in(found: list[Reason]) -> bool:
    return not any(reason.is_certain for reason in found)


def _tell_programs(attempt: Attempt, found: list[Reason], lately: Lately) -> None:
    told = [{"reason": one.name, "text": one.text, "certain": one.is_certain} for one in found]
    shown = {"tried": attempt.method, "credential": lately.credential}
    refused = [one.record for one in lately.before]
    click.echo(
        json.dumps({"authid": attempt.authid, "gets_in": _gets_in(found), **shown, "reasons": told, "refused": refused})
    )


def _tell_people(attempt: Attempt, found: list[Reason], lately: Lately, whose: bool) -> None:
    if whose and attempt.authid is not None:
        click.echo(f"The {'key' if attempt.pubkey else 'ticket'} is {attempt.authid}'s.")
    certain = [reason for reason in found if reason.is_certain]
    for reason in certain:
        click.echo(reason.text)
    before = [] if certain else lately.before
    for one in before:
        click.echo(lately.sentence(one))
    for reason in found:
        if reason.name == GOOD:
            if certain:
                click.echo(reason.text)
        elif not reason.is_certain and reason.name not in {one.name for one in certain}:
            click.echo(f"Mind: {reason.text}")
    if not certain:
        click.echo(_conclusion(attempt, bool(before)))


def _conclusion(attempt: Attempt, was_refused: bool) -> str:
    """What was found to be right; and what wasn't tried."""
    who = attempt.authid
    if attempt.method is None:
        try_it = f"`wampauth why {who} --ticket-env NAME` or `--key PUBKEY` tries one"
        return f"Nothing keeps {who} out now but, perhaps, its ticket or key. None was tried: {try_it}."
    shown = "key" if attempt.pubkey else "ticket"
    if was_refused:
        return (
            f"Nothing keeps {who} out now, with this {shown}. Does the client show the same, over the same connection?"
        )
    return f"Nothing keeps {who} out."


def _unknown(attempt: Attempt) -> str:
    if attempt.pubkey is not None:
        return "Nobody has this key: `wampauth key AUTHID PUBKEY` registers it."
    return "Nobody has this ticket, unless a person chose it: then say whose, `wampauth why AUTHID --ticket-env NAME`."


def _tell_last(authid: str | None, as_json: bool) -> None:
    audits, now = audits_to_read("why --last"), time.time()
    unnamed = Unnamed(now)
    with closing(History(audits)) as history:
        is_about = about(authid) if authid else lambda _: True
        wanted = filter(is_about, unnamed.watch(marked(history, places_of_audit(), now)))
        found = alike(filter(is_turned_away, wanted), LAST)
    with _store_at_hand() as store:
        causes = Causes(store, audits)
        for one in found:
            click.echo(json.dumps(one.record) if as_json else causes.line(one))
    if not found and not as_json:
        tries = "" if is_unknowable(_store_path()) else f": `wampauth why {authid}` tries a login"
        more = f" of {authid} is in the audit{tries}" if authid else " is in the audit"
        click.echo(f"No refusal{more}.")
    for sentence in unnamed.sentences(authid):
        click.echo(sentence, err=True)


@contextmanager
def _store_at_hand() -> Iterator[Connection | None]:
    """The store, if there is one that can be read as it is: the audit alone tells a lot."""
    with ExitStack() as stack:
        store = None
        path = _store_path()
        if instead(path):
            if os.path.lexists(path):
                click.echo(f"No configuration names {path}: it isn't asked.", err=True)
        else:
            with suppress(StoreError, showing.Refused):
                store = stack.enter_context(closing(connect(path, upgrading=False)))
        yield store


def _store_path() -> str:
    return str(click.get_current_context().find_root().obj)
