"""How would one login go, without a router?"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wampauth.admission import KEY, LATEST, Admissions
from wampauth.audit import open_audit
from wampauth.certificates import MOMENT
from wampauth.claims import Claim, KeyClaim, Origin, Principal, TicketClaim, TlsClaim
from wampauth.methods import method_of
from wampauth.service import STOP_TIMEOUT, Service
from wampauth.settings import Settings, split

PREFIX = "com.example."
TAKES_TIME = ". A check that waits for a thread or a network needs `login(..., clock=reactor)`, in trial's TestCase"
NOT_PROVEN = "wamp.error.not_authorized"
SESSION = 1  # the session id that a client would get, where the claim doesn't say


def login(
    checks: Callable[[dict[str, Any]], object],
    settings: Mapping[str, Any],
    claim: Claim,
    clock: Any = None,
    *,
    prefix: str = PREFIX,
) -> "Deferred[Principal]":
    """Have `checks` decide on `claim`, through the guard, as if the router had asked.

    Where nothing is awaited but other checks and plain coroutines, the result is there at once:
    ``login(...).addBoth(results.append)``. A claim without an origin comes from 127.0.0.1 in clear. Checks that have
    ``start`` or ``stop`` are started before and stopped after; nothing is left waiting then. What goes wrong in a
    check is logged by ``logging``, so that pytest shows it.

    :param checks: the class, as it is given to ``Authenticator``.
    :param settings: a component's ``extra``, with or without ``guard``. Unless that names an audit, none is written.
    :param clock: the reactor, for checks that wait for something, or a ``twisted.internet.task.Clock`` to advance.
        None: as much time as the guard may take passes at once.
    :param prefix: that of your ``Authenticator``, with which refusals begin.
    :returns: the principal that would join, but for its ``max_sessions``; where it has yet to prove something (a key, a
        password), once it has.
    :raises autobahn.wamp.exception.ApplicationError: in the Deferred, as the client would get it. Who is challenged,
        and refused whatever it proves then (WAMP-SCRAM, WAMP-CRA), gets the router's ``wamp.error.not_authorized``.
    :raises SettingsError: for wrong settings.
    """
    given, ours = split(settings)
    guard = Settings.from_config(ours.get("guard", {}))
    audit: Any = Noting(open_audit(guard.audit) if "audit" in ours.get("guard", {}) else NoAudit(clock is not None))
    admissions = Admissions(prefix, bytes(KEY))
    time = Passing(Clock() if clock is None else clock)
    service = Once(time, checks, given, guard, prefix, admissions, audit)
    method = method_of(claim)
    told = service.procedure(method)(claim.realm, claim.authid, _details(method, claim))
    told.addCallback(_principal, admissions, audit).addBoth(_leave, service, time)
    if clock is None:
        for seconds in guard.deadline, guard.refusal_delay, STOP_TIMEOUT:
            time.advance(seconds)
    return told


class Once(Service):
    """Serves one login, and no operator: whoever called it stops it."""

    def _goes_on(self) -> None:
        """It doesn't."""


class Passing:
    """The clock of one login: what hasn't come when that ends never comes."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._calls: list[Any] = []
        self._is_over = False
        self.seconds = clock.seconds

    def callLater(self, delay: float, function: Callable[..., object], *args: Any, **kwargs: Any) -> Any:
        """As the reactor's."""
        call = self._clock.callLater(delay, function, *args, **kwargs)
        self._calls.append(call)
        if self._is_over:
            self.end()
        return call

    def advance(self, seconds: float) -> None:
        """Let time pass, where it is the test's."""
        self._clock.advance(seconds)

    def end(self) -> None:
        """Nothing more is to come."""
        self._is_over = True
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()


def _leave(found: Any, service: Service, time: Passing) -> "Deferred[Any]":
    """Take along what was begun for the login: its summaries, the patience for a proof, and what the checks have."""

    def gone(_: object) -> Any:
        time.end()
        return found

    return service.stop().addBoth(gone)


class Noting:
    """Passes records on, and notes whether one says that the check has refused: of a challenge that isn't told."""

    def __init__(self, audit: Any) -> None:
        self._audit = audit
        self.has_refused = False
        self.summarise = audit.summarise

    def record(self, outcome: str, **fields: Any) -> None:
        """As the audit's."""
        self.has_refused |= outcome == "refused"
        self._audit.record(outcome, **fields)


class NoAudit:
    """Takes records, and keeps none. Of what is our fault, or the check's, it tells the log: the client isn't told."""

    log = logging.getLogger("wampauth")

    def __init__(self, has_time: bool = True) -> None:
        """:param has_time: nothing can be waited for but what is there at once."""
        self._hint = "" if has_time else TAKES_TIME

    def record(self, outcome: str, **fields: Any) -> None:
        """Tell the log, if it is ``unavailable``."""
        if outcome == "unavailable":
            hint = self._hint if str(fields.get("reason")).startswith("no answer after") else ""
            self.log.error("unavailable, reference %s: %s%s", fields.get("reference"), fields.get("reason"), hint)

    def summarise(self) -> None:
        """There is nothing to be counted."""


def _details(method: str, claim: Claim) -> dict[str, Any]:
    """What the router says of a client that claims this."""
    origin = claim.origin or Origin(address="127.0.0.1")
    shown = {"pubkey": claim.pubkey} if isinstance(claim, KeyClaim) else {}
    transport = {
        "peer": "unix" if origin.address == "unix" else f"tcp4:{origin.address}:1",
        "is_secure": origin.is_secure,
        "http_headers_received": dict(origin.headers),
        "peer_cert": _certificate(claim) if isinstance(claim, TlsClaim) else None,
    }
    return {
        "authmethod": method,
        "session": origin.session or SESSION,
        "authextra": {"channel_binding": origin.channel_binding, **claim.authextra, **shown},
        "transport": transport,
        **({"ticket": claim.ticket} if isinstance(claim, TicketClaim) else {}),
    }


def _certificate(claim: TlsClaim) -> dict[str, Any]:
    """What the router says of it."""
    moments = {"not_before": claim.not_before or 0.0, "not_after": claim.not_after or LATEST}
    return {
        "sha256": claim.fingerprint,
        "subject": dict(claim.subject),
        "extensions": [{"name": "subjectAltName", "value": ", ".join(claim.names)}] if claim.names else [],
        **{name: datetime.fromtimestamp(moment, UTC).strftime(MOMENT) for name, moment in moments.items()},
    }


def _principal(told: dict[str, Any], admissions: Admissions, audit: Noting) -> Principal:
    if audit.has_refused:
        raise ApplicationError(NOT_PROVEN, "the check has refused it: whatever it proves, the router says no")
    details = {"authid": told["authid"], "authrole": told["role"], "authextra": told["extra"]}
    found = admissions.read(told["realm"], details)
    assert found is not None
    return Principal(
        found.authid, found.realm, found.role, found.extra, told.get("pubkey"), found.credential, found.expires
    )
