"""How do we refuse? The guard stands before and behind each check of an author's.

Before: is the claim well-formed, may this address still try, and is the transport safe enough? Around: a deadline, and
a net under every exception. Behind: is the answer one that the router can work with, and does it keep to the claim
(``checks.py``)? Then one audit record (``reports.py``); a yes is given at once, a no at a fixed time and in the one way
that we say no (``refusals.py``).
The guard knows neither how tickets and keys are checked nor where they lie.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.reflect import safe_str

from wampauth import claims, connections, figures, methods, names
from wampauth.admission import Admissions
from wampauth.answering import Question
from wampauth.audit import Audit
from wampauth.calling import within
from wampauth.checks import (
    AnyCheck,
    WrongAnswer,
    ask,
    complete,
    describe,
    found_by,
    keep_out,
    keep_to,
    keep_within,
    without_secret,
)
from wampauth.claims import Claim, Principal, Refused, TlsClaim
from wampauth.decoys import Decoys
from wampauth.gathering import Item
from wampauth.methods import METHODS
from wampauth.places import Busy, Places
from wampauth.proofs import Proofs
from wampauth.refusals import (
    Admitted,
    Procedure,
    Refusal,
    crowded,
    malformed,
    require_safe_transport,
    too_much,
    unavailable,
)
from wampauth.reports import Attempt, Reports
from wampauth.settings import Settings
from wampauth.throttle import Throttle
from wampauth.turns import Turns

PATIENCE_IN_LINE = 2  # times the deadline: to come back would cost a client, and us, more than to wait
MAX_WAITING = 2000  # attempts that weren't worth a check, and wait for their no; beyond that it is given at once
OWN_REALMS: set[str] = set()  # of the authenticators in this process: nobody is let in there
MOST_TOLD = 100  # who is throttled, to an operator


def close(realms: Iterable[str]) -> None:
    """Let nobody into these realms any more: they are the authenticators' own."""
    OWN_REALMS.update(realms)


