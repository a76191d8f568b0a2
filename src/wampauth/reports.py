"""Who is told of an attempt to log in? The audit of each one, and the log of the first few that failed through us; a
flood of refusals is one line in the log, and for each address one in the audit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from wampauth import names
from wampauth.audit import Audit
from wampauth.checks import AnyCheck
from wampauth.claims import Claim, Origin, Principal, TicketClaim, known
from wampauth.methods import METHODS
from wampauth.places import Places
from wampauth.refusals import Refusal
from wampauth.throttle import Key, counted_address

MAX_FAULTS = 20  # lines in the log about failures of our own, from one summary to the next
LONGEST_HOLD = 0.05  # seconds that a check may keep the reactor without a warning
SUMMARY = 60.0  # seconds between two log lines that count what was refused


@dataclass(slots=True)
class Attempt:
    """One login on its way through the guard."""

    method: str
    started: float  # seconds on the clock
    origin: Origin
    said: Mapping[str, str] = field(default_factory=dict)  # see claims.said
    claim: Claim | None = None  # once it is known to be well-formed
    has_turn: bool = False  # it had one, and hasn't left it
    unproven: tuple[Key, ...] = ()  # where it still counts as under way, after it was answered with a challenge
    receipt: str | None = None  # by which it is known again who met the challenge
    place: Places | None = None  # among those who wait for their no

    @property
    def address(self) -> str:
        """What it counts for."""
        return counted_address(self.origin.address)

    @property
    def subject(self) -> str:
        """What the client claims to be: the authid that it names, or the key that it shows."""
        return METHODS[self.method].subject(self.claim)

    def contradictions(self, found: Mapping[str, str | None]) -> dict[str, str]:
        """What the client says of itself, but for what was found to be so, as fields for the audit."""
        same = {**found, "authid": found.get("authid") or (self.subject if self.claim else None)}
        return {f"claimed_{name}": said for name, said in self.said.items() if not _is_same(said, same.get(name))}


def _is_same(said: str, found: str | None) -> bool:
    """Whether they differ at most in how accents are written. Of what a stranger says, too much isn't looked at."""
    return found is not None and names.look_alike(said[: names.MAX_AUTHID * names.DECOMPOSED], found)


class Reports:
    """Tells audit and log."""

    log = Logger()

    def __init__(self, clock: Any, audit: Audit) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock = clock
        self._audit = audit
        self._refusals = 0  # since the last summary
        self._faults = 0  # our own, since then
        self._counting = False  # a summary is due

    def record(self, attempt: Attempt, outcome: str, **more: str | None) -> None:
        """Tell the audit.

        :raises OSError: if it can't be written.
        """
        self._audit.record(
            outcome,
            method=attempt.method,
            claimed=attempt.subject if attempt.claim else None,
            **attempt.contradictions(more),
            peer=attempt.origin.address,
            session=attempt.origin.session,
            duration=round(self._clock.seconds() - attempt.started, 4),
            **more,
        )

    def found(self, attempt: Attempt, principal: Principal) -> None:
        """Tell the audit who it is, and of a ticket that was spent for a key.

        :raises OSError: if it can't be written.
        """
        enrolled = isinstance(attempt.claim, TicketClaim) and principal.pubkey is not None
        reason = {"reason": f"enrolled 0x{principal.pubkey}"} if enrolled else {}
        self.record(attempt, METHODS[attempt.method].outcome, **known(principal), **reason)

    def refused(self, attempt: Attempt, no: Refusal) -> None:
        """Tell the audit of a refusal, and the log if it is our fault."""
        self._begin_counting()
        self._refusals += 1
        if no.outcome == "unavailable":
            self._fault("authentication unavailable, reference {reference}: {reason}", reason=no.reason, **no.audited)
        try:
            self.record(attempt, no.outcome, reason=no.reason, **no.audited)
        except Exception as error:
            self._fault("the audit can't be written: {error}", error=error)

    def held(self, check: AnyCheck, seconds: float) -> None:
        """Tell the log of a check that computes, or waits, where everybody else has to wait with it."""
        if seconds <= LONGEST_HOLD:
            return
        self._begin_counting()
        name = getattr(check, "__qualname__", type(check).__name__)
        text = "{name} kept the reactor for {ms:.0f} ms: what takes long belongs into a thread (deferToThread)"
        self._fault(text, name=name, ms=seconds * 1000)

    def _begin_counting(self) -> None:
        if not self._counting:
            self._counting = True
            self._clock.callLater(SUMMARY, self._summarise)

    def _fault(self, text: str, **values: Any) -> None:
        self._faults += 1
        if self._faults <= MAX_FAULTS:
            self.log.error(text, **values)

    def _summarise(self) -> None:
        try:
            self._audit.summarise()
        except Exception as error:
            self._fault("the audit can't be written: {error}", error=error)
        if self._refusals:
            were = "attempt was" if self._refusals == 1 else "attempts were"
            self.log.error("{n} {were} refused in {seconds:g} s", n=self._refusals, were=were, seconds=SUMMARY)
        self._refusals = self._faults = 0
        self._counting = False
