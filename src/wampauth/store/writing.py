"""Who is let in, and who no longer? The writing half of the store, as the operator's command line uses it.

Each function is one transaction: done, or refused with a sentence and nothing changed. The node reads what is written
here at the next login (``reading.py``), and looks twice a second for what was taken back (the table ``change``).
"""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from wampauth import names
from wampauth.store.engine import Connection, sentences, transaction
from wampauth.store.reading import ACTIVE, STATE
from wampauth.store.tickets import MAX_CHOSEN

MAX_NESTING = 5_000  # objects and lists in a line of an import

VERIFIERS = {  # what is stored of each kind of credential
    "key": names.safe_pubkey,
    "ticket": names.sha256,
    "chosen": names.argon2id,
}
ADD_CHANGE = "INSERT INTO change SELECT COALESCE(MAX(seq), 0) + 1, ?, ? FROM change"
PRUNE = "DELETE FROM change WHERE seq <= (SELECT MAX(seq) FROM change) - ?"
KEPT = 10_000  # changes; who was away for longer looks at everybody
PRINCIPALS = """SELECT p.authid, p.realm, p.role, p.extra, p.revoked, COUNT(c.id)
                FROM principal p LEFT JOIN credential c ON c.authid = p.authid"""
CREDENTIALS = f"""SELECT c.id, c.kind, c.verifier, c.label, c.created, c.not_before, c.expires, c.revoked, {STATE}
                  FROM credential c JOIN principal p ON p.authid = c.authid
                  WHERE c.authid = ? ORDER BY c.created, c.id"""
TIMES = ("created", "not_before", "expires", "revoked")

Record = dict[str, Any]  # a principal or credential as show, export and import have it; times in ISO 8601, UTC


class Refused(Exception):
    """What was asked for can't be done. The text is a sentence for the operator."""


def now(connection: Connection) -> float:
    """The store's clock, in seconds since 1970."""
    with sentences(connection):
        return float(connection.execute("SELECT store_now()").fetchone()[0])


def add(connection: Connection, principal: Record) -> None:
    """Add a principal: authid, realm, role and extra.

    :raises names.Malformed: if one of them can't be stored.
    :raises Refused: if there is such a principal.
    """
    with transaction(connection):
        _add(connection, principal)


def remove(connection: Connection, authid: str) -> None:
    """Forget a principal and all its credentials.

    :raises Refused: here and below, if there is no such principal or credential.
    """
    with transaction(connection):
        _require(connection, authid)
        connection.execute("DELETE FROM principal WHERE authid = ?", (authid,))
        _note(connection, authid, None)


def add_credential(connection: Connection, authid: str, credential: Record) -> str:
    """Give a principal a credential: kind and verifier, and if there are any label, not_before and expires.

    :returns: its id.
    :raises names.Malformed: if the verifier or the label can't be stored.
    :raises Refused: for a key that somebody has, an expiry that is past, or a third chosen ticket.
    """
    with transaction(connection):
        _require(connection, authid)
        return _add_credential(connection, authid, credential)


def rotate(connection: Connection, authid: str, old: str, successor: Record, overlap: float) -> str:
    """Add a successor to the credential `old` (id or label), which runs out `overlap` seconds from now.

    :returns: the successor's id.
    """
    with transaction(connection):
        known = _require_credential(connection, authid, old)
        if known["state"] != ACTIVE:
            raise Refused(f"credential {old} is {known['state']}: add a new one instead")
        added = _add_credential(connection, authid, {"label": known["label"], **successor})
        ends = now(connection) + overlap
        later = "UPDATE credential SET expires = ? WHERE id = ? AND (expires IS NULL OR expires > ?)"
        connection.execute(later, (ends, known["id"], ends))
        _note(connection, authid, known["id"])
        return added


