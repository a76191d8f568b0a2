"""How do we refuse? The guard stands before and behind each check ("who are you?", ``authenticator.py``).

Before: is the claim well-formed, and may this address still try? Around: a deadline, and a net under every exception.
Behind: is the answer one that the router can work with? Then one audit record; a yes is given at once, a no at a fixed
time and in the one way that we say no. The guard knows neither how tickets and keys are checked nor where they lie.
"""

import json
import secrets
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.reflect import safe_str

import names
from audit import Audit
from claims import Claim, Origin
from settings import Settings
from throttle import Throttle

MAX_UNDERWAY = 1000  # attempts at once; a flood beyond that is told to come back
MAX_FAULTS = 20  # lines in the log about failures of our own, from one summary to the next
SUMMARY = 60.0  # seconds between two log lines that count what was refused

# What a refused client is told, whatever the cause. The true reason is for the audit.
NO = {
    "ticket": (
        "com.example.invalid_ticket",
        "could not authenticate session - invalid ticket for principal {0.authid}",
    ),
    "cryptosign": ("com.example.no_such_user", "no principal with matching public key 0x{0.pubkey}"),
}

Answer = dict[str, Any]
Check = Callable[[Claim, Origin], Awaitable[Answer]]
Procedure = Callable[[Any, Any, Any], "Deferred[Answer]"]


class Refused(Exception):
    """What a check raises to say no. The `reason` reaches the audit, and never the client."""

    def __init__(self, reason: str, **found: str) -> None:
        """:param found: for the audit as well: authid, credential and realm that were found."""
        super().__init__(reason)
        self.reason, self.found = reason, found


class Refusal(Exception):
    """A "no" worked out: how the audit calls it and why, and what the client gets to see."""

    def __init__(self, outcome: str, reason: str, uri: str, text: str, **audited: str) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.uri, self.text, self.audited = outcome, reason, uri, text, audited


def malformed(rule: str) -> Refusal:
    """No client library would send this; `rule` says what was expected."""
    return Refusal("malformed", rule, "com.example.malformed", rule)


def throttled(wait: float) -> Refusal:
    """Too many failures; there is a token again in `wait` seconds."""
    text = f"too many failed attempts - try again in {int(wait) + 1} seconds"
    return Refusal("throttled", "out of tokens", "com.example.too_many_attempts", text)


def unavailable(reason: str) -> Refusal:
    """Our fault. The client gets a reference that log and audit have too, and nothing else of the `reason`."""
    reference = secrets.token_hex(4)
    text = f"authentication is unavailable - try again later (reference {reference})"
    return Refusal("unavailable", reason, "com.example.unavailable", text, reference=reference)


@dataclass(slots=True)
class Attempt:
    """One login on its way through the guard."""

    method: str
    started: float  # seconds on the clock
    origin: Origin
    claim: Claim | None = None  # once it is known to be well-formed


