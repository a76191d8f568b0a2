"""How is an author's check asked, and which answers will do?

A check may answer with a plain value, a coroutine or a Deferred. The router hangs the client on an answer that it can't
use, so whatever isn't a complete principal stops here, as does one that contradicts what the client claims.
"""

import json
import re
import time
import types
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from inspect import isawaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.reflect import safe_str

from wampauth import names
from wampauth.admission import LATEST
from wampauth.calling import awaited
from wampauth.claims import (
    Claim,
    CraClaim,
    KeyClaim,
    Principal,
    Refused,
    ScramClaim,
    ScramVerifier,
    TicketClaim,
    TlsClaim,
    known,
)
from wampauth.enrolment import shown_key
from wampauth.scram import well_formed
from wampauth.told import told

FOR_ASYNCIO = "Libraries for asyncio don't run on Twisted's reactor: use one for Twisted, such as treq"
ASYNCIO = (
    "no running event loop",
    "no current event loop",
    "await wasn't used with future",
    "any asynchronous event loop",  # AnyIO, and httpx over it
    "unknown async library",  # sniffio
)

OURS = re.compile(  # reasons of the library's
    r"no such credential|no such password|expired|revoked|not yet|claims another (?:realm|authid)"
    r"|has \d+ sessions? already|the authenticators' own realm"
)

AnyCheck = Callable[[Any], Any]


class WrongAnswer(Exception):
    """The check gave an answer that the router can't use. The text is for the operator."""


def ask(check: AnyCheck, claim: Claim, held: Callable[[float], None]) -> Any:
    """Call `check`; its answer, or a Deferred of it.

    :param held: is told for how many seconds the check kept the reactor, each time that it ran.
    """
    began = time.perf_counter()
    answer = check(claim)
    held(time.perf_counter() - began)
    if isinstance(answer, Deferred) or not isawaitable(answer):
        return answer
    asked = answer if isinstance(answer, Coroutine) else awaited(answer)
    return Deferred.fromCoroutine(_watched(asked, held))


@types.coroutine
def _watched(check: Coroutine[Any, Any, Any], held: Callable[[float], None]) -> Generator[Any, Any, Any]:
    """Run a coroutine, and measure each stretch from one ``await`` to the next."""
    value: Any = None
    resume: Callable[[Any], Any] = check.send
    while True:
        began = time.perf_counter()
        try:
            awaited = resume(value)
        except StopIteration as done:
            return done.value
        finally:
            held(time.perf_counter() - began)
        try:
            resume, value = check.send, (yield awaited)
        except GeneratorExit:  # nobody waits for it any more
            check.close()
            raise
        except BaseException as error:
            resume, value = check.throw, error


def complete(claim: Claim, answer: Any) -> Principal:
    """The principal that a check answered with, checked and copied.

    :raises Refused: if the answer is None, or has run out already.
    :raises WrongAnswer: if it is no principal, or lacks what the router needs, or has it in another type.
    """
    if answer is None:
        raise Refused("no such credential")
    if not isinstance(answer, Principal):
        raise WrongAnswer(f"the check answered with {type(answer).__name__}, not with a Principal or None")
    try:
        found = Principal(
            _authid(answer.authid),
            names.realm(answer.realm),
            names.role(answer.role),
            names.extra(dict(answer.extra) if isinstance(answer.extra, Mapping) else None),
            _pubkey(claim, answer.pubkey),
            _credential(answer.credential),
            _ends(claim, _moment(answer.expires)),
            _scram(claim, answer.scram),
            _secret(claim, answer.secret),
            names.max_sessions(answer.max_sessions),
        )
    except (TypeError, ValueError) as error:
        raise WrongAnswer(f"the check gave an incomplete answer: {told(error)}") from None
    if found.expires is not None and found.expires <= time.time():
        raise _refused("expired", found)
    return found


def keep_to(claim: Claim, principal: Principal) -> Principal:
    """The principal, if it is what the client claims. A claim may leave realm and authid open, but not contradict.

    :raises Refused: with the true reason, which the guard keeps from the client.
    """
    if claim.realm not in (None, principal.realm):
        raise _refused("claims another realm", principal)
    if claim.authid is not None and not names.look_alike(claim.authid, principal.authid):
        raise _refused("claims another authid", principal)
    return principal


