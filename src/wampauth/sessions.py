"""May you still? One of these runs in each application realm, and ends sessions that may not go on.

Those that an authenticator let in are known by their mark (``admission.py``). Each ends when its time is up, and, with
a store, when its credential no longer counts, or stands for something else than the session was given (``watch.py``).
But the router only sends GOODBYE, and a client that ignores it stays. Where a role has
``"authorizer": "com.example.authorize"`` in place of permissions, the router asks here before each call, publish,
subscribe and register: a session that was ended may do and hear nothing more.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import CloseDetails, ComponentConfig, SessionDetails
from twisted.internet import reactor
from twisted.logger import Logger

from wampauth import connections, figures, functions, permissions, starting, worker
from wampauth.admission import Admissions
from wampauth.answering import of as answering_of
from wampauth.audit import open_audit
from wampauth.authorizing import Authorizer
from wampauth.ending import Ending
from wampauth.live import Live
from wampauth.lookup import Lookup
from wampauth.operating import Operating
from wampauth.permissions import Permissions
from wampauth.recognition import Recognition
from wampauth.service import expose
from wampauth.settings import Settings
from wampauth.store import open_store
from wampauth.watch import Watch

LOST = "sessions in {realm} aren't watched any more, since the component was put out of it ({reason}); this worker ends"


class Admitting(Protocol):
    """What is asked of an ``Authenticator`` here."""

    @property
    def prefix(self) -> str:
        """Of all URIs."""

    def admissions(self) -> Admissions:
        """What marks the sessions that are admitted."""

    def configure(self, extra: Mapping[str, Any] | None, whole: bool = ...) -> None:
        """Take the settings from a component's ``extra``."""

    def configuration(self) -> tuple[dict[str, Any], Settings]:
        """The settings of the checks, and those of the guard."""


def sessions_of(authenticator: Admitting) -> type[Any]:
    """Make the component's class for the sessions that `authenticator` lets in."""

    class Sessions(RealmSessions):
        _authenticator = authenticator

        @staticmethod
        def check_config(personality: Any, extra: Mapping[str, Any]) -> None:
            """Called by Crossbar.io before it starts the component; what this raises stops the node, with its text."""
            authenticator.configure(extra, whole=False)
            connections.of(reactor).configure(extra.get("connections"))
            permissions.check(personality, extra.get("roles", {}))

    return Sessions