class Guard:
    """Wraps checks. One guard serves both methods and both wirings of a process: its counts are the only ones."""

    log = Logger()

    def __init__(self, clock: Any, settings: Settings, audit: Audit) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock = clock
        self._settings = settings
        self._audit = audit
        self._throttle = Throttle(clock, settings)
        self._underway: set[str] = set()  # connections
        self._refusals = 0  # since the last summary
        self._faults = 0  # of these, our own, that the log has a line of

    def wrap(self, method: str, check: Check) -> Procedure:
        """Make the procedure that the router calls, ``authenticate(realm, authid, details)``, out of `check`.

        Its Deferred fires with the answer, or fails with an ``ApplicationError`` whose URI and text the client gets to
        see. It always fires: a yes at once, a no at ``refusal_delay``, and at ``deadline`` in any case.
        """

        def authenticate(realm: Any, authid: Any, details: Any) -> "Deferred[Answer]":
            details = details if isinstance(details, dict) else {}
            attempt = Attempt(method, self._clock.seconds(), Origin.parse(details, self._settings.trusted_proxies))
            return Deferred.fromCoroutine(self._authenticate(attempt, check, (realm, authid, details)))

        return authenticate

    async def _authenticate(self, attempt: Attempt, check: Check, claimed: tuple[Any, Any, Any]) -> Answer:
        """Follow one attempt to its end. Of those underway there is one a connection, and a limited number in all."""
        connection = attempt.origin.connection
        if connection in self._underway:
            raise self._at_once(attempt, malformed("one attempt at a time"))
        if len(self._underway) >= MAX_UNDERWAY:
            raise self._at_once(attempt, unavailable("too many attempts at once"))
        self._underway.add(connection)
        try:
            return await self._decide(attempt, check, claimed)
        except Refusal as no:
            await self._until_it_is_time(attempt, no)
            raise ApplicationError(no.uri, no.text) from None
        finally:
            self._underway.discard(connection)

    async def _decide(self, attempt: Attempt, check: Check, claimed: tuple[Any, Any, Any]) -> Answer:
        """Return a complete answer or raise a :class:`Refusal`. Nothing else comes out of here."""
        try:
            attempt.claim = claim = self._parse(attempt.method, claimed)
            if wait := self._throttle.take(claim.subject, attempt.origin.host):
                raise throttled(wait)
            answer = complete(attempt.method, await self._in_time(check, claim, attempt.origin))
            self._throttle.give_back(claim.subject, attempt.origin.host)
            self._record(attempt, "accepted" if attempt.method == "ticket" else "challenged", **_assigned(answer))
            return answer
        except Refusal:
            raise
        except Refused as no:
            uri, text = NO[attempt.method]
            raise Refusal("refused", no.reason, uri, text.format(attempt.claim), **no.found) from None
        except Exception as error:
            raise unavailable(_describe(error, attempt.claim)) from None

    def _parse(self, method: str, claimed: tuple[Any, Any, Any]) -> Claim:
        try:
            return Claim.parse(method, *claimed)
        except names.Malformed as broken:
            raise malformed(str(broken)) from None

    def _in_time(self, check: Check, claim: Claim, origin: Origin) -> "Deferred[Any]":
        """What the check says, if it says so before the deadline; what it says later is thrown away."""
        outcome: Deferred[Any] = Deferred()

        def give_up() -> None:
            outcome.errback(unavailable(f"no answer after {self._settings.deadline:g} seconds"))

        timer = self._clock.callLater(self._settings.deadline, give_up)

        def settle(result: Any) -> None:
            if timer.active():
                timer.cancel()
                outcome.callback(result)  # a Failure travels on as one

        maybeDeferred(check, claim, origin).addBoth(settle)
        return outcome

    async def _until_it_is_time(self, attempt: Attempt, no: Refusal) -> None:
        """Wait for the moment of a no: how long a check took must not tell why it failed."""
        self._report(attempt, no)
        delay, elapsed = self._settings.refusal_delay, self._clock.seconds() - attempt.started
        if no.outcome == "refused" and delay:
            delay *= 1 + elapsed // delay  # a check that was slow is answered on the next beat
        await deferLater(self._clock, max(0.0, delay - elapsed))

    def _at_once(self, attempt: Attempt, no: Refusal) -> ApplicationError:
        """A no to what is too much: it must not leave anything waiting."""
        self._report(attempt, no)
        return ApplicationError(no.uri, no.text)

    def _report(self, attempt: Attempt, no: Refusal) -> None:
        """Tell the audit of each refusal, and the log of the first few that are our fault."""
        if self._refusals == 0:
            self._faults = 0
            self._clock.callLater(SUMMARY, self._summarise)
        self._refusals += 1
        if no.outcome == "unavailable":
            self._fault("authentication unavailable, reference {reference}: {reason}", reason=no.reason, **no.audited)
        try:
            self._record(attempt, no.outcome, reason=no.reason, **no.audited)
        except Exception as error:
            self._fault("the audit can't be written: {error}", error=error)

    def _fault(self, text: str, **values: Any) -> None:
        self._faults += 1
        if self._faults <= MAX_FAULTS:
            self.log.error(text, **values)

    def _summarise(self) -> None:
        """A flood of refusals is one line in the log; the audit has each of them."""
        self.log.error("{count} attempts were refused in {seconds:g} s", count=self._refusals, seconds=SUMMARY)
        self._refusals = 0

    def _record(self, attempt: Attempt, outcome: str, **more: str | None) -> None:
        self._audit.record(
            outcome,
            method=attempt.method,
            claimed=attempt.claim.subject if attempt.claim else None,
            peer=attempt.origin.host,
            session=attempt.origin.session,
            duration=round(self._clock.seconds() - attempt.started, 4),
            **more,
        )


def complete(method: str, answer: Any) -> Answer:
    """The answer, checked and copied: the router changes what it gets, and hangs the client on what it can't use.

    :raises Refusal: unavailable, if the answer lacks something or has it in another type than the router needs.
    """
    try:
        if not isinstance(answer["extra"], dict):
            raise TypeError("extra isn't an object")
        checked = {
            "realm": names.realm(answer["realm"]),
            "authid": names.authid(answer["authid"]),
            "role": names.role(answer["role"]),
            "extra": names.portable(answer["extra"]),
        }
        if method == "cryptosign":
            checked["pubkey"] = names.pubkey(answer["pubkey"])
        return checked
    except (LookupError, TypeError, ValueError) as error:
        raise unavailable(f"the check gave an incomplete answer: {type(error).__name__}: {error}") from None


def _assigned(answer: Answer) -> dict[str, str | None]:
    return {"authid": answer["authid"], "realm": answer["realm"], "credential": answer["extra"].get("credential")}


def _describe(error: Exception, claim: Claim | None) -> str:
    """What went wrong and where, without the ticket, should the exception quote it."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {safe_str(error)} ({Path(place.filename).name}:{place.lineno})"
    for form in _written(claim.ticket) if claim and claim.ticket else ():
        text = text.replace(form, "...")
    return text


def _written(ticket: str) -> list[str]:
    """The forms in which an exception may quote a ticket, the longest first."""
    forms = {ticket, repr(ticket)[1:-1], json.dumps(ticket)[1:-1], repr(ticket.encode())[2:-1]}
    return sorted(forms, key=len, reverse=True)
