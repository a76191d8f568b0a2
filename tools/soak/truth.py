"""What must the store say at a moment? What was written into it, and when each change took hold: not before it was
asked for, and not after it was confirmed. In between, and while a login is under way, either answer is right.

Moments are seconds on the monotonic clock.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

CLOCKS = 0.1  # seconds that the store's clock and ours may differ, where something runs out
Value = TypeVar("Value")
Missed = Callable[[float, float], bool]  # whether nobody may have looked between two moments


@dataclass
class Change(Generic[Value]):
    """Something became another value, at some moment from `since` until `until`; infinity: it isn't confirmed yet."""

    since: float
    until: float
    value: Value


@dataclass
class Span:
    """When something had a value: it began from `begin` on, and ended not before `earliest` and not after `latest`."""

    begin: float
    earliest: float
    latest: float

    def within(self, other: "Span") -> "Span":
        """When both held."""
        return Span(max(self.begin, other.begin), min(self.earliest, other.earliest), min(self.latest, other.latest))

    def touches(self, since: float, until: float) -> bool:
        """Whether it may have held at some moment of these."""
        return max(self.begin, since) <= min(self.latest, until)


@dataclass
class Timeline(Generic[Value]):
    """The values that something had."""

    first: Value
    changes: list[Change[Value]] = field(default_factory=list)

    def becomes(self, value: Value, since: float, until: float = math.inf) -> Change[Value]:
        """What was to come later than that never comes."""
        self.changes = [change for change in self.changes if change.since < since]
        self.changes.append(Change(since, until, value))
        return self.changes[-1]

    def spans(self, value: Value) -> Iterator[Span]:
        """When it had this value, as far as is known."""
        begin, now = -math.inf, self.first
        for change in self.changes:
            if now == value:
                yield Span(begin, change.since, change.until)
            begin, now = change.since, change.value
        if now == value:
            yield Span(begin, math.inf, math.inf)

    def at(self, moment: float) -> Value:
        """What it was then, or was becoming."""
        return next((change.value for change in reversed(self.changes) if change.since <= moment), self.first)

    def may_have_been(self, value: Value, since: float, until: float) -> bool:
        return any(span.touches(since, until) for span in self.spans(value))


@dataclass(eq=False)
class Credential:
    """One of a principal's.

    :ivar secret: the ticket, or the seed of the key in hexadecimal.
    :ivar counts: whether it does, apart from what becomes of its principal.
    :ivar expires: when it runs out, at the earliest; infinity: never.
    """

    kind: str
    secret: str
    counts: Timeline[bool] = field(default_factory=lambda: Timeline(False))
    expires: float = math.inf

    def runs_out(self, moment: float) -> Change[bool] | None:
        """Then, at the earliest; what was said before counts no more, if that was later."""
        if moment >= self.expires:
            return None
        self.expires = moment
        return self.counts.becomes(False, moment - CLOCKS, moment + CLOCKS)


@dataclass
class Kick:
    """An operator ended all sessions of somebody, at some moment from `since` until `until`."""

    since: float
    until: float = math.inf


@dataclass(eq=False)
class Principal:
    """Somebody, and what became of him.

    :ivar role: None while he is revoked or removed, and before he was added.
    :ivar touched: when something was last done to him.
    :ivar is_busy: something is being done to him.
    """

    authid: str
    realm: str
    role: Timeline[str | None] = field(default_factory=lambda: Timeline(None))
    credentials: list[Credential] = field(default_factory=list)
    kicks: list[Kick] = field(default_factory=list)
    touched: float = -math.inf
    is_busy: bool = False

    def may_be_admitted(self, credential: Credential | None, role: str, since: float, until: float) -> bool:
        """Whether at some moment of these, this credential may have let him in with this role."""
        return any(span.touches(since, until) for span in self._rightful(credential, role))

    def may_be_refused(self, credential: Credential | None, since: float, until: float) -> bool:
        """Whether at some moment of these, it may have let nobody in."""
        if credential is None or credential not in self.credentials:
            return True
        return credential.counts.may_have_been(False, since, until) or self.role.may_have_been(None, since, until)

    def loses(
        self, credential: Credential, role: str, since: float, missed: Missed = lambda since, until: False
    ) -> tuple[float, float]:
        """When one who was let in at `since`, on this credential with this role, may not go on any more: at the
        earliest, and at the latest; infinity: as far as is known, he may.

        :param missed: what was taken away and given back meanwhile ends nobody, or somebody: either is right.
        """
        spans = sorted(self._rightful(credential, role), key=lambda span: span.begin)
        now = [(span.earliest, span.latest) for span in spans if span.begin <= since <= span.latest]
        earliest, latest = max(now, default=(-math.inf, since))
        for span in spans:
            if now and latest < span.begin and missed(latest, span.begin):
                latest = span.latest
        return earliest, latest

    def course(self, credential: Credential, zero: float) -> str:
        """What became of him and his credential, in seconds since `zero`: from when on, at the earliest and latest."""
        changes = [(one.since, one.until, str(one.value)) for one in self.role.changes]
        changes += [(one.since, one.until, f"counts: {one.value}") for one in credential.counts.changes]
        return ", ".join(f"{value} {since - zero:.1f} to {until - zero:.1f}" for since, until, value in sorted(changes))

    def _rightful(self, credential: Credential | None, role: str) -> Iterator[Span]:
        if credential is not None and credential in self.credentials:
            for one in credential.counts.spans(True):
                yield from (one.within(other) for other in self.role.spans(role))
