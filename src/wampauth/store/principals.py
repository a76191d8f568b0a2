"""How does the store that is shipped answer? From principals in SQL, asked in threads, so the reactor never waits."""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.python.reflect import namedModule

from wampauth import figures, scram
from wampauth.claims import Claim, KeyClaim, Principal, Refused, ScramClaim, ScramVerifier, TicketClaim, TlsClaim, known
from wampauth.store import enrolling, reading, requests, tickets
from wampauth.store.cores import usable_cores
from wampauth.store.pool import GRACE, Threads
from wampauth.store.reading import ACTIVE, Credential, Point
from wampauth.store.threads import FairQueue, Queries, Queue
from wampauth.store.verifying import Verifying
from wampauth.throttle import counted_address

QUESTIONS_WAITING = 2000  # for the store: as many of logins, and as many of those who watch the sessions
ANSWERS_WAITING = 100  # parts of answers to operators
HASHING_WAITING = 2000  # Argon2id checks: as many as the guard lets logins be under way (``turns.py``)
HASHERS = usable_cores()  # Argon2id checks at once; each takes 64 MiB and some 80 ms of one core
AT_ONCE = 500  # ids in one query
SIGNING_OFF = 2.0  # seconds, in which the disk may be busy with others'


class Principals:
    """The questions of ``Store``, ``Enrols``, ``Scram`` and ``Certificates``, and how operators reach the node. All of
    them raise :class:`StoreError` while the store can't be used, and :class:`places.Busy` while too many are asked;
    they work again once that is over."""

    def __init__(self, engine: str, where: str, threads: int, reactor: Any) -> None:
        """
        :param engine: the name of the module that knows how to connect to what lies at `where`.
        :param threads: how many queries at once.
        :param reactor: None stands for Twisted's own. No thread is started before the first question.
        """
        self._opening = engine, where, threads
        self._reactor = reactor
        tickets.decoy()  # takes as long as a check, and is made once
        self._queries: Queries | None = None
        # What is written for operators has a thread of its own: who waits for a lock there, keeps no login.
        self._writing: Queries | None = None
        self._nodes: set[str] = set()  # as which we have signed on
        self._is_leaving = False  # nobody signs on any more

    async def by_key(self, claim: KeyClaim) -> Principal | None:
        """Whose key it is.

        :raises Refused: if the key doesn't count now.
        """
        return _counting(await self._login(_address(claim), reading.by_key, claim.pubkey))

    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        """Whose ticket it is.

        With chosen tickets in the store, every "no" costs two Argon2id checks, as many as a principal may have, also
        for an authid that nobody has: otherwise the time it takes would tell a stranger which authids exist. A "yes"
        costs one check, and nothing if that was done a moment ago (``verifying.py``).

        :raises Refused: if the ticket doesn't count now.
        """
        address = _address(claim)
        found, chosen, costly = await self._login(address, reading.by_ticket, claim.authid, claim.ticket)
        if costly:
            verifiers = [candidate.verifier for candidate in chosen]
            number = await self._verifying.find(address, claim.authid, verifiers, claim.ticket)
            found = None if number is None else chosen[number]
        return _counting(found)

    async def enrol(self, claim: TicketClaim, pubkey: str) -> Principal:
        """Spend the token, and register the key.

        :raises Refused: if it is no token that counts now, or somebody has the key; then nothing is changed.
        """
        about = (claim.authid, str(claim.realm), claim.ticket, pubkey)
        found, reason = await self._login(_address(claim), enrolling.enrol, *about)
        if found is None or reason:
            who = {} if found is None else known(found.principal)
            raise Refused(reason, **who)
        return found.principal  # type: ignore[no-any-return]

    async def by_scram(self, claim: ScramClaim) -> Principal:
        """Whose password the client has to prove.

        :raises Refused: for whoever has none that counts, with what to challenge instead.
        """
        found, salt = await self._login(_address(claim), reading.by_scram, claim.authid)
        if found is None:
            raise Refused("no such password", decoy=scram.unknown(salt))
        kept = scram.read(found.verifier)
        return replace(_must_count(found, kept), scram=kept)

    async def by_certificate(self, claim: TlsClaim) -> Principal | None:
        """Whose certificate it is.

        :raises Refused: if the certificate doesn't count now.
        """
        return _counting(await self._login(_address(claim), reading.by_certificate, claim.fingerprint))

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

    async def requests(self, node: str) -> dict[str, str]:
        """What operators want to know, by the id of the request. Who asks is told to them."""
        found, signed_on = await self._watch(requests.requests, node)
        if not signed_on and not self._is_leaving:
            self._nodes.add(node)  # before it is written: who is stopped meanwhile signs off all the same
            await self._write(requests.sign_on, node)
        return found  # type: ignore[no-any-return]

    async def answer(self, request: str, node: str, part: int, text: str) -> bool:
        """Add a part to an answer; whether it is still wanted."""
        return await self._write(requests.answer, request, node, part, text)  # type: ignore[no-any-return]

    async def request(self, text: str) -> tuple[str, set[str]]:
        """Ask all processes that have the store open: the request's id, and who they are."""
        return await self._write(requests.request, text)  # type: ignore[no-any-return]

    async def answers(self, request: str) -> list[tuple[str, str]]:
        """What has come since this was asked before: processes, and what each says; those of one in its order."""
        return await self._write(requests.answers, request)  # type: ignore[no-any-return]

    async def withdraw(self, request: str, gone: Collection[str] = ()) -> None:
        """Forget a request, and processes that don't answer any more."""
        await self._write(requests.withdraw, request, gone)

    def close(self) -> None:
        """Stop the threads. They have one time together to end in. Safe to call twice."""
        until = time.monotonic() + GRACE
        if self._writing is not None and self._writing.running:
            self._answering.close()
            self._writing.threadpool.until = until
            self._writing.close()
        if self._queries is not None and self._queries.running:
            for queue in self._logins, self._watching, self._hashes:
                queue.close()
            self._queries.threadpool.until = self._hashers.until = until
            self._queries.close()
            self._hashers.stop()

    def _login(self, address: str, question: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        queries = self._queries or self._start()
        queries.hang_up()
        return self._logins.do_for(address, queries.answer, time.monotonic(), question, *args)

    def _watch(self, question: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        queries = self._queries or self._start()
        queries.hang_up()
        return self._watching.do(queries.answer, time.monotonic(), question, *args)

    def _write(self, work: Callable[..., Any], *args: Any) -> "Deferred[Any]":
        """Another thread than the one that logins wait for."""
        if self._writing is None:
            engine, where, _ = self._opening
            reactor = self._reactor or namedModule("twisted.internet.reactor")
            self._writing = Queries(engine, where, 1, reactor)
            self._answering = Queue(reactor, self._writing.threadpool, ANSWERS_WAITING, "too many answers are waiting")
        self._writing.hang_up()
        return self._answering.do(self._writing.answer, time.monotonic(), work, *args)

    def _shut_down(self) -> "Deferred[Any]":
        """Sign off in time, or not at all: a process that has died is forgotten once it is missed. While that is
        written, a look may find that we have signed off already."""
        self._is_leaving = True
        signing_off = self._write(requests.sign_off, self._nodes) if self._nodes else succeed(None)
        reactor = self._reactor or namedModule("twisted.internet.reactor")
        return signing_off.addTimeout(SIGNING_OFF, reactor).addBoth(self._end)

    def _end(self, _: Any) -> None:
        self.close()

    def _start(self) -> Queries:
        """Start the threads. They end with the reactor."""
        reactor = self._reactor or namedModule("twisted.internet.reactor")  # which is made when it is imported
        self._queries = queries = Queries(*self._opening, reactor)
        full = "too many questions are waiting for the store"
        pool, room = queries.threadpool, QUESTIONS_WAITING
        self._logins, self._watching = FairQueue(reactor, pool, room, full, room), Queue(reactor, pool, room, full)
        self._hashers = Threads(0, HASHERS, name="hashing")
        self._hashers.gives_way = True
        self._hashers.start()
        full = "too many chosen tickets are waiting to be checked"
        self._hashes = FairQueue(reactor, self._hashers, HASHING_WAITING, full, HASHERS)
        self._verifying = Verifying(self._hashes)
        for name, queue in ("logins", self._logins), ("sessions", self._watching), ("hashing", self._hashes):
            figures.tell(queue, "queue_length", len, queue=name)
        reactor.addSystemEventTrigger("before", "shutdown", self._shut_down)
        return queries


def _address(claim: Claim) -> str:
    """Whose turn it is in a queue."""
    return counted_address(claim.origin.address) if claim.origin else ""


def _counting(found: Credential | None) -> Principal | None:
    """The principal, if the credential counts now.

    :raises Refused: if it doesn't.
    """
    return None if found is None else _must_count(found)


def _must_count(found: Credential, decoy: ScramVerifier | None = None) -> Principal:
    who = found.principal
    if found.state != ACTIVE:
        raise Refused(found.state, **known(who), decoy=decoy)
    return who