def revoke(connection: Connection, authid: str, credential: str | None = None) -> None:
    """Withdraw a credential (id or label), or with None the principal, from now on."""
    with transaction(connection):
        if credential is None:
            _require(connection, authid)
            connection.execute(
                "UPDATE principal SET revoked = store_now() WHERE authid = ? AND revoked IS NULL", (authid,)
            )
        else:
            credential = str(_require_credential(connection, authid, credential)["id"])
            connection.execute(
                "UPDATE credential SET revoked = store_now() WHERE id = ? AND revoked IS NULL", (credential,)
            )
        _note(connection, authid, credential)


def restore(connection: Connection, authid: str) -> None:
    """Take the revocation of a principal back. Credentials that were withdrawn one by one stay withdrawn."""
    with transaction(connection):
        if _require(connection, authid)["state"] == ACTIVE:
            raise Refused(f"{authid} isn't revoked")
        connection.execute("UPDATE principal SET revoked = NULL WHERE authid = ?", (authid,))


def places(connection: Connection) -> list[tuple[str, str, int, str]]:
    """Realm, role, the number of principals who have them, and one of these."""
    query = "SELECT realm, role, COUNT(*), MIN(authid) FROM principal GROUP BY realm, role ORDER BY realm, role"
    with sentences(connection):
        return [tuple(row) for row in connection.execute(query).fetchall()]


def principals(connection: Connection) -> Iterator[Record]:
    """All principals in the order of their authids, each with the number of its credentials."""
    with sentences(connection):
        for row in connection.execute(PRINCIPALS + " GROUP BY p.authid ORDER BY p.authid"):
            yield _principal(row)


def show(connection: Connection, authid: str) -> Record:
    """One principal with its credentials."""
    with sentences(connection):
        return {**_require(connection, authid), "credentials": _credentials(connection, authid)}


def credential(connection: Connection, authid: str, named: str) -> Record:
    """The credential of a principal with the id, or else the label, `named`."""
    with sentences(connection):
        return _require_credential(connection, authid, named)


def export(connection: Connection) -> Iterator[Record]:
    """Each principal with its credentials, all from one moment."""
    with transaction(connection, writing=False):
        for (authid,) in connection.execute("SELECT authid FROM principal ORDER BY authid").fetchall():
            yield show(connection, authid)


def load(
    connection: Connection, lines: Iterable[bytes], allow: Callable[[str, str], None] = lambda realm, role: None
) -> int:
    """Add the principals that :func:`export` wrote, one JSON object a line: all or none.

    :param allow: raises :class:`Refused` for a realm and role that nobody may be given.
    :returns: how many.
    :raises Refused: with the number of the line that can't be added, and why.
    """
    number = 0
    with transaction(connection):
        for number, line in enumerate(lines, start=1):
            try:
                if line.count(b"[") + line.count(b"{") > MAX_NESTING:
                    raise RecursionError  # rather than let the parser run out of stack
                record = json.loads(line)
                _add(connection, record)
                allow(record["realm"], record["role"])
                for credential in record.get("credentials", ()):
                    _add_credential(connection, record["authid"], credential, past=True)
            except (Refused, names.Malformed) as error:
                raise Refused(f"line {number}: {error}; nothing was imported") from None
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise Refused(f"line {number} isn't a principal as `export` writes it; nothing was imported") from None
    return number


def _note(connection: Connection, authid: str, credential: str | None) -> None:
    """Tell those who follow the changes."""
    connection.execute(ADD_CHANGE, (authid, credential))
    connection.execute(PRUNE, (KEPT,))


def _add(connection: Connection, principal: Record) -> None:
    authid = names.authid(principal["authid"])
    row = (authid, names.realm(principal["realm"]), names.role(principal["role"]))
    extra = json.dumps(names.extra(principal.get("extra", {})))
    if connection.execute("SELECT 1 FROM principal WHERE authid = ?", (authid,)).fetchone():
        raise Refused(f"there is a principal {authid} already")
    connection.execute("INSERT INTO principal VALUES (?, ?, ?, ?, ?)", (*row, extra, seconds(principal.get("revoked"))))


