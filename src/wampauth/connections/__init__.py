"""Who may keep a connection without having joined?

The router lets anybody connect, and wait. Here, once in each process, we look at all connections that it has accepted,
four times a second, and close those of strangers: who takes too long, who are too many, and who were refused or have
left. Many who come at once take turns. Whose session a connection carries is known by its peer, as
``wamp.session.on_join`` tells it. So each realm that clients can join must have a ``Sessions`` component in the
process; in one that hears of another realm, or of sessions that proxies bring, nothing is closed, and nobody waits.
"""

import functools
from collections.abc import Collection, Mapping
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wampauth import figures
from wampauth.connections.closing import Closing
from wampauth.connections.connection import LINGER, Connection
from wampauth.connections.elsewhere import Elsewhere
from wampauth.connections.failing import Failing
from wampauth.connections.heard import Heard
from wampauth.connections.known import SWEEP, UNIX, Known
from wampauth.connections.limits import DIFFERENT, Limits
from wampauth.connections.reading import Reading
from wampauth.connections.surplus import surplus
from wampauth.settings import SettingsError
from wampauth.throttle import counted_address

TICK = 0.25  # seconds between two looks


class Connections:
    """All connections that this process has accepted."""

    log = Logger()

    def __init__(self, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock`` that has connections, or none."""
        self._clock = clock
        self._limits: Limits | None = None
        self._fronts: frozenset[str] = frozenset()
        self._failing = Failing()
        self._reading = Reading(clock, self._failing)
        self._known = Known(clock, self._came, self._reading.done)
        self._looked = clock.seconds()
        self._elsewhere = Elsewhere(clock)
        self._sessions: dict[int, list[Connection]] = {}  # over which connection each comes, as far as can be told
        self._heard = Heard()
        self._closing = Closing(clock)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock
        figures.tell(self, "connections_unjoined", Connections.unjoined)
        figures.tell(self, "queue_length", lambda those: len(those._reading), queue="connections")

    def configure(self, section: Any, fronts: Collection[str] = ()) -> None:
        """Take the settings from a component's ``extra``; None: it has no such section.

        :param fronts: addresses of proxies before us, for which no number per address holds.
        :raises SettingsError: if they are wrong, or differ from what another component has said.
        """
        self._fronts |= {counted_address(front) for front in fronts}
        if section is None:
            return
        limits = Limits.from_config(section)
        if self._limits not in (None, limits):
            raise SettingsError(DIFFERENT)
        self._limits = limits

    # -- what the components and the guard tell

    def watch(self, realm: str) -> None:
        """From now on, :meth:`joined` and :meth:`left` hear of all sessions of `realm`."""
        self._heard.begin(realm)
        if self.limits.watch and not self._ticking.running:
            self._ticking.start(TICK, now=False)

    def unwatch(self, realm: str) -> None:
        """Nobody will tell any more."""
        self._heard.end(realm)
        if not self._heard.of_any and self._ticking.running:
            self._ticking.stop()
            self._reading.end()

    def admitted(self, realm: str) -> None:
        """A client may join `realm`."""
        if self._ticking.running:
            self._heard.joins(realm)

    def may_try(self, connection: str) -> bool:
        """Whether one more attempt to log in may be made on a connection; if not, it is closed, where we can do that.

        :param connection: as ``Origin.connection`` names it.
        """
        if not self._ticking.running:
            return not self.limits.watch or self._elsewhere.count(connection) <= self.limits.attempts
        found = self._known.named(connection)
        found.attempts += 1
        found.due = None
        if found.attempts <= self.limits.attempts and not found.has_left:
            return True
        self._cut(found)
        return False

    def asks(self, connection: str) -> None:
        """An attempt has begun. Until it is answered, the connection is nobody's who waits for too long: we do."""
        if self._ticking.running:
            self._known.named(connection).ask(self._clock.seconds())

    def answered(self, connection: str) -> None:
        """It has its answer."""
        if self._ticking.running:
            found = self._known.named(connection)
            found.answer(self._clock.seconds())
            self._reading.done(found)

    def failed(self, connection: str) -> None:
        """An attempt will be refused, through no fault of ours: its address comes last, where many have to wait."""
        if self._is_watching and (address := self._known.named(connection).address):
            self._failing.refused(address, self._clock.seconds())

    def refused(self, connection: str) -> None:
        """An attempt was refused: close the connection, unless another one follows soon."""
        if self._ticking.running:
            self._known.named(connection).due = self._clock.seconds() + LINGER

    def joined(self, session: int, details: Mapping[str, Any]) -> bool:
        """A session has joined. False: over a connection that has carried one before, and that is closed now.

        :param details: of the session, as ``wamp.session.on_join`` tells them. The router tells while it is sending
            WELCOME, by which we know the connection where its peer has no address.
        """
        self._known.forget(session)
        if session in self._sessions:  # another `Sessions` in its realm has told of it
            return not self._comes_back(self._sessions[session])
        connections = self._over_which(details)
        if not connections:
            return True
        self._sessions[session] = connections
        for connection in connections:
            self._known.joined(connection, session)
            self._reading.done(connection)
            self._failing.joined(connection.address)
            connection.due = None
        if comes_back := self._comes_back(connections):
            self._cut(connections[0])
        return not comes_back

    @staticmethod
    def _comes_back(connections: list[Connection]) -> bool:
        return len(connections) == 1 and connections[0].has_left

    def left(self, session: int) -> None:
        """A session has left. Its client may hang up; else we do."""
        connections = self._sessions.pop(session, [])
        for connection in connections:
            self._known.left(connection, session)
            if len(connections) == 1:
                connection.has_left = True
                connection.due = self._clock.seconds() + LINGER
        if not self._ticking.running and self._clock.seconds() - self._looked >= SWEEP:
            self._tick()  # nothing is closed, but who has gone is forgotten

    def _over_which(self, details: Mapping[str, Any]) -> list[Connection]:
        """Over which connection a session has come: several, if it can't be told which of them it is; none, if it is a
        component's, or came through a proxy."""
        if str(details.get("authmethod")).endswith("-proxy"):
            self._heard.behind_proxies = True
            return []
        peer = str((details.get("transport") or {}).get("peer") or "")
        if peer.startswith("tcp"):
            return self._known.at(peer)
        return self._known.being_welcomed() if peer.startswith("unix") else []

    def _cut(self, connection: Connection) -> None:
        """Close a connection of which nothing more shall be heard, though we may have to look for it."""
        self._known.find(connection)
        self._closing.cut(connection)

    # -- what we see

    def unjoined(self) -> int:
        """How many connections carry no session, as far as we have looked."""
        return sum(not known.is_closing and known.transport is not None for known in self._known.outside())

    @property
    def limits(self) -> Limits:
        """The settings that hold."""
        return self._limits or Limits()

    @property
    def _is_watching(self) -> bool:
        """Whether we hear of all sessions, and so know who is a stranger."""
        return self._ticking.running and self._heard.of_all

    def _tick(self) -> None:
        """Look, and go on looking, whatever happens: what fails here would never be called again."""
        try:
            self._look()
        except Exception:
            self.log.failure("connections of strangers can't be looked at")

    def _look(self) -> None:
        now = self._clock.seconds()
        self._known.look(self.limits.login_grace + TICK, now - self._looked - 2 * TICK)
        self._looked = now
        if not self._is_watching:
            self._reading.end()
            return
        outside = self._known.outside()
        for connection in outside:
            if connection.due is not None and connection.due <= now:
                self._closing.hang_up(connection)
        gone = surplus(outside, len(self._known), self.limits, self._fronts, now)
        for connection in gone.union(self._reading.without_a_turn()):
            self._closing.abort(connection)

    def _came(self, connection: Connection) -> None:
        """A connection was accepted: it may have to take its turn."""
        if self._is_watching and connection.address not in self._fronts and connection.address != UNIX:
            self._reading.came(connection)


@functools.cache
def of(clock: Any) -> Connections:
    """Those of the process whose reactor `clock` is; there is one for all who ask."""
    return Connections(clock)
