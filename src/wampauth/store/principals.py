"""The store that is shipped: principals and their credentials in SQL, asked in threads, so the reactor never waits."""

import os
import time
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.reflect import namedModule

from wampauth.claims import KeyClaim, Principal, Refused, TicketClaim
from wampauth.store import reading, tickets
from wampauth.store.reading import ACTIVE, Credential, Point
from wampauth.store.threads import Queries, Queue, Threads

QUESTIONS_WAITING = 1000  # for the store: as many of logins, and as many of those who watch the sessions
HASHERS = os.cpu_count() or 1  # Argon2id checks at once; each takes 64 MiB and some 80 ms of one core
HASHING_WAITING = 64  # Argon2id checks that may wait for one of these
AT_ONCE = 500  # ids in one query


class Principals:
    """The four questions of a ``Store``. All of them raise :class:`StoreError` while the store can't be read, and
    :class:`threads.Busy` while too many are asked; they work again once that is over."""

    def __init__(self, engine: str, where: str, threads: int, reactor: Any = None) -> None:
        """
        :param engine: the name of the module that knows how to connect to what lies at `where`.
        :param threads: how many queries at once.
        :param reactor: None stands for Twisted's own. No thread is started before the first question.
        """
        self._opening = engine, where, threads
        self._reactor = reactor
        self._decoy = tickets.decoy()
        self._queries: Queries | None = None

    async def by_key(self, claim: KeyClaim) -> Principal | None:
        """Whose key it is.

        :raises Refused: if the key doesn't count now.
        """
        return _counting(await self._login(reading.by_key, claim.pubkey))

    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        """Whose ticket it is.

        With chosen tickets in the store, every "no" costs one Argon2id check, also for an authid that nobody has:
        otherwise the time it takes would tell a stranger which authids exist.

        :raises Refused: if the ticket doesn't count now.
        """
        found, chosen, decoy = await self._login(reading.by_ticket, claim.authid, claim.ticket)
        for candidate in chosen:
            if await self._hashes.do(tickets.verify_chosen, candidate.verifier, claim.ticket):
                return _counting(candidate)
        if decoy:
            await self._hashes.do(tickets.verify_chosen, self._decoy, claim.ticket)
        return _counting(found)

    async def by_ids(self, credentials: Collection[str]) -> dict[str, Principal]:
        """Those of the credentials that count now. Logins get their turn in between."""
        ids = list(credentials)
        found: dict[str, Principal] = {}
        for start in range(0, len(ids), AT_ONCE):
            found |= await self._watch(reading.by_ids, ids[start : start + AT_ONCE])
        return found

    async def changes(self, since: Point | None) -> tuple[Point, set[str] | None]:
        """Of whom something was revoked, removed or rescheduled, or has run out, since then; None: look at
        everybody."""
        return await self._watch(reading.changes, since)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Stop the threads. Safe to call twice."""
        if self._queries is not None and self._queries.running:
            for queue in self._logins, self._watching, self._hashes:
                queue.close()
            self._queries.close()
            self._hashers.stop()

    def _login(self, question: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        queries = self._queries or self._start()
        return self._logins.do(queries.answer, time.monotonic(), question, *args)

    def _watch(self, question: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        queries = self._queries or self._start()
        return self._watching.do(queries.answer, time.monotonic(), question, *args)

    def _start(self) -> Queries:
        """Start the threads. They end with the reactor."""
        reactor = self._reactor or namedModule("twisted.internet.reactor")  # which is made when it is imported
        self._queries = queries = Queries(*self._opening, reactor)
        full = "too many questions are waiting for the store"
        self._logins, self._watching = (Queue(reactor, queries.threadpool, QUESTIONS_WAITING, full) for _ in range(2))
        self._hashers = Threads(0, HASHERS, name="hashing")
        self._hashers.start()
        full = "too many chosen tickets are waiting to be checked"
        self._hashes = Queue(reactor, self._hashers, HASHERS + HASHING_WAITING, full)
        reactor.addSystemEventTrigger("before", "shutdown", self.close)
        return queries


def _counting(found: Credential | None) -> Principal | None:
    """The principal, if the credential counts now.

    :raises Refused: if it doesn't.
    """
    if found is None:
        return None
    who = found.principal
    if found.state != ACTIVE:
        raise Refused(found.state, authid=who.authid, realm=who.realm, credential=who.credential)
    return who
