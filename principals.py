"""Whom do we know? The reading half of the store, as the node uses it.

One login is one query, answered in a thread, so the reactor never waits. Nothing is cached: what an operator writes
(``registry.py``) holds from the next login on. To put your own store in this one's place, write a class with the four
methods of :class:`Principals`; nobody else in the node touches the database.
"""

import functools
import hashlib
import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, NamedTuple

import nacl.exceptions
import nacl.pwhash
from twisted.internet import reactor
from twisted.internet.defer import Deferred

import database
from threads import READERS, Hashing, Lookups, Pool

HASHERS = os.cpu_count() or 1  # Argon2id checks at once; each takes 64 MiB and some 80 ms of one core
WAITING = 64  # Argon2id checks that may wait for one of these
AT_ONCE = 500  # ids in one query
ACTIVE = "active"

# The one place that decides whether a credential counts, by the store's clock.
STATE = f"""CASE WHEN p.revoked IS NOT NULL OR c.revoked IS NOT NULL THEN 'revoked'
                 WHEN c.expires IS NOT NULL AND c.expires <= store_now() THEN 'expired'
                 WHEN c.not_before IS NOT NULL AND c.not_before > store_now() THEN 'not yet'
                 ELSE '{ACTIVE}' END"""
LOOKUP = f"""SELECT p.authid, p.realm, p.role, p.extra, c.id, c.kind, c.verifier, {STATE}, c.expires
             FROM credential c JOIN principal p ON p.authid = c.authid WHERE """
BY_IDS = LOOKUP + "c.id IN ({})"
BY_KEY = LOOKUP + "c.verifier = ? AND c.kind = 'key'"
BY_TICKET = LOOKUP + "c.authid = ? AND (c.verifier = ? AND c.kind = 'ticket' OR c.kind = 'chosen')"
ANY_CHOSEN = "SELECT 1 FROM credential WHERE kind = 'chosen' LIMIT 1"
POINT = "SELECT COALESCE(MAX(seq), 0), store_now() FROM change"
CHANGES = """SELECT authid, credential FROM change WHERE seq > ?
             UNION ALL SELECT authid, id FROM credential WHERE expires > ? AND expires <= ?"""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential together with the principal whose it is, as both stand now."""

    authid: str
    realm: str
    role: str
    extra: dict[str, Any]
    id: str
    kind: str  # key, ticket (made by manage.py) or chosen (a ticket that a person made up)
    verifier: str = field(repr=False)
    state: str  # active, not yet, expired or revoked
    expires: float | None  # seconds since 1970

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "Credential":
        """Make one from a row of :data:`LOOKUP`."""
        authid, realm, role, extra, *rest = row
        return cls(authid, realm, role, json.loads(extra), *rest)


class Point(NamedTuple):
    """Up to where somebody has followed the store's changes."""

    seq: int  # the last line of the table ``change``
    moment: float  # seconds since 1970, on the store's clock


Changes = tuple[Point, list[tuple[str, str | None]]]