class Guard:
    """Wraps checks. One guard serves all methods and both wirings of a process: its counts are the only ones."""

    def __init__(self, clock: Any, settings: Settings, audit: Audit, prefix: str, admissions: Admissions) -> None:
        """
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        :param prefix: of the URIs that a client is refused with.
        :param admissions: marks what is admitted, so that ``Sessions`` knows it again.
        """
        self._clock, self._settings = clock, settings
        self._prefix, self._admissions = prefix, admissions
        self._decoys = Decoys(settings.decoy, admissions)
        self._reports = Reports(clock, audit)
        self._throttle = Throttle(clock, settings)
        self._turns = Turns(clock, self._throttle)
        self._proofs = Proofs(clock, self._throttle, self._turns, admissions.challenged)
        self._connections = connections.of(clock)
        self._trying: set[str] = set()  # connections with an attempt that is underway
        self._waiting = Places(MAX_WAITING)
        figures.tell(self, "queue_length", lambda guard: len(guard._turns), queue="checks")
        figures.tell(self, "queue_length", lambda guard: len(guard._waiting), queue="refusals")

    def wrap(self, method: str, check: AnyCheck) -> Procedure:
        """Make the procedure that the router calls, ``authenticate(realm, authid, details)``, out of `check`.

        Its Deferred fires with what the router is told, or fails with an ``ApplicationError`` whose URI and text the
        client gets to see. It always fires: a yes at once, a no at ``refusal_delay``, and at ``deadline`` in any case.
        """

        def authenticate(realm: Any, authid: Any, details: Any) -> "Deferred[Admitted]":
            details = details if isinstance(details, dict) else {}
            origin = claims.origin(details, self._settings.trusted_proxies)
            attempt = Attempt(method, self._clock.seconds(), origin, claims.said(realm, authid, details))
            return Deferred.fromCoroutine(self._authenticate(attempt, check, (realm, authid, details)))

        return authenticate

    async def answer(self, question: Question) -> Iterable[Item]:
        """What there is to say here to an operator's question (``answering.py``)."""
        if question["do"] != "why":
            return []
        asks: Item = {name: getattr(self._settings, name) for name in ("require_tls", "require_channel_binding")}
        found = await self._throttle.waiting(question["subjects"])
        told: list[Item] = [{"address": address, "subject": who, "seconds": wait} for address, who, wait in found]
        told.sort(key=lambda item: item["subject"] is None)
        return [{"asks": asks, "plain_from": self._settings.plain_from}, *told[:MOST_TOLD]]

    async def _authenticate(self, attempt: Attempt, check: AnyCheck, claimed: tuple[Any, Any, Any]) -> Admitted:
        """Follow one attempt to its end. Of those underway there is one a connection, and a limited number in all."""
        connection = attempt.origin.connection
        if no := self._excess(connection):
            self._reports.refused(attempt, no)
            if connection not in self._trying:
                self._connections.refused(connection)
            raise self._error(no)
        self._trying.add(connection)
        try:
            told = await self._decide(attempt, check, claimed)
            if METHODS[attempt.method].has_decoys:  # nor must the time of a challenge tell whose it is
                await self._until_the_beat(attempt)
            return told
        except Refusal as no:
            if attempt.has_turn and no.outcome != "refused":  # our fault costs the client nothing
                self._throttle.undo(attempt.subject, attempt.address)
            self._reports.refused(attempt, no)
            if no.is_clients:
                self._connections.failed(connection)
            await self._until_it_is_time(attempt, no)
            self._connections.refused(connection)
            raise self._error(no) from None
        finally:
            self._trying.discard(connection)
            self._connections.answered(connection)
            if attempt.has_turn:
                self._turns.leave(attempt.subject, attempt.address, attempt.unproven)
            if attempt.place is not None:
                attempt.place.leave(attempt.address)

    def _excess(self, connection: str) -> Refusal | None:
        """The no to an attempt that is one too many for its connection."""
        if not self._connections.may_try(connection):
            return too_much(malformed("too many attempts on one connection"))
        return too_much(malformed("one attempt at a time")) if connection in self._trying else None

    async def _decide(self, attempt: Attempt, check: AnyCheck, claimed: tuple[Any, Any, Any]) -> Admitted:
        """Return a complete answer or raise a :class:`Refusal`. Nothing else comes out of here."""
        try:
            try:
                return await self._ask(attempt, check, claimed)
            except Refused as no:
                return self._refuse(attempt, no)
        except Refusal:
            raise
        except Busy as busy:
            raise unavailable(str(busy)) if busy.wait is None else too_much(crowded(str(busy), busy.wait)) from None
        except WrongAnswer as wrong:
            raise unavailable(str(wrong)) from None
        except Exception as fault:
            raise unavailable(describe(fault, attempt.claim)) from None

    async def _ask(self, attempt: Attempt, check: AnyCheck, claimed: tuple[Any, Any, Any]) -> Admitted:
        """Let it in, if the check says so."""
        attempt.claim = claim = self._parse(attempt, claimed)
        await self._let_in(attempt)
        require_safe_transport(self._settings, attempt.method, attempt.origin)
        principal = keep_to(claim, await self._in_time(check, claim))
        keep_out(OWN_REALMS, principal)
        if not self._settings.oldest_leaves or principal.credential is None:  # without it, nobody would end the oldest
            keep_within(self._admissions.present, principal)
        self._connections.admitted(principal.realm)
        self._reports.found(attempt, principal)
        self._proofs.answered(attempt)
        return self._told(attempt, principal)

    def _refuse(self, attempt: Attempt, no: Refused) -> Admitted:
        """Raise a :class:`Refusal`, or return what becomes a challenge that can't be met."""
        method, claim = METHODS[attempt.method], attempt.claim
        assert claim is not None
        reason = without_secret(safe_str(no.reason), claim)  # an author may give anything
        refusal = Refusal("refused", reason, method.error, method.text.format(claim), **found_by(no))
        if not method.has_decoys:
            raise refusal from None
        decoy = self._decoys.instead_of(claim, no)
        self._reports.refused(attempt, refusal)
        self._proofs.wait_for(attempt)
        return self._told(attempt, decoy)

    def _parse(self, attempt: Attempt, claimed: tuple[Any, Any, Any]) -> Claim:
        longest = self._settings.longest_ticket
        try:
            return methods.parse(attempt.method, *claimed, attempt.origin, longest, self._prefix)
        except names.Malformed as broken:
            raise malformed(str(broken)) from None

    async def _let_in(self, attempt: Attempt) -> None:
        """Wait for its turn, which it keeps until it is answered.

        :raises Refusal: if there were too many failures.
        :raises Busy: if it doesn't come in time.
        """
        turn = self._turns.take(
            attempt.subject, attempt.address, attempt.started + PATIENCE_IN_LINE * self._settings.deadline
        )
        self._connections.asks(attempt.origin.connection)
        if turn is not None:
            await turn
        attempt.has_turn = True

    def _told(self, attempt: Attempt, principal: Principal) -> Admitted:
        """What the router is told: a copy, since the router changes what it gets."""
        told: Admitted = {"realm": principal.realm, "authid": principal.authid, "role": principal.role}
        latest = attempt.claim.not_after if isinstance(attempt.claim, TlsClaim) else None
        told["extra"] = {**principal.extra, **self._admissions.fields(principal, latest)}
        return {**told, **METHODS[attempt.method].told(principal), **self._proofs.told(attempt)}

    def _in_time(self, check: AnyCheck, claim: Claim) -> "Deferred[Any]":
        """The principal that the check finds, if it says so before the deadline."""
        answer = maybeDeferred(ask, check, claim, partial(self._reports.held, check))
        answer.addCallback(partial(complete, claim))
        seconds = self._settings.deadline
        return within(answer, seconds, self._clock, unavailable(f"no answer after {seconds:g} seconds"))

    async def _until_it_is_time(self, attempt: Attempt, no: Refusal) -> None:
        """Wait for the moment of a no: how long a check took must not tell why it failed."""
        if not attempt.has_turn:  # it was never checked, so there is nothing to tell
            if no.at_once or not self._waiting.take(attempt.address):
                return
            attempt.place = self._waiting
        if no.outcome == "refused":
            await self._until_the_beat(attempt)
        else:
            elapsed = self._clock.seconds() - attempt.started
            await deferLater(self._clock, max(0.0, self._settings.refusal_delay - elapsed))

    async def _until_the_beat(self, attempt: Attempt) -> None:
        """Wait for the next multiple of the delay: a check that was slow is answered then."""
        delay, elapsed = self._settings.refusal_delay, self._clock.seconds() - attempt.started
        await deferLater(self._clock, delay * (1 + elapsed // delay) - elapsed if delay else 0.0)

    def _error(self, no: Refusal) -> ApplicationError:
        return ApplicationError(self._prefix + no.error, no.text)
