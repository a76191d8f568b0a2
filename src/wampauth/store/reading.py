"""Whom do we know? The questions that the node asks, in SQL: each is one query, and an index answers it.

Nothing is cached: what an operator writes (``writing.py``) holds from the next login on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, NamedTuple

from wampauth import names
from wampauth.claims import Principal
from wampauth.scram import salt_of
from wampauth.store.engine import Connection
from wampauth.store.tickets import ticket_digest

ACTIVE = "active"

# The one place that decides whether a credential counts, by the store's clock.
STATE = f"""CASE WHEN p.revoked IS NOT NULL OR c.revoked IS NOT NULL THEN 'revoked'
                 WHEN c.expires IS NOT NULL AND c.expires <= store_now() THEN 'expired'
                 WHEN c.not_before IS NOT NULL AND c.not_before > store_now() THEN 'not yet'
                 ELSE '{ACTIVE}' END"""
LOOKUP = f"""SELECT p.authid, p.realm, p.role, p.extra, c.id, c.expires, p.max_sessions, c.kind, c.verifier, {STATE}
             FROM credential c JOIN principal p ON p.authid = c.authid WHERE """
BY_IDS = LOOKUP + "c.id IN ({}) AND c.kind <> 'token'"
BY_KEY = LOOKUP + "c.verifier = ? AND c.kind = 'key'"
BY_CERTIFICATE = LOOKUP + "c.verifier = ? AND c.kind = 'cert'"
BY_TICKET = LOOKUP + "c.authid IN (?, ?, ?) AND (c.verifier = ? AND c.kind = 'ticket' OR c.kind = 'chosen')"
BY_SCRAM = LOOKUP + "c.authid = ? AND c.kind = 'scram' ORDER BY c.created DESC, c.id"
ANY_CHOSEN = "SELECT 1 FROM credential WHERE kind = 'chosen' LIMIT 1"
LAST = """SELECT store_now(), last.seq, last.authid, last.credential FROM (SELECT MAX(seq) AS seq FROM change) AS newest
          LEFT JOIN change AS last ON last.seq = newest.seq"""
ID = "SELECT id FROM identity"
SALTING = (
    32  # characters of it that salts are made of: those that a store begins with, and keeps when it is brought back
)
CHANGES = """SELECT seq, authid, credential FROM change WHERE seq >= ?
             UNION ALL SELECT 0, authid, NULL FROM credential WHERE expires > ? AND expires <= ?"""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential, and the principal whose it is, as both stand now."""

    principal: Principal
    kind: str  # key, ticket (made here), chosen (a ticket that a person made up), scram (a password), token or cert
    verifier: str = field(repr=False)
    state: str  # active, not yet, expired or revoked

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "Credential":
        """Make one from a row of :data:`LOOKUP`."""
        authid, realm, role, extra, id_, expires, most, kind, verifier, state = row
        pubkey = verifier if kind == "key" else None
        principal = Principal(authid, realm, role, _own(json.loads(extra)), pubkey, id_, expires, max_sessions=most)
        return cls(principal, kind, verifier, state)


class Point(NamedTuple):
    """Up to where somebody has followed the changes of a store."""

    store: tuple[str | int, ...]  # its identity
    seq: int  # of the last line of the table ``change``; 0: there was none
    moment: float  # seconds since 1970, on the store's clock
    last: tuple[str | None, str | None] = (None, None)  # what that line says

    def follows(self, since: Any) -> bool:
        """Whether the store is the one of `since`, and hasn't gone back since then."""
        return (
            isinstance(since, Point)
            and self.store == since.store
            and self.seq >= since.seq
            and self.moment >= since.moment
        )


def by_key(connection: Connection, pubkey: str) -> Credential | None:
    """The credential of the public key `pubkey` (64 lower-case hexadecimal digits), or None."""
    rows = connection.execute(BY_KEY, (pubkey,)).fetchall()
    return Credential.from_row(rows[0]) if rows else None


def by_certificate(connection: Connection, fingerprint: str) -> Credential | None:
    """The credential of the certificate with this fingerprint (64 lower-case hexadecimal digits), or None."""
    rows = connection.execute(BY_CERTIFICATE, (fingerprint,)).fetchall()
    return Credential.from_row(rows[0]) if rows else None


def by_ticket(connection: Connection, authid: str, ticket: str) -> tuple[Credential | None, list[Credential], bool]:
    """The credential of `authid` that `ticket` opens.

    :returns: it, or None; then the chosen tickets that it still has to be checked against, and whether it has to cost
        as much as that even if there are none.
    """
    digest = ticket_digest(ticket)
    chosen = []
    for candidate in map(
        Credential.from_row, connection.execute(BY_TICKET, (*names.spellings(authid), digest)).fetchall()
    ):
        if candidate.kind == "chosen":
            chosen.append(candidate)
        elif compare_digest(candidate.verifier, digest):
            return candidate, [], False
    return None, chosen, bool(chosen) or bool(connection.execute(ANY_CHOSEN).fetchall())


def by_scram(connection: Connection, authid: str) -> tuple[Credential | None, str]:
    """The password of `authid`, or None; and the salt that is shown of it, the same whether there is one or not."""
    rows = connection.execute(BY_SCRAM, (authid,)).fetchall()
    salt = scram_salt(connection, authid)
    found = [Credential.from_row(row) for row in rows]
    return next((one for one in found if one.state == ACTIVE), found[0] if found else None), salt


def scram_salt(connection: Connection, authid: str) -> str:
    """The salt of `authid` in this store, whether it has such a principal or not."""
    (identity,) = connection.execute(ID).fetchone()
    return salt_of(authid, identity[:SALTING].encode())


def by_ids(connection: Connection, credentials: Sequence[str]) -> dict[str, Principal]:
    """The principals of those of the credentials that count now, by the id of the credential."""
    rows = connection.execute(BY_IDS.format(", ".join("?" * len(credentials))), credentials).fetchall()
    found = map(Credential.from_row, rows)
    return {str(one.principal.credential): one.principal for one in found if one.state == ACTIVE}


def changes(connection: Connection, since: Any) -> tuple[Point, set[str] | None]:
    """Of whom something was revoked, removed or rescheduled, or has run out, after the point `since`.

    :returns: the point reached, and their authids; None, if `since` is no point of this store: look at everybody.
    """
    point = _point(connection)
    if not point.follows(since):
        return point, None
    rows = connection.execute(CHANGES, (since.seq, since.moment, point.moment)).fetchall()
    lines = {seq: said for seq, *said in rows if seq}
    if lines.get(since.seq, [None, None]) != list(since.last) or (lines and since.seq == 0 and 1 not in lines):
        return point, None  # what was last seen has been pruned, or was never there: the store was replaced
    return point, {authid for seq, authid, _ in rows if not 0 < seq <= since.seq}


def _point(connection: Connection) -> Point:
    """Where the store is now."""
    known = connection.execute(ID).fetchall()
    moment, seq, *last = connection.execute(LAST).fetchone()
    return Point((*connection.identity, *(identity for (identity,) in known)), seq or 0, moment, (last[0], last[1]))


def _own(extra: dict[str, Any]) -> dict[str, Any]:
    """The fields that a client may be given: an older store may hold some whose names are reserved by now."""
    return {name: value for name, value in extra.items() if not names.RESERVED_EXTRA.fullmatch(name)}
