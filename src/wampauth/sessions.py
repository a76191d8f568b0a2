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

from wampauth import claims, connections, figures, permissions, worker
from wampauth.admission import Admissions, is_marked, is_proxied
from wampauth.answering import of as answering_of
from wampauth.audit import open_audit
from wampauth.authorizing import Authorizer
from wampauth.claims import Principal
from wampauth.ending import Ending
from wampauth.live import Live
from wampauth.lookup import Lookup
from wampauth.operating import Operating
from wampauth.permissions import Permissions
from wampauth.service import expose
from wampauth.settings import Settings
from wampauth.store import open_store
from wampauth.told import sentence, stopped
from wampauth.watch import Watch

IN_THIS_PROCESS: set[Admissions] = set()  # of those whose sessions are watched
NO_STORE = (
    "sessions in {realm} stand on credentials, but there is no setting 'store' to ask whether these still count: "
    "they end when their time is up, and not before"
)
LOST = "sessions in {realm} aren't watched any more, since the component was put out of it ({reason}); this worker ends"
NOT_OURS = (
    "a session in {realm} has a mark that nobody here knows, and is left alone. It may be forged; if it isn't: "
    "authenticators and Sessions in different processes need the same file as 'admission_key'"
)


class Admitting(Protocol):
    """What is asked of an ``Authenticator`` here."""

    @property
    def prefix(self) -> str: ...
    def admissions(self) -> Admissions: ...
    def configure(self, extra: Mapping[str, Any] | None, whole: bool = ...) -> None: ...
    def configuration(self) -> tuple[dict[str, Any], Settings]: ...


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
        self._told_of_marks = self._told_of_credentials = False

    async def onJoin(self, details: SessionDetails) -> None:
        """Begin to watch, or leave: a node whose sessions can't be ended must not come up."""
        try:
            settings, self._guard = self._authenticator.configuration()
            self._admissions = self._authenticator.admissions()
            self._connections.configure(None, self._guard.trusted_proxies)
            IN_THIS_PROCESS.add(self._admissions)
            self._audit = open_audit(self._guard.audit)
            store = open_store(settings["store"]) if "store" in settings else None
            lookup = Lookup(store, self._clock) if store else None
            self._watch = watch = Watch(lookup, self._clock, self._end, self._guard.oldest_leaves)
            self._tell_figures(watch)
            await watch.reach()  # first: what changes from now on isn't missed
            await self.subscribe(self._joined, "wamp.session.on_join")
            await self.subscribe(self._left, "wamp.session.on_leave")
            for session in await self.call("wamp.session.list"):
                await self._adopt(watch, session, first=True)
            if self._permissions:
                authorizer = Authorizer(self._permissions, watch, partial(self._adopt, watch))
                await self.register(authorizer.authorize, self._procedure)
            watch.start()
            self._admissions.counts[self._realm] = watch.live.count
            if store and (answering := answering_of(store, self._clock)):
                self._operating = Operating(self._realm, watch, answering, self._guard.oldest_leaves)
                await answering.look()  # an operator sees a node that is up
            self._connections.watch(self._realm)
        except Exception as error:
            self.log.error("sessions can't be watched: {error}", error=sentence(error))
            if self.is_attached():  # else the connection was lost meanwhile, and nobody hears it
                self.leave()
            raise stopped(error) from None  # the router logs its text

    def onLeave(self, details: CloseDetails) -> None:
        if self._operating:
            self._operating.stop()
        if self._watch:
            self._watch.stop()
            figures.withdraw(self._watch)
            self._admissions.counts.pop(self._realm, None)
            if details.reason not in worker.ORDERLY:
                self.log.error(LOST, realm=self._realm, reason=details.reason)
                worker.end()
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
        principal = self._admissions.read(self._realm, details)
        if principal is None:
            self._tell_of_marks(details)
            return None
        self._tell_of_credentials(watch, principal)
        live = self._described(principal, details)
        watch.add(live)
        return live

    def _described(self, principal: Principal, details: dict[str, Any]) -> Live:
        """The session of `principal`, with what the router knows of its client; through a proxy, all but the method."""
        method = None if is_proxied(details) else details.get("authmethod")
        origin = claims.origin(details, self._guard.trusted_proxies)
        return Live(details["session"], principal, origin.address, principal.expires, method, origin.is_secure)

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

    def _tell_of_credentials(self, watch: Watch, principal: Principal) -> None:
        if principal.credential is not None and not watch.has_store and not self._told_of_credentials:
            self.log.error(NO_STORE, realm=self._realm)
            self._told_of_credentials = True

    def _tell_of_marks(self, details: Mapping[str, Any]) -> None:
        """Once, or a stranger who forges marks could fill the log."""
        if self._told_of_marks or not is_marked(details):
            return
        if not any(other.read(self._realm, details) for other in IN_THIS_PROCESS):
            self.log.error(NOT_OURS, realm=self._realm)
            self._told_of_marks = True

    def _record(self, outcome: str, live: Live, **more: str | None) -> None:
        known = {"authid": live.principal.authid, "credential": live.principal.credential, "realm": self._realm}
        try:
            self._audit.record(outcome, **more, **known, peer=live.peer, session=live.session)
        except Exception as error:
            self.log.error("the audit can't be written: {error}", error=error)