class RealmSessions(ApplicationSession):
    """Watches the sessions of its realm, and answers for the roles in its ``extra``. Its other settings are the
    authenticator's; without any, those of the authenticator's component in the same worker hold."""

    log = Logger()
    _authenticator: Admitting

    def __init__(self, config: ComponentConfig, clock: Any = reactor) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        super().__init__(config)
        worker.begin()
        functions.look_at_start()
        self._authenticator.configure(config.extra, whole=False)
        roles = (config.extra or {}).get("roles")
        self._procedure = self._authenticator.prefix + "authorize"
        self._permissions = Permissions(roles, self._procedure) if roles else None
        self._clock = clock
        self._connections = connections.of(clock)
        self._connections.configure((config.extra or {}).get("connections"))
        self._ending = Ending(self, clock, for_good=self._permissions is not None)
        self._watch: Watch | None = None  # until we have joined
        self._operating: Operating | None = None

    async def onJoin(self, details: SessionDetails) -> None:
        """Begin to watch, or leave: a node whose sessions can't be ended must not come up."""
        await starting.begin(self, self._begin(), "sessions can't be watched")

    async def _begin(self) -> None:
        settings, self._guard = self._authenticator.configuration()
        self._admissions = self._authenticator.admissions()
        self._connections.configure(None, self._guard.trusted_proxies)
        self._audit = open_audit(self._guard.audit)
        store = open_store(settings["store"]) if "store" in settings else None
        self._recognition = Recognition(str(self._realm), self._admissions, self._guard, has_store=store is not None)
        lookup = Lookup(store, self._clock) if store else None
        self._watch = watch = Watch(lookup, self._clock, self._end, self._guard.oldest_leaves)
        self._tell_figures(watch)
        await watch.reach()  # first: what changes from now on isn't missed
        await self._hear_who_is_here(watch)
        if self._permissions:
            authorizer = Authorizer(self._permissions, watch, partial(self._adopt, watch))
            await self.register(authorizer.authorize, self._procedure)
        watch.start()
        self._admissions.counts[self._realm] = watch.live.count
        if store and (answering := answering_of(store, self._clock)):
            self._operating = Operating(self._realm, watch, answering, self._guard.oldest_leaves)
            await answering.look()  # an operator sees a node that is up
        self._connections.watch(self._realm)

    async def _hear_who_is_here(self, watch: Watch) -> None:
        await self.subscribe(self._joined, "wamp.session.on_join")
        await self.subscribe(self._left, "wamp.session.on_leave")
        for session in await self.call("wamp.session.list"):
            await self._adopt(watch, session, first=True)

    def onLeave(self, details: CloseDetails) -> None:
        """Watch no more. Unless the node ends, or another one watches, so must this worker: nobody would end its
        sessions."""
        if self._operating:
            self._operating.stop()
        if self._watch:
            self._watch.stop()
            figures.withdraw(self._watch)
            self._admissions.counts.pop(self._realm, None)
            tell = partial(self.log.error, LOST, realm=self._realm, reason=details.reason)
            if details.reason not in worker.ORDERLY:
                tell()
                worker.end()
            else:
                worker.end_unless(lambda: self._realm in self._admissions.counts, tell, self._clock)
        self._connections.unwatch(self._realm)

    # -- who is here

    def _joined(self, details: dict[str, Any]) -> None:
        assert self._watch
        try:
            comes_back = not self._connections.joined(details["session"], details)
            live = self._know(self._watch, details)
            if live and comes_back:
                self._watch.end(live, "replayed")
            elif live:
                live.since = time.time()
                self._admissions.challenged.joined(live.session)
                self._record("joined", live, method=live.method)
        except Exception as error:  # what an event's handler raises would take this component out of the realm
            self._watch.health.fault(error)

    def _left(self, session: int) -> None:
        assert self._watch
        try:
            self._connections.left(session)
            live = self._watch.live.remove(session)
            if live:
                self._record("left", live)
        except Exception as error:
            self._watch.health.fault(error)

    async def _adopt(self, watch: Watch, session: int, first: bool = False) -> Live | None:
        """Take over a session that was there before us (`first`), or that we have yet to hear of."""
        details = await self._ending.attempt("wamp.session.get", session)
        if details and first:
            self._connections.joined(session, details)
        return self._know(watch, details) if details else None

    def _know(self, watch: Watch, details: dict[str, Any]) -> Live | None:
        """The session that `details` describe; None if it isn't one of our authenticator's."""
        session = details["session"]
        if known := watch.live.get(session):
            return known
        live = self._recognition.live(details)
        if live:
            watch.add(live)
        return live

    # -- who has to go

    def _end(self, live: Live, why: str) -> None:
        """From here on the authorizer denies it everything."""
        reason = self._authenticator.prefix + why
        self._record("ended", live, reason=reason)
        self._ending.end(live.session, reason)

    # -- for the record

    def _tell_figures(self, watch: Watch) -> None:
        realm = str(self._realm)
        figures.tell(watch, "sessions", lambda watch: len(watch.live), realm=realm)
        figures.tell(watch, "ticks_late", lambda watch: watch.punctuality.late, realm=realm)
        if watch.has_store:
            figures.tell(watch, "store_up", lambda watch: not watch.health.store_is_away, realm=realm)
        expose(self._guard)

    def _record(self, outcome: str, live: Live, **more: str | None) -> None:
        known = {"authid": live.principal.authid, "credential": live.principal.credential, "realm": self._realm}
        try:
            self._audit.record(outcome, **more, **known, peer=live.peer, session=live.session)
        except Exception as error:
            self.log.error("the audit can't be written: {error}", error=error)
