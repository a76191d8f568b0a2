"""Why can't somebody get in? What a login would find in the store and at the nodes, without being one.

Nothing is counted, recorded or changed by looking.
"""

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wampauth.cli.principals import require_place
from wampauth.cli.reaching import NOBODY, SILENT, Answers, ask
from wampauth.history import History
from wampauth.history import Record as Line
from wampauth.nodeconfig import Places
from wampauth.store import Connection, StoreError, moments, reading, showing, ticket_digest, tickets
from wampauth.store.reading import ACTIVE
from wampauth.store.showing import Record, Refused

MAKES = {  # a kind of credential: what gives a principal another one
    "ticket": "ticket {}",
    "chosen": "ticket {}",
    "key": "key {} PUBKEY",
    "cert": "cert {} FILE",
    "scram": "password {}",
    "token": "enrol {}",
}


@dataclass(frozen=True)
class Reason:
    """One cause.

    :ivar name: for programs.
    :ivar text: a sentence for the operator.
    :ivar is_certain: nobody gets in as long as it is so; else it depends on how the client comes.
    """

    name: str
    text: str
    is_certain: bool = True


@dataclass(frozen=True)
class Attempt:
    """What the client would show.

    :ivar pubkey: in hexadecimal.
    """

    authid: str
    ticket: str | None = None
    pubkey: str | None = None
    realm: str | None = None


def reasons(store: Connection, attempt: Attempt, places: Places, audits: list[Path]) -> Iterator[Reason]:
    """All that keeps the client out, or may.

    :param places: what the nodes' configurations have.
    :param audits: where it stands who has revoked.
    """
    try:
        principal = showing.show(store, attempt.authid)
    except Refused as nobody:
        yield Reason("no such principal", f"{_sentence(nobody)}{_of_the_key(store, attempt)}")
        return
    yield from _of_principal(principal, attempt, audits)
    yield from _of_credentials(store, principal, attempt, audits)
    yield from _of_place(principal, attempt, places)
    yield from _of_nodes(store, principal)


# -- the store


def _of_principal(principal: Record, attempt: Attempt, audits: list[Path]) -> Iterator[Reason]:
    authid = principal["authid"]
    if principal["revoked"]:
        who = _by_whom(audits, authid, None)
        again = f"`wampauth restore {authid}` lets it in again"
        yield Reason("revoked", f"{authid} was revoked at {principal['revoked']}{who}: {again}.")
    if attempt.realm not in (None, principal["realm"]):
        belongs = f"{authid} belongs to {principal['realm']}"
        text = f"The client asks for the realm {attempt.realm}, and {belongs}: it is to ask for that one, or"
        yield Reason("another realm", f"{text} `wampauth set {authid} --realm {attempt.realm}` moves {authid}.")


def _of_credentials(store: Connection, principal: Record, attempt: Attempt, audits: list[Path]) -> Iterator[Reason]:
    authid, known = principal["authid"], {one["id"]: one for one in principal["credentials"]}
    if attempt.ticket is not None:
        shown = _by_ticket(store, attempt.authid, attempt.ticket)
    elif attempt.pubkey is not None:
        found = reading.by_key(store, attempt.pubkey)
        shown = found.principal.credential if found and found.principal.authid == authid else None
    elif not known:
        make = f"`wampauth ticket {authid}` or `wampauth key {authid} PUBKEY` gives it one"
        yield Reason("no credential", f"{authid} has nothing to log in with: {make}.")
        return
    else:
        away = [one for one in known.values() if one["state"] != ACTIVE]
        if len(away) == len(known) and not principal["revoked"]:
            yield from (reason for one in away for reason in _of_state(one, authid, audits))
        return
    if shown is None:
        yield _of_wrong(store, attempt, principal)
    elif not principal["revoked"]:
        yield from _of_state(known[shown], authid, audits)


def _of_state(one: Record, authid: str, audits: list[Path]) -> Iterator[Reason]:
    """Why a credential doesn't count now, if it doesn't."""
    name = f"The {'ticket' if one['kind'] == 'chosen' else one['kind']} {one['id']}" + (
        f" ({one['label']})" if one["label"] else ""
    )
    another = f"`wampauth {MAKES[one['kind']].format(authid)}` gives {authid} another one"
    if one["state"] == "revoked":
        who = _by_whom(audits, authid, one["id"])
        yield Reason("revoked", f"{name} was revoked at {one['revoked']}{who}: {another}.")
    elif one["state"] == "expired":
        yield Reason("expired", f"{name} has run out at {one['expires']}: {another}.")
    elif one["state"] != ACTIVE:
        yield Reason("not yet", f"{name} counts from {one['not_before']} on.")


