"""What does an operator see of the store? Principals with their credentials, as they stand now."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

from wampauth import names
from wampauth.store.engine import Connection, StoreError, sentences
from wampauth.store.moments import iso
from wampauth.store.reading import ACTIVE, STATE

PRINCIPALS = """SELECT p.authid, p.realm, p.role, p.extra, p.revoked, p.max_sessions, COUNT(c.id)
                FROM principal p LEFT JOIN credential c ON c.authid = p.authid"""
CREDENTIALS = f"""SELECT c.id, c.kind, c.verifier, c.label, c.created, c.not_before, c.expires, c.revoked, c.overlap,
                         {STATE}
                  FROM credential c JOIN principal p ON p.authid = c.authid
                  WHERE c.authid = ? ORDER BY c.created, c.id"""
LISTED = PRINCIPALS.replace(  # with the next moment at which one of its credentials runs out
    "COUNT(c.id)",
    """COUNT(c.id), MIN(CASE WHEN p.revoked IS NULL AND c.revoked IS NULL AND c.expires > store_now()
                             THEN c.expires END) AS ending""",
)
STATES = {ACTIVE: "p.revoked IS NULL", "revoked": "p.revoked IS NOT NULL"}
AT_ONCE = 500  # ids in one query
TIMES = ("created", "not_before", "expires", "revoked")

Record = dict[str, Any]  # a principal or credential as show, export and import have it; times in ISO 8601, UTC


class Refused(Exception):
    """What was asked for can't be done. The text is a sentence for the operator."""


def now(connection: Connection) -> float:
    """The store's clock, in seconds since 1970."""
    with sentences(connection):
        return float(connection.execute("SELECT store_now()").fetchone()[0])


def places(connection: Connection) -> list[tuple[str, str, int, str]]:
    """Realm, role, the number of principals who have them, and one of these."""
    query = "SELECT realm, role, COUNT(*), MIN(authid) FROM principal GROUP BY realm, role ORDER BY realm, role"
    with sentences(connection):
        return [tuple(row) for row in connection.execute(query).fetchall()]


def principals(
    connection: Connection,
    realm: str | None = None,
    role: str | None = None,
    state: str | None = None,
    expiring: float | None = None,
) -> Iterator[Record]:
    """All principals in the order of their authids, each with the number of its credentials; or some.

    :param state: one of :data:`STATES`.
    :param expiring: only those of whose credentials one runs out within so many seconds; ``expires`` says when.
    """
    given = {"p.realm = ?": realm, "p.role = ?": role}
    conditions = [condition for condition, value in given.items() if value is not None]
    conditions += [STATES[state]] if state else []
    query = f"{LISTED} {'WHERE ' if conditions else ''}{' AND '.join(conditions)} GROUP BY p.authid"
    values = [value for value in given.values() if value is not None]
    before = None if expiring is None else now(connection) + expiring
    with sentences(connection):
        for *row, ending in connection.execute(f"{query} ORDER BY p.authid", values):
            with _as_written(row[0]):
                is_meant = before is None or (ending is not None and ending <= before)
            if is_meant:
                yield {**_principal(tuple(row)), **({} if before is None else {"expires": iso(ending)})}


def show(connection: Connection, authid: str) -> Record:
    """One principal with its credentials."""
    with sentences(connection):
        principal = require(connection, authid)
        return {**principal, "credentials": _credentials(connection, principal["authid"])}


def stored(connection: Connection, authid: str) -> str:
    """The authid as it is stored, if it is; its accents may be written otherwise."""
    with sentences(connection), suppress(Refused):
        return str(require(connection, authid)["authid"])
    return authid


def labels(connection: Connection, credentials: Collection[str]) -> dict[str, tuple[str, str]]:
    """Kind and label of credentials, by their id."""
    some = iter(credentials)
    found: dict[str, tuple[str, str]] = {}
    with sentences(connection):
        while ids := list(islice(some, AT_ONCE)):
            query = f"SELECT id, kind, label FROM credential WHERE id IN ({', '.join('?' * len(ids))})"
            found |= {identifier: (kind, label) for identifier, kind, label in connection.execute(query, ids)}
    return found


def credential(connection: Connection, authid: str, named: str) -> Record:
    """The credential of a principal with the id, or else the label, `named`."""
    with sentences(connection):
        return require_credential(connection, authid, named)


def require(connection: Connection, authid: str) -> Record:
    """The principal, if there is one. How the accents of `authid` are typed makes no difference, unless there are two
    of whom that is all that tells them apart."""
    spellings = names.spellings(authid)
    rows = connection.execute(PRINCIPALS + " WHERE p.authid IN (?, ?, ?) GROUP BY p.authid", spellings).fetchall()
    if not rows:
        raise Refused(f"there is no principal {authid}: `wampauth list` shows who there is")
    return _principal(min(rows, key=lambda row: spellings.index(row[0])))


def _principal(row: tuple[Any, ...]) -> Record:
    authid, realm, role, extra, revoked, most, credentials = row
    state = ACTIVE if revoked is None else "revoked"
    with _as_written(authid):
        record = {"authid": authid, "realm": realm, "role": role, "extra": json.loads(extra), "state": state}
        return {**record, "revoked": iso(revoked), "max_sessions": most, "credentials": credentials}


@contextmanager
def _as_written(authid: str) -> Iterator[None]:
    """Rows may have been written by hand."""
    try:
        yield
    except (ValueError, TypeError, OverflowError):
        raise StoreError(
            f"what is stored of {authid!r} can't be read: extra must be JSON, a verifier text, and a time NULL or"
            " seconds since 1970; mend these rows in the database"
        ) from None


def require_credential(connection: Connection, authid: str, named: str) -> Record:
    """As :func:`credential`, within a transaction."""
    known = _credentials(connection, require(connection, authid)["authid"])
    found = [one for one in known if one["id"] == named.strip().lower()] or [
        one for one in known if one["label"] and names.look_alike(one["label"], named)
    ]
    if len(found) != 1:
        several = "several credentials" if found else "no credential"
        raise Refused(f"{authid} has {several} {named!r}: `wampauth show {authid}` lists the ids")
    return found[0]


def _credentials(connection: Connection, authid: str) -> list[Record]:
    columns = ("id", "kind", "verifier", "label", *TIMES, "overlap", "state")
    records = [dict(zip(columns, row, strict=True)) for row in connection.execute(CREDENTIALS, (authid,)).fetchall()]
    for record in records:
        with _as_written(authid):
            record.update({name: iso(record[name]) for name in TIMES})
            json.dumps(record)  # or it couldn't be told
        if record["overlap"] is None:  # only a token may have one
            del record["overlap"]
    return records
