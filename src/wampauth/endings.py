"""Whom have we ended lately, so that an operator can be told? And who is one too many?"""

from collections import deque
from collections.abc import Collection
from typing import Any

from wampauth.live import Live

KEPT = 5.0  # seconds; an operator's command asks within one
BY_THE_STORE = ("revoked", "expired", "too_many_sessions")  # what a change in the store may cause
TOO_MANY = BY_THE_STORE[2]


class Endings:
    """The sessions that were ended in the last :data:`KEPT` seconds and that nobody has been told of."""

    def __init__(self, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock = clock
        self._recent: deque[tuple[float, Live, str]] = deque()

    def add(self, live: Live, why: str) -> None:
        """A session was ended."""
        self._recent.append((self._clock.seconds(), live, why))

    def forget(self) -> None:
        """Those of whom nobody is told any more. To be called now and then."""
        since = self._clock.seconds() - KEPT
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()

    def take(self, authid: str, credential: str | None) -> list[Live]:
        """Those of an authid, or of one credential, that were ended by what the store says; each is told of once."""
        since, found, rest = self._clock.seconds() - KEPT, [], deque[tuple[float, Live, str]]()
        for moment, live, why in self._recent:
            is_theirs = live.principal.authid == authid and credential in (None, live.principal.credential)
            if is_theirs and moment >= since and why in BY_THE_STORE:
                found.append(live)
            else:
                rest.append((moment, live, why))
        self._recent = rest
        return found


def surplus(sessions: Collection[Live], most: int, oldest_leaves: bool) -> list[Live]:
    """Those who have to go, so that there are `most`: the newest, or the oldest."""
    if len(sessions) <= most:
        return []  # as nearly always: to sort them would take its time
    staying = sorted((live for live in sessions if not live.ended), key=lambda live: live.order)
    excess = max(0, len(staying) - most)
    return staying[:excess] if oldest_leaves else staying[len(staying) - excess :]