def _of_wrong(store: Connection, attempt: Attempt, principal: Record) -> Reason:
    """A ticket or key that isn't this principal's."""
    authid, kinds = principal["authid"], {one["kind"] for one in principal["credentials"]}
    if attempt.pubkey is not None:
        whose = _of_the_key(store, attempt) or f" Nobody has it: `wampauth key {authid} PUBKEY` registers it."
        return Reason("key wrong", f"The key is none of {authid}'s.{whose}")
    query = "SELECT authid FROM credential WHERE verifier = ? AND kind = 'ticket'"
    row = store.execute(query, (ticket_digest(attempt.ticket or ""),)).fetchone()
    more = f" It is {row[0]}'s." if row else ""
    if not kinds & {"ticket", "chosen"}:
        has = f", but {' and '.join(sorted(kinds))}" if kinds else ""
        more += f" {authid} has no ticket at all{has}."
    if not row:
        more += f" `wampauth ticket {authid}` gives {authid} another one."
    return Reason("ticket wrong", f"The ticket is wrong: none of {authid}'s.{more}")


def _of_the_key(store: Connection, attempt: Attempt) -> str:
    """Whose key it is."""
    found = reading.by_key(store, attempt.pubkey) if attempt.pubkey else None
    return f" The key is {found.principal.authid}'s." if found else ""


def _by_ticket(store: Connection, authid: str, ticket: str) -> str | None:
    """The id of the credential that the ticket opens."""
    found, chosen, _ = reading.by_ticket(store, authid, ticket)
    if found is None and chosen:
        number = tickets.find_chosen([one.verifier for one in chosen], ticket)
        found = None if number is None else chosen[number]
    return found.principal.credential if found else None


def _by_whom(audits: list[Path], authid: str, credential: str | None) -> str:
    """Who has revoked it, by the audit."""

    def is_it(line: Line) -> bool:
        is_act = (line["outcome"], line.get("act"), line.get("authid")) == ("acted", "revoke", authid)
        return is_act and line.get("credential") == credential

    with suppress(OSError), closing(History(audits)) as history:
        if line := history.newest(is_it):
            return f" by {line.get('operator')}"
    return ""


# -- the configuration, and the nodes


def _of_place(principal: Record, attempt: Attempt, places: Places) -> Iterator[Reason]:
    try:
        require_place(places, principal["realm"], principal["role"], force=False)
    except Refused as wrong:
        text = _sentence(wrong).replace(" (--force: add it all the same)", "")
        yield Reason("not in the configuration", f"{text} `wampauth set {principal['authid']}` gives another one.")


def _of_nodes(store: Connection, principal: Record) -> Iterator[Reason]:
    keys = [one["verifier"] for one in principal["credentials"] if one["kind"] == "key"]
    try:
        answers = ask(store, {"do": "why", "subjects": [principal["authid"], *keys]}, of="")
    except StoreError as error:  # it can be read, but not written
        yield Reason("no node", f"The nodes can't be asked: {error}", is_certain=False)
        return
    if not answers.asked:
        yield Reason("no node", NOBODY, is_certain=False)
    elif answers.silent:
        yield Reason("silent node", SILENT.format(answers.silent, answers.asked), is_certain=False)
    yield from (_throttled(principal["authid"], item) for item in answers.telling("seconds"))
    yield from dict.fromkeys(_transports(answers))
    if most := principal["max_sessions"]:
        yield from _too_many(store, principal["authid"], most)


def _throttled(authid: str, item: dict[str, Any]) -> Reason:
    until = moments.iso(round(time.time() + item["seconds"], 0))
    if item["subject"] is None:
        text = f"Whoever comes from {item['address']} is throttled until {until}: too many failures from there"
        return Reason("throttled", f"{text}, which `wampauth why --last` shows.", is_certain=False)
    return Reason(
        "throttled",
        f"From {item['address']}, {item['subject']} is throttled until {until}: too many failures, which"
        f" `wampauth why --last {authid}` shows.",
    )


def _transports(answers: Answers) -> Iterator[Reason]:
    """What the nodes ask of a client's connection."""
    for item in answers.telling("asks"):
        besides = f", but for {' and '.join(item['plain_from'])}" if item["plain_from"] else ""
        if item["asks"]["require_tls"]:
            yield Reason("TLS", f"A node asks for TLS (wss://){besides}: else `tls_required`.", is_certain=False)
        if item["asks"]["require_channel_binding"]:
            text = f"A node asks those with a key for channel binding{besides}: else `channel_binding_required`."
            yield Reason("channel binding", text, is_certain=False)


def _too_many(store: Connection, authid: str, most: int) -> Iterator[Reason]:
    answers = ask(store, {"do": "sessions", "authid": authid})
    number = sum(not item["ended"] for item in answers.telling("session"))
    if number >= most:
        many = "sessions" if number > 1 else "session"
        text = f"{authid} has {number} {many}, and may have {most}: `wampauth kick {authid}` ends them."
        yield Reason("too many sessions", text)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"There{text.removeprefix('there')}." if text.startswith("there ") else f"{text}."