class Principals:
    """The store as the node sees it: four questions, each answered by a Deferred or coroutine.

    All of them raise :class:`database.StoreError` while the store can't be read, and work again once it can.
    """

    def __init__(self, path: str, reactor: Any) -> None:
        """Open the store at `path`.

        :raises database.StoreError: if it can't be opened; better now than at the first login.
        """
        database.connect(path).close()
        self._decoy = decoy()
        self._pool = Pool(path, reactor)
        self._pool.start()
        self._lookups = Lookups(self._pool, reactor, READERS if database.is_url(path) else 1)
        self._hashing = Hashing(reactor, HASHERS, WAITING)
        reactor.addSystemEventTrigger("before", "shutdown", self.close)  # adbapi closes the connections during it

    def close(self) -> None:
        """Stop the threads. Safe to call twice."""
        if self._pool.running:
            self._lookups.close()
            self._pool.close()
            self._hashing.close()

    async def by_key(self, pubkey: str) -> Credential | None:
        """The credential of the public key `pubkey` (64 lower-case hexadecimal digits), or None."""
        return await self._lookups.ask(_by_key, pubkey)  # type: ignore[no-any-return]

    async def by_ticket(self, authid: str, ticket: str) -> Credential | None:
        """The credential of `authid` that `ticket` opens, or None.

        With chosen tickets in the store, every "no" costs one Argon2id check, also for an authid that nobody has:
        otherwise the time it takes would tell a stranger which authids exist.

        :raises threads.Busy: if too many checks are waiting.
        """
        found, chosen, decoy = await self._lookups.ask(_by_ticket, authid, ticket)
        if found:
            return found
        for candidate in chosen:
            if await self._hashing.do(_verify_chosen, candidate.verifier, ticket):
                return candidate
        if decoy:
            await self._hashing.do(_verify_chosen, self._decoy, ticket)
        return None

    def by_ids(self, credentials: Collection[str]) -> "Deferred[dict[str, Credential]]":
        """The credentials with these ids, by id; those that were removed, or whose principal was, are missing."""
        return self._pool.ask(_by_ids, list(credentials))

    def changes(self, since: Point | None) -> "Deferred[Changes]":
        """What was revoked, removed, rescheduled or has run out after the point `since`; None: nothing, just the point.

        :returns: the point reached, and pairs of authid and credential id; None stands for all that the authid has.
        """
        return self._pool.ask(_changes, since)


@functools.cache
def open_principals(path: str) -> Principals:
    """The one :class:`Principals` of the store at `path` in this process."""
    return Principals(path, reactor)


def _by_key(connection: Any, pubkey: str) -> Credential | None:
    return _first(connection.execute(BY_KEY, (pubkey,)).fetchall())


def _by_ids(connection: Any, credentials: list[str]) -> dict[str, Credential]:
    found: dict[str, Credential] = {}
    for start in range(0, len(credentials), AT_ONCE):
        some = credentials[start : start + AT_ONCE]
        rows = connection.execute(BY_IDS.format(", ".join("?" * len(some))), some).fetchall()
        found |= {credential.id: credential for credential in map(Credential.from_row, rows)}
    return found


def _first(rows: list[tuple[Any, ...]]) -> Credential | None:
    return Credential.from_row(rows[0]) if rows else None


def _by_ticket(connection: Any, authid: str, ticket: str) -> tuple[Credential | None, list[Credential], bool]:
    digest = ticket_digest(ticket)
    candidates = [Credential.from_row(row) for row in connection.execute(BY_TICKET, (authid, digest)).fetchall()]
    chosen = []
    for candidate in candidates:
        if candidate.kind == "chosen":
            chosen.append(candidate)
        elif compare_digest(candidate.verifier, digest):
            return candidate, [], False
    decoy = not chosen and bool(connection.execute(ANY_CHOSEN).fetchall())
    return None, chosen, decoy


def _changes(connection: Any, since: Point | None) -> Changes:
    point = Point(*connection.execute(POINT).fetchone())
    if since is None:
        return point, []
    return point, connection.execute(CHANGES, (since.seq, since.moment, point.moment)).fetchall()


def ticket_digest(ticket: str) -> str:
    """What is stored of a ticket that ``manage.py`` made: with 256 random bits, a plain SHA-256 can't be guessed."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def chosen_verifier(ticket: str) -> str:
    """What is stored of a ticket that a person chose: Argon2id at libsodium's interactive setting. Takes some 80 ms."""
    return nacl.pwhash.argon2id.str(
        ticket.encode(), nacl.pwhash.argon2id.OPSLIMIT_INTERACTIVE, nacl.pwhash.argon2id.MEMLIMIT_INTERACTIVE
    ).decode()


@functools.cache
def decoy() -> str:
    """A verifier of a chosen ticket, opened by none: to check it costs as much as to check a real one."""
    return chosen_verifier(os.urandom(32).hex())


def _verify_chosen(verifier: str, ticket: str) -> bool:
    try:
        return bool(nacl.pwhash.verify(verifier.encode(), ticket.encode()))
    except nacl.exceptions.InvalidkeyError:
        return False
