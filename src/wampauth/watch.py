"""Who has to go? Twice a second we look at those whose time is up, and at those whom a change in the store concerns."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from wampauth.claims import Principal
from wampauth.endings import TOO_MANY, Endings, surplus
from wampauth.figures import Punctuality
from wampauth.health import Health
from wampauth.live import Live, LiveSessions, is_still
from wampauth.lookup import Lookup

TICK = 0.5  # seconds between two looks
SKEW = 1.0  # seconds that the store's clock may be ahead of ours: what it knows no more then has run out there


class Watch:
    """Watches the sessions of one realm.

    :ivar live: those that are here.
    :ivar health: whether all goes well; who finds a fault elsewhere tells it, too.
    :ivar endings: whom we have ended lately.
    :ivar punctuality: whether the looks come in time.
    """

    def __init__(
        self, lookup: Lookup | None, clock: Any, end: Callable[[Live, str], None], oldest_leaves: bool = False
    ) -> None:
        """
        :param lookup: None if there is no store: then sessions end when their time is up, and not before.
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        :param end: is called once for each session that has to go, with ``expired``, ``revoked``,
            ``kicked`` or ``too_many_sessions``.
        :param oldest_leaves: of sessions that are too many for a principal; else the newest.
        """
        self.live = LiveSessions()
        self.health = Health()
        self.endings = Endings(clock)
        self.ask_elsewhere: Callable[[str, int], None] | None = None
        self._lookup, self._end_it, self._oldest_leaves = lookup, end, oldest_leaves
        self._point: Any = None  # up to where the store's changes are known
        self._asking: Deferred[None] | None = None  # a question to the store that is under way
        self._newcomers: set[Live] = set()  # which wait to be looked at
        self._looking: Deferred[None] | None = None  # a look at newcomers that is under way
        self.punctuality = Punctuality(TICK)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock

    @property
    def has_store(self) -> bool:
        """Whether there is a store to ask."""
        return self._lookup is not None

    async def reach(self) -> None:
        """See that the store answers. What changes in it from now on isn't missed.

        :raises StoreAway: if it doesn't.
        """
        if self._lookup:
            self._point = await self._lookup.point()

    def start(self) -> None:
        """Begin to look."""
        self._ticking.start(TICK)

    def stop(self) -> None:
        """Look no more. From now on nobody can say who may stay."""
        if self._ticking.running:
            self._ticking.stop()

    def can_tell(self) -> bool:
        """Whether it is known who may stay."""
        return self._ticking.running and not self.health.is_bad()

    def add(self, live: Live) -> None:
        """A session has joined, or was found. The next look asks the store for its credential, which may have been
        revoked since it was admitted."""
        self.live.add(live, confirmed=not self._can_be_looked_up(live))

    def may(self, live: Live) -> bool:
        """Whether the session may stay, as far as it is known."""
        return self.can_tell() and not live.ended and live not in self.live.unconfirmed

    async def look_at(self, live: Live) -> None:
        """Ask the store for one that isn't confirmed, ahead of the next look. All that wait at one time are one
        question, however many they are, so that they can't crowd the store."""
        if self._lookup is None or live not in self.live.unconfirmed:
            return
        self._newcomers.add(live)
        if self._looking:  # it doesn't know of this one
            await _together(self._looking)
        if live in self._newcomers:  # nobody has begun the next one meanwhile
            self._looking = Deferred()
            Deferred.fromCoroutine(self._look_at_newcomers(self._lookup))
        if self._looking:
            await _together(self._looking)

    async def _look_at_newcomers(self, lookup: Lookup) -> None:
        """One question to the store, for those who wait now."""
        some, self._newcomers = self._newcomers, set()
        with self.health.minding():
            found = await lookup.by_ids({live.principal.credential or "" for live in some})
            self._judge(some & self.live.unconfirmed, found)  # of others, a look that came in between knows more
        looking, self._looking = self._looking, None
        if looking:
            looking.callback(None)

    def _can_be_looked_up(self, live: Live) -> bool:
        return self._lookup is not None and live.principal.credential is not None

    def _tick(self) -> None:
        """End those whose time is up, and begin to ask the store, unless it is being asked still."""
        self.punctuality.comes()
        with self.health.minding():
            self.endings.forget()
            self._end_what_has_run_out()
            if self._lookup is None:
                self.health.all_is_well()
            elif not self._asking:
                self._begin_to_follow(self._lookup)

    def _end_what_has_run_out(self) -> None:
        """A session with a credential may have been put off, so that the store is asked first. If it is away, or we
        fail to hear it, what we know counts."""
        now = time.time()
        for live in self.live.run_out(now):
            if self._can_be_looked_up(live):
                self.live.unconfirmed.add(live)
            else:
                self.end(live, "expired")
        if self.health.is_bad():
            for live in [live for live in self.live.unconfirmed if _is_up(live.expires, now)]:
                self.end(live, "expired")

    async def follow(self) -> None:
        """Follow what has changed in the store up to now."""
        while self._asking:  # it may not know of the latest
            await _together(self._asking)
        if self._lookup:
            self._begin_to_follow(self._lookup)
        if self._asking:
            await _together(self._asking)

    def _begin_to_follow(self, lookup: Lookup) -> None:
        self._asking = Deferred()
        Deferred.fromCoroutine(self._follow(lookup))

    async def _follow(self, lookup: Lookup) -> None:
        """Ask what changed, and look at the sessions that it concerns, and at the unconfirmed: few of however many."""
        with self.health.minding():
            point, authids = await lookup.changes(self._point)
            await self._look(lookup, {*self.live.unconfirmed, *self.live.with_credential(authids)})
            self._point = point
            self.health.all_is_well()
        asking, self._asking = self._asking, None
        if asking:
            asking.callback(None)

    async def _look(self, lookup: Lookup, some: Collection[Live]) -> None:
        """Ask the store which of these may stay, and end the others.

        :raises StoreAway: if it doesn't say; then nobody is ended.
        """
        if not some:
            return
        found = await lookup.by_ids({live.principal.credential or "" for live in some})
        self._judge(some, found)

    def _judge(self, some: Iterable[Live], found: Mapping[str, Principal]) -> None:
        """Confirm or end sessions, by what the store has found of their credentials. Then end those that are too many:
        they are counted once for each principal, since it may have any number of them."""
        limits: dict[str, int] = {}
        newcomers = []
        for live in some:
            is_new, authid = live in self.live.unconfirmed, live.principal.authid
            now = self._confirmed(live, found.get(live.principal.credential or ""))
            if now and now.max_sessions is not None:
                limits[authid] = min(now.max_sessions, limits.get(authid, now.max_sessions))
                newcomers += [live] if is_new else []
        for authid, most in limits.items():
            for one in surplus(self.live.of(authid), most, self._oldest_leaves):
                self.end(one, TOO_MANY)
        if self.ask_elsewhere:
            for authid in {live.principal.authid for live in newcomers if not live.ended}:
                self.ask_elsewhere(authid, limits[authid])

    def _confirmed(self, live: Live, principal: Principal | None) -> Principal | None:
        """Confirm a session, or end it: by the principal of its credential, which is given back if it may stay."""
        if live.ended or self.live.get(live.session) is not live:
            return None  # gone, while the store was looking
        now, expires = time.time(), live.until(principal.expires if principal else None)
        if principal is None:
            self.end(live, "expired" if _is_up(live.expires, now + SKEW) else "revoked")
        elif not is_still(live.principal, principal):
            self.end(live, "revoked")
        elif _is_up(expires, now):
            self.end(live, "expired")
        else:
            self.live.confirm(live, expires)
            return principal
        return None

    def end(self, live: Live, why: str) -> None:
        """From now on the session may not stay."""
        live.ended = True
        self.endings.add(live, why)
        self.live.unconfirmed.discard(live)
        self._end_it(live, why)


def _together(awaited: "Deferred[None]") -> "Deferred[None]":
    """Wait for what others wait for, too."""
    mine: Deferred[None] = Deferred()
    awaited.addCallback(mine.callback)
    return mine


def _is_up(expires: float | None, now: float) -> bool:
    return expires is not None and expires <= now