def _add_credential(connection: Connection, authid: str, credential: Record, past: bool = False) -> str:
    """Add a credential to a principal that exists. With `past`, as in an import, it may have run out already."""
    kind = credential["kind"]
    verifier = VERIFIERS[kind](credential["verifier"])
    created, not_before, expires, revoked = (seconds(credential.get(name)) for name in TIMES)
    if expires is not None and not past and expires <= now(connection):
        raise Refused("the expiry is in the past")
    if expires is not None and not_before is not None and expires <= not_before:
        raise Refused("the credential would run out before it begins to count")
    if owner := connection.execute("SELECT authid FROM credential WHERE verifier = ?", (verifier,)).fetchone():
        raise Refused(f"this {kind} is registered already, for {owner[0]}")
    if kind == "chosen":
        _make_room(connection, authid, keep=past)
    given = credential.get("id")
    identifier = names.credential(given or secrets.token_hex(8))
    if given and connection.execute("SELECT 1 FROM credential WHERE id = ?", (identifier,)).fetchone():
        raise Refused(f"there is a credential {identifier} already")
    label = names.label(credential.get("label", ""))
    times = (created if created is not None else now(connection), not_before, expires, revoked)
    connection.execute(
        "INSERT INTO credential VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (identifier, authid, kind, verifier, label, *times)
    )
    return identifier


def _make_room(connection: Connection, authid: str, keep: bool) -> None:
    """Drop chosen tickets that will never count again: each one costs every wrong guess another Argon2id check. With
    `keep`, as in an import, drop none."""
    if not keep:
        over = "authid = ? AND kind = 'chosen' AND (revoked IS NOT NULL OR expires <= store_now())"
        connection.execute(f"DELETE FROM credential WHERE {over}", (authid,))
    chosen = connection.execute("SELECT 1 FROM credential WHERE authid = ? AND kind = 'chosen'", (authid,)).fetchall()
    if len(chosen) >= MAX_CHOSEN:
        raise Refused(f"{authid} has {MAX_CHOSEN} chosen tickets already: revoke one first")


def _require(connection: Connection, authid: str) -> Record:
    row = connection.execute(PRINCIPALS + " WHERE p.authid = ? GROUP BY p.authid", (authid,)).fetchone()
    if row is None:
        raise Refused(f"there is no principal {authid}")
    return _principal(row)


def _principal(row: tuple[Any, ...]) -> Record:
    authid, realm, role, extra, revoked, credentials = row
    state = ACTIVE if revoked is None else "revoked"
    record = {"authid": authid, "realm": realm, "role": role, "extra": json.loads(extra), "state": state}
    return {**record, "revoked": iso(revoked), "credentials": credentials}


def _require_credential(connection: Connection, authid: str, named: str) -> Record:
    _require(connection, authid)
    known = _credentials(connection, authid)
    found = [one for one in known if one["id"] == named] or [one for one in known if one["label"] == named != ""]
    if len(found) != 1:
        several = "several credentials" if found else "no credential"
        raise Refused(f"{authid} has {several} {named!r}: `wampauth show {authid}` lists the ids")
    return found[0]


def _credentials(connection: Connection, authid: str) -> list[Record]:
    columns = ("id", "kind", "verifier", "label", *TIMES, "state")
    records = [dict(zip(columns, row, strict=True)) for row in connection.execute(CREDENTIALS, (authid,)).fetchall()]
    return [{**record, **{name: iso(record[name]) for name in TIMES}} for record in records]


def iso(moment: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def seconds(moment: str | None) -> float | None:
    """ISO 8601 as seconds since 1970; without an offset it means UTC.

    :raises names.Malformed: if it is no such time.
    """
    if moment is None:
        return None
    try:
        parsed = datetime.fromisoformat(moment)
        moment_in_utc = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
        return round(moment_in_utc.timestamp(), 3)
    except (ValueError, TypeError, OverflowError):
        raise names.Malformed("a time is written like 2030-12-31T23:59:59Z") from None
