"""Why can't somebody get in? What a login would find in the store and at the nodes, without being one.

Nothing is counted, recorded or changed by looking.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from wampauth.cli.doers import Acts
from wampauth.cli.hindrances import of_nodes
from wampauth.cli.lately import Lately
from wampauth.cli.principals import require_place
from wampauth.cli.states import named, obstacle, revoked
from wampauth.cli.trying import GOOD, Attempt, Reason
from wampauth.nodeconfig import Places
from wampauth.store import Connection, reading, showing, ticket_digest, tickets
from wampauth.store.reading import ACTIVE
from wampauth.store.showing import Record, Refused


def reasons(
    store: Connection, attempt: Attempt, places: Places, audits: list[Path], lately: Lately
) -> Iterator[Reason]:
    """All that keeps the client out, or may.

    :param places: what the nodes' configurations have.
    :param audits: where it stands who has revoked.
    :param lately: what was refused before; it is told which credential is shown.
    """
    try:
        principal = showing.show(store, str(attempt.authid))
    except Refused as nobody:
        yield Reason("no such principal", f"{_sentence(nobody)}{_of_the_key(store, attempt)}")
        return
    acts = Acts(audits, principal["authid"])
    yield from _of_principal(principal, attempt, places, acts)
    shown = _shown(store, attempt, principal["authid"])
    lately.credential = shown
    found = list(_of_credentials(store, principal, attempt, shown, acts))
    yield from found
    yield from _of_place(principal, places, acts)
    yield from of_nodes(store, principal, attempt, lately)
    if shown and not found and not principal["revoked"]:
        (one,) = (one for one in principal["credentials"] if one["id"] == shown)
        yield Reason(GOOD, f"The {named(one)} itself is good.", is_certain=False)


def owner(store: Connection, ticket: str | None, pubkey: str | None) -> str | None:
    """Whose ticket or key it is, if it says so by itself: a chosen ticket doesn't."""
    if pubkey is not None:
        found = reading.by_key(store, pubkey)
        return found.principal.authid if found else None
    query = "SELECT authid FROM credential WHERE verifier = ? AND kind = 'ticket'"
    row = store.execute(query, (ticket_digest(ticket or ""),)).fetchone()
    return str(row[0]) if row else None


# -- the principal, and what it shows


def _of_principal(principal: Record, attempt: Attempt, places: Places, acts: Acts) -> Iterator[Reason]:
    authid = principal["authid"]
    if principal["revoked"]:
        yield Reason("revoked", f"{revoked(principal, acts)}.")
    if attempt.realm not in (None, principal["realm"]):
        belongs = f"{authid} belongs to {principal['realm']}"
        text = f"The client asks for the realm {attempt.realm}, and {belongs}: it is to ask for that one"
        if wrong := no_place(places, attempt.realm, principal["role"]):
            yield Reason("another realm", f"{wrong} {text}.")
        else:
            move = f"or `wampauth set {authid} --realm {attempt.realm}` moves {authid}"
            yield Reason("another realm", f"{text}, {move}.")


def _of_credentials(
    store: Connection, principal: Record, attempt: Attempt, shown: str | None, acts: Acts
) -> Iterator[Reason]:
    """What is wrong with what the client shows, or if that is nothing, with all that it could show."""
    authid, known = principal["authid"], {one["id"]: one for one in principal["credentials"]}
    if attempt.method and shown is None:
        yield _of_wrong(store, attempt, principal)
    elif not known:
        make = f"`wampauth ticket {authid}` or `wampauth key {authid} PUBKEY` gives it one"
        yield Reason("no credential", f"{authid} has nothing to log in with: {make}.")
    elif not principal["revoked"]:
        tried = [known[shown]] if shown else list(known.values())
        away = [one for one in tried if one["state"] != ACTIVE]
        if len(away) == len(tried):
            yield from (Reason(*found) for one in away if (found := obstacle(one, principal, acts)))


def _of_wrong(store: Connection, attempt: Attempt, principal: Record) -> Reason:
    """A ticket or key that isn't this principal's."""
    authid, kinds = principal["authid"], {one["kind"] for one in principal["credentials"]}
    if attempt.pubkey is not None:
        whose = _of_the_key(store, attempt) or f" Nobody has it: `wampauth key {authid} PUBKEY` registers it."
        return Reason("key wrong", f"The key is none of {authid}'s.{whose}")
    other = owner(store, attempt.ticket, None)
    more = f" It is {other}'s." if other else ""
    if not kinds & {"ticket", "chosen"}:
        has = f", but {' and '.join(sorted(kinds))}" if kinds else ""
        more += f" {authid} has no ticket at all{has}."
    if not other:
        more += f" `wampauth ticket {authid}` gives {authid} another one."
    return Reason("ticket wrong", f"The ticket is wrong: none of {authid}'s.{more}")


def _of_the_key(store: Connection, attempt: Attempt) -> str:
    """Whose key it is."""
    whose = owner(store, None, attempt.pubkey) if attempt.pubkey else None
    return f" The key is {whose}'s." if whose else ""


def _shown(store: Connection, attempt: Attempt, authid: str) -> str | None:
    """The id of the principal's credential that the client shows."""
    if attempt.ticket is not None:
        found, chosen, _ = reading.by_ticket(store, authid, attempt.ticket)
        if found is None and chosen:
            number = tickets.find_chosen([one.verifier for one in chosen], attempt.ticket)
            found = None if number is None else chosen[number]
        return found.principal.credential if found else None
    found = reading.by_key(store, attempt.pubkey) if attempt.pubkey is not None else None
    return found.principal.credential if found and found.principal.authid == authid else None


# -- the configuration


def no_place(places: Places, realm: str, role: str) -> str | None:
    """A sentence if the configurations lack this realm or role."""
    try:
        require_place(places, realm, role, force=False)
    except Refused as wrong:
        return _sentence(wrong).replace(" (--force: add it all the same)", "")
    return None


def _of_place(principal: Record, places: Places, acts: Acts) -> Iterator[Reason]:
    if text := no_place(places, principal["realm"], principal["role"]):
        remedy = f"`wampauth set {principal['authid']}{_place(principal, places, acts)}"
        yield Reason("not in the configuration", f"{text}{acts.place()} {remedy}")


def _place(principal: Record, places: Places, acts: Acts) -> str:
    """The options that give it a place that there is: the former one, if there still is; else the one that is spelt
    most like it, or any."""
    realm, option = principal["realm"], ""
    realms = sorted(places.roles.keys() - places.own)
    if realm not in realms:
        realm = _chosen(acts.former("realm"), realm, realms)
        option = f" --realm {realm}"
    roles = sorted(places.roles.get(realm, ()))
    role = principal["role"] if principal["role"] in roles else _chosen(acts.former("role"), principal["role"], roles)
    option += f" --role {role}" if role != principal["role"] else ""
    others = [one for one in roles if one != role]
    more = f" ({realm} also has {', '.join(others)})" if others else ""
    return f"{option}` gives it a place that there is{more}."


def _chosen(former: str | None, wrong: str, known: list[str]) -> str:
    if former in known:
        return former
    return next(iter(get_close_matches(wrong, known, n=1) or known), "NAME")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"There{text.removeprefix('there')}." if text.startswith("there ") else f"{text}."
