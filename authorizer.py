"""May you still? One of these runs beside each application realm, and ends sessions that have lost their ground.

It knows which credential each live session stands on (the authenticator put its id in authextra), and asks the store
twice a second what was revoked or has run out. That alone is polite: the router sends GOODBYE, and a client that
ignores it stays. Where a role has ``"authorizer": "com.example.authorize"`` in place of permissions, the router asks
here before each call, publish, subscribe and register. That is the fence: who is ended may do and hear nothing more.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CloseDetails, ComponentConfig, SessionDetails
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

import fence
from audit import open_audit
from claims import Origin
from database import StoreError
from fence import DENIED, Decision, Fence
from principals import ACTIVE, Point, open_principals

TICK = 0.5  # seconds between two looks at the store
DEADLINE = 1.0  # seconds in which the store must answer
LOOKED_UP = 10_000  # credentials in a second, by a store that is slow but not away
GRACE = 0.4  # seconds in which a client may answer GOODBYE
REVOKED, EXPIRED = "com.example.revoked", "com.example.expired"
DEFAULTS = {"database": "principals.db", "audit": "audit.jsonl", "roles": {}}


@dataclass(eq=False, slots=True)
class Live:
    """A session that was let in on a credential."""

    session: int
    authid: str
    credential: str
    peer: str
    ended: bool = False


class Authorizer(ApplicationSession):
    """Watches the sessions of its realm, and answers for the roles in its ``extra``."""

    log = Logger()

    @staticmethod
    def check_config(personality: Any, extra: Mapping[str, Any]) -> None:
        """Called by Crossbar.io before it starts the component; what this raises stops the node.

        :raises ValueError: for an unknown setting.
        :raises crossbar.common.checkconfig.InvalidConfigException: for a rule that isn't as in Crossbar.io's own
            ``permissions``.
        """
        for name in extra:
            if name not in DEFAULTS and name != "cbdir":
                raise ValueError(f"unknown setting {name!r}: use one of {', '.join(DEFAULTS)}")
        fence.check(personality, extra.get("roles", {}))

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        extra = {**DEFAULTS, **(config.extra or {})}
        self._principals = open_principals(extra["database"])
        self._audit = open_audit(extra["audit"])
        self._fence = Fence(extra["roles"]) if extra["roles"] else None
        self._sessions: dict[int, Live] = {}
        self._unconfirmed: set[Live] = set()  # newcomers; the store hasn't been asked about them
        self._by_credential: dict[str, set[Live]] = {}
        self._by_authid: dict[str, set[Live]] = {}
        self._point: Point | None = None  # up to where the store's changes are known
        self._store_is_away = False
        self._ticking = LoopingCall(self._tick)

    async def onJoin(self, details: SessionDetails) -> None:
        """Begin to watch, or leave: a node whose sessions can't be ended must not come up."""
        try:
            self._point, _ = await self._principals.changes(None)  # first: what changes from now on isn't missed
            await self.subscribe(self._joined, "wamp.session.on_join")
            await self.subscribe(self._left, "wamp.session.on_leave")
            for session in await self.call("wamp.session.list"):
                await self._adopt(session)
            if self._fence:
                await self.register(self.authorize, fence.PROCEDURE)
            self._ticking.start(TICK)
        except Exception as error:
            self.log.error("the authorizer can't start: {error}", error=error)
            self.leave()
            raise

    def onLeave(self, details: CloseDetails) -> None:
        if self._ticking.running:
            self._ticking.stop()
        self._store_is_away = True  # nobody looks any more: the fence closes

    # -- who is here

    def _joined(self, details: dict[str, Any]) -> None:
        """A newcomer. The next tick looks at its credential, which may have been revoked since it was admitted."""
        live = self._know(details)
        if live:
            method = details["authmethod"]  # behind a proxy it isn't the client's
            self._record("joined", live, method=None if method.endswith("-proxy") else method)

    async def _adopt(self, session: int) -> None:
        """Take over a session that was there before us."""
        details = await self._try("wamp.session.get", session)
        if details:
            self._know(details)

    def _know(self, details: dict[str, Any]) -> Live | None:
        """The session that `details` describe; None if it stands on no credential of ours."""
        session, credential = details["session"], (details.get("authextra") or {}).get("credential")
        if session in self._sessions or credential is None:
            return self._sessions.get(session)
        live = Live(session, details["authid"], credential, Origin.parse(details, ()).host)
        self._sessions[session] = live
        self._unconfirmed.add(live)
        self._by_credential.setdefault(live.credential, set()).add(live)
        self._by_authid.setdefault(live.authid, set()).add(live)
        return live

    def _left(self, session: int) -> None:
        live = self._sessions.pop(session, None)
        if live is None:
            return
        self._unconfirmed.discard(live)
        for index, key in (self._by_credential, live.credential), (self._by_authid, live.authid):
            index[key].discard(live)
            if not index[key]:
                del index[key]
        self._record("left", live)

    # -- what was taken back

    async def _tick(self) -> None:
        """Ask what changed, and look at the sessions that it concerns, and at newcomers: at few of however many."""
        assert self._point is not None
        try:
            point, changed = await self._ask(self._principals.changes(self._point))
            older = point.seq < self._point.seq  # another store lies there now: look at everybody
            await self._look(set(self._by_credential) if older else self._touched(changed))
            self._point = point
            self._store_is_here()
        except Exception as error:
            self._store_is_gone(error)

    def _touched(self, changed: Iterable[tuple[str, str | None]]) -> set[str]:
        """The credentials of newcomers, and those whose live sessions a change may concern."""
        touched = {live.credential for live in self._unconfirmed}
        for authid, credential in changed:
            if credential is None:
                touched |= {live.credential for live in self._by_authid.get(authid, ())}
            elif credential in self._by_credential:
                touched.add(credential)
        return touched

    async def _look(self, credentials: set[str]) -> None:
        """Ask the store which of these credentials still count, and end the sessions that stand on the others.

        :raises Exception: if the store can't be asked; then nobody is ended.
        """
        if not credentials:
            return
        store = await self._ask(self._principals.by_ids(credentials), len(credentials))
        for live in [live for credential in credentials for live in self._by_credential.get(credential, ())]:
            found = store.get(live.credential)
            if found and found.state == ACTIVE and (found.authid, found.realm) == (live.authid, self._realm):
                self._unconfirmed.discard(live)
            elif not live.ended:
                live.ended = True  # from here on the fence is closed
                self._unconfirmed.discard(live)
                reason = EXPIRED if found and found.state == "expired" else REVOKED
                self._record("ended", live, reason=reason)
                Deferred.fromCoroutine(self._put_out(live, reason)).addErrback(self._not_put_out)

    def _ask(self, question: "Deferred[Any]", about: int = 0) -> "Deferred[Any]":
        """Wait for the store, but not for ever: one that hangs is away. Questions about many may take longer."""

        def too_late(_: Any, seconds: float) -> NoReturn:
            raise StoreError(f"no answer after {seconds:g} s")

        return question.addTimeout(DEADLINE + about / LOOKED_UP, reactor, too_late)

    async def _put_out(self, live: Live, reason: str) -> None:
        """Say GOODBYE. Behind a fence, also take away what an impolite client would go on hearing from."""
        await self._try("wamp.session.kill", live.session, reason=reason, message="the credential no longer counts")
        if self._fence:
            for kind, action in ("subscription", "remove_subscriber"), ("registration", "remove_callee"):
                held = await self._try(f"wamp.{kind}.list", live.session) or {}
                for identifier in (one for ids in held.values() for one in ids):
                    await self._try(f"wamp.{kind}.{action}", identifier, live.session, reason=reason)
            await deferLater(reactor, GRACE, self._hang_up, live)

    def _hang_up(self, live: Live) -> None:
        """Close the connection of a client that was told to leave and stays: else it would go on exchanging results of
        calls that are under way. The router has no procedure for it, but beside the router we can reach it."""
        router = getattr(self._transport, "_router", None)
        session = router and router._session_id_to_session.get(live.session)
        if session and session._transport:
            session._transport.close()

    async def _try(self, procedure: str, *args: Any, **kwargs: Any) -> Any:
        """Call the router about a session that may have left, or been told, already."""
        try:
            return await self.call(procedure, *args, **kwargs)
        except ApplicationError as error:
            self.log.debug("{procedure}: {error}", procedure=procedure, error=error)

    def _not_put_out(self, failure: Any) -> None:
        self.log.error("a session that ended couldn't be put out: {error}", error=failure.value)

    # -- the fence

    def authorize(
        self, details: dict[str, Any], uri: str, action: str, options: dict[str, Any]
    ) -> "Decision | Deferred[Decision]":
        """The router's question: may this session do `action` (call, publish, subscribe or register) on `uri`?"""
        live = self._sessions.get(details["session"])
        if live is None or live in self._unconfirmed:
            return Deferred.fromCoroutine(self._authorize_newcomer(details, uri, action, options))
        return self._decide(live, details["authrole"], uri, action, options)

    async def _authorize_newcomer(
        self, details: dict[str, Any], uri: str, action: str, options: dict[str, Any]
    ) -> Decision:
        """A session may act before a tick has looked at it, or before we have even heard that it joined."""
        if details["session"] not in self._sessions:  # ask the router: if it has left, nobody will tell us again
            await self._adopt(details["session"])
        live = self._sessions.get(details["session"])
        if live is None or self._store_is_away:
            return dict(DENIED)
        try:
            await self._look({live.credential})
        except Exception as error:
            self._store_is_gone(error)
        return self._decide(live, details["authrole"], uri, action, options)

    def _decide(self, live: Live, role: str, uri: str, action: str, options: dict[str, Any]) -> Decision:
        if self._fence is None or live.ended or live in self._unconfirmed or self._store_is_away:
            return dict(DENIED)
        return self._fence.decide(role, uri, action, options)

    # -- for the record

    def _store_is_gone(self, error: Exception) -> None:
        if not self._store_is_away:
            self.log.error("the store is away; where there is a fence, it denies everything: {error}", error=error)
        self._store_is_away = True

    def _store_is_here(self) -> None:
        if self._store_is_away:
            self.log.error("the store is back")
        self._store_is_away = False

    def _record(self, outcome: str, live: Live, **more: str | None) -> None:
        known = {"authid": live.authid, "credential": live.credential, "realm": self._realm}
        try:
            self._audit.record(outcome, **more, **known, peer=live.peer, session=live.session)
        except OSError as error:
            self.log.error("the audit can't be written: {error}", error=error)