def keep_within(present: Callable[[Principal], int], principal: Principal) -> None:
    """Let nobody in who has as many sessions as he may.

    :param present: says how many there are, as far as is known here. To count them takes its time.
    :raises Refused: with the true reason, as above.
    """
    if principal.max_sessions is not None and present(principal) >= principal.max_sessions:
        many = "session" if principal.max_sessions == 1 else "sessions"
        raise _refused(f"has {principal.max_sessions} {many} already", principal)


def keep_out(realms: Collection[str], principal: Principal) -> None:
    """Let nobody into one of `realms`.

    :raises Refused: with the true reason, as above.
    """
    if principal.realm in realms:
        raise _refused("the authenticators' own realm", principal)


def found_by(no: Refused) -> dict[str, str | None]:
    """Whom the check found that says no, as text: an author may give anything."""
    given = {name: no.found.get(name) for name in ("authid", "realm", "role", "credential")}
    return {name: it if isinstance(it, str | None) else safe_str(it) for name, it in given.items()}


def describe(error: Exception, claim: Claim | None) -> str:
    """What went wrong and where, without the ticket, should even a text that may be told quote it."""
    found = without_secret(told(error), claim)
    sign = next((sign for sign in ASYNCIO if isinstance(error, RuntimeError) and sign in str(error)), None)
    return f"{found}: {sign}. {FOR_ASYNCIO}" if sign else found


def without_secret(text: str, claim: Claim | None) -> str:
    """The text without the client's ticket, in whichever form it may be quoted. What the library itself says quotes
    none: if a guess is a word of it, to blot that out would tell the guess."""
    if OURS.fullmatch(text):
        return text
    for form in _written(claim.ticket) if isinstance(claim, TicketClaim) else ():
        text = text.replace(form, "...")
    return text


def _written(ticket: str) -> list[str]:
    """The forms in which an exception may quote a ticket, the longest first."""
    forms = {ticket, repr(ticket)[1:-1], json.dumps(ticket)[1:-1], repr(ticket.encode())[2:-1]}
    return sorted(forms, key=len, reverse=True)


def _authid(answered: Any) -> str:
    """As the check has it, though we would compose its accents: a store knows its sessions by it."""
    names.authid(answered)
    return names.plain(answered)


def _pubkey(claim: Claim, answered: Any) -> str | None:
    """The key that the router checks the signature with. One that nobody has vouched for must be a sound one."""
    if isinstance(claim, TicketClaim):
        return answered if answered is not None and answered == shown_key(claim) else None  # one that was registered
    if not isinstance(claim, KeyClaim):
        return None
    if answered is None:
        try:
            return names.safe_pubkey(claim.pubkey)
        except names.Malformed as unsound:
            raise Refused(str(unsound)) from None
    if names.pubkey(answered) != claim.pubkey:
        raise names.Malformed("pubkey isn't the key that the client has shown")
    return claim.pubkey


def _scram(claim: Claim, answered: Any) -> ScramVerifier | None:
    return well_formed(answered) if isinstance(claim, ScramClaim) else None


def _secret(claim: Claim, answered: Any) -> str | None:
    return names.secret(answered) if isinstance(claim, CraClaim) else None


def _credential(value: Any) -> str | None:
    if value is not None and not (
        isinstance(value, str) and 0 < len(value) <= names.MAX_CREDENTIAL and value.isprintable()
    ):
        raise names.Malformed(f"credential isn't 1 to {names.MAX_CREDENTIAL} printable characters")
    return None if value is None else names.plain(value)


def _moment(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        raise names.Malformed("expires isn't a number of seconds since 1970")
    return float(value)


def _ends(claim: Claim, answered: float | None) -> float | None:
    """A session ends with the certificate that it was let in on, if it doesn't end before."""
    certain = claim.not_after if isinstance(claim, TlsClaim) else None
    return min((moment for moment in (certain, answered) if moment is not None), default=None)


def _refused(reason: str, principal: Principal) -> Refused:
    return Refused(reason, **known(principal), decoy=principal.scram)
