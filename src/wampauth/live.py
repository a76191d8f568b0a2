"""Who is here, and on what does each stand?

The sessions of one realm, arranged so that to find those that something concerns costs little, however many there are.
"""

import heapq
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wampauth.claims import Principal

SPARE = 100  # outdated entries that the list of expiries may hold beyond one for each session


@dataclass(eq=False, slots=True)
class Live:
    """A session that was let in by an authenticator.

    :ivar principal: as which it was let in.
    :ivar expires: until when, as known now: seconds since 1970; None: without an end.
    :ivar method: by which it was let in; None if the router doesn't say so here.
    :ivar since: seconds since 1970; None: it was there before us.
    :ivar latest: when it ends though its credential may count for longer: its certificate has run out then.
    """

    session: int
    principal: Principal
    peer: str
    expires: float | None
    method: str | None = None
    is_secure: bool = False
    since: float | None = None
    ended: bool = False
    latest: float | None = None

    def until(self, expires: float | None) -> float | None:
        """When it ends, if its credential counts until `expires`."""
        return min((moment for moment in (expires, self.latest) if moment is not None), default=None)

    @property
    def order(self) -> tuple[float, int]:
        """The younger of two sessions is greater."""
        return self.since or 0.0, self.session


class LiveSessions:
    """Those that are here.

    :ivar unconfirmed: newcomers, and those whose time is up by what we know. The store can say more of them, and
        hasn't been asked. Of the others, those that have an expiry are in the list of expiries.
    """

    def __init__(self) -> None:
        self._sessions: dict[int, Live] = {}
        self._by_authid: dict[str, set[Live]] = {}
        self._expiries: list[tuple[float, int, Live]] = []  # a heap; an entry that isn't true any more is passed over
        self._number = itertools.count()  # so that no two entries of the heap are equal
        self.unconfirmed: set[Live] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: int) -> Live | None:
        """The session with this id, if it is here."""
        return self._sessions.get(session)

    def add(self, live: Live, confirmed: bool) -> None:
        """A session has joined."""
        self._sessions[live.session] = live
        self._by_authid.setdefault(live.principal.authid, set()).add(live)
        if confirmed:
            self._remember_expiry(live)
        else:
            self.unconfirmed.add(live)

    def remove(self, session: int) -> Live | None:
        """A session has left. Returned is what was known of it, if anything."""
        live = self._sessions.pop(session, None)
        if live is None:
            return None
        self.unconfirmed.discard(live)
        authid = live.principal.authid
        mates = self._by_authid.get(authid, set())
        mates.discard(live)
        if not mates:
            self._by_authid.pop(authid, None)
        return live

    def confirm(self, live: Live, expires: float | None) -> None:
        """The store says that this session may stay, until `expires`."""
        if live in self.unconfirmed or expires != live.expires:
            live.expires = expires
            self.unconfirmed.discard(live)
            self._remember_expiry(live)

    def with_credential(self, authids: Collection[str] | None) -> Iterator[Live]:
        """The sessions of these authids that stand on a credential; None: of all."""
        wanted = list(self._by_authid) if authids is None else authids
        return (live for authid in wanted for live in self.of(authid) if live.principal.credential is not None)

    def of(self, authid: str) -> Collection[Live]:
        """The sessions of this authid."""
        return self._by_authid.get(authid, ())

    def count(self, authid: str) -> int:
        """How many sessions of this authid may stay."""
        return sum(not live.ended for live in self.of(authid))

    def everybody(self) -> list[Live]:
        """All sessions."""
        return list(self._sessions.values())

    def run_out(self, now: float) -> list[Live]:
        """Those whose expiry has come since the last time that this was asked."""
        found: dict[Live, None] = {}
        while self._expiries and self._expiries[0][0] <= now:
            entry = heapq.heappop(self._expiries)
            if self._is_true(entry):
                found[entry[2]] = None
        return list(found)

    def _remember_expiry(self, live: Live) -> None:
        if live.expires is None:
            return
        heapq.heappush(self._expiries, (live.expires, next(self._number), live))
        if len(self._expiries) > 2 * len(self._sessions) + SPARE:  # they come and go, long before they would run out
            self._expiries = [entry for entry in self._expiries if self._is_true(entry)]
            heapq.heapify(self._expiries)

    def _is_true(self, entry: tuple[float, int, Live]) -> bool:
        expires, _, live = entry
        return live.expires == expires and not live.ended and self._sessions.get(live.session) is live


def is_still(was: Principal, found: Principal) -> bool:
    """Whether a credential stands for what a session was given on it."""
    given = (was.authid, was.realm, was.role)
    return given == (found.authid, found.realm, found.role) and _is_same(was.extra, found.extra)


def _is_same(was: Any, found: Any) -> bool:
    """Whether two values are the same in JSON. 23 is the same as 23.0: some serializer may have come between. But 1
    isn't true, though Python says so."""
    if isinstance(was, bool) or isinstance(found, bool):
        return was is found
    if isinstance(was, Mapping) and isinstance(found, Mapping):
        return was.keys() == found.keys() and all(_is_same(was[name], found[name]) for name in was)
    if isinstance(was, list) and isinstance(found, list):
        return len(was) == len(found) and all(map(_is_same, was, found))
    return bool(was == found)
