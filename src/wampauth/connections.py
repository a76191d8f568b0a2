"""Who may keep a connection without having joined?

The router lets anybody connect, and wait. Here, once in each process, we look at all connections that it has accepted,
four times a second, and close those of strangers: who takes too long, who are too many, and who were refused or have
left. Whose session a connection carries is known by its peer, as ``wamp.session.on_join`` tells it. So each realm that
clients can join must have a ``Sessions`` component in the process; in one that hears of another realm, or of sessions
that proxies bring, nothing is closed.
"""

import functools
import json
import resource
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from heapq import heapify, heappop, heappush
from typing import Any

from autobahn.twisted.util import peer2str
from twisted.internet import tcp, unix
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from wampauth.settings import SettingsError
from wampauth.throttle import counted_address

TICK = 0.25  # seconds between two looks
LINGER = 0.5  # seconds that who was refused, or has left, may take to hang up
NEARLY = 0.9  # of `max_connections`: from there on, strangers may have half of the places that sessions leave
SPARE_FILES = 100  # that a process has open beside its connections
SUMMARY = 60.0  # seconds between two log lines that count what was closed
DIFFERENT = "setting 'connections' isn't what the component before this one has said: there is one for the process"
UNWATCHED = (
    "clients join {realm}, which has no Sessions component in this process: connections of strangers aren't bounded. "
    "Give each realm that clients can join one"
)
CLOSED = (
    "{count} connections that hadn't joined were closed in {seconds:g} s. If they weren't strangers: each realm that "
    "clients can join needs a Sessions component"
)


@dataclass(frozen=True)
class Limits:
    """The section ``"connections"`` of the ``extra`` of ``Sessions``."""

    watch: bool = True  # False: nothing is closed
    login_grace: float = 10.0  # seconds from the connection to the session
    per_address: int = 100  # connections that haven't joined, of one IPv4 address or IPv6 /64
    in_all: int = 500  # connections that haven't joined
    spared: float = 5.0  # seconds for which a connection stays, however many there are
    attempts: int = 5  # to log in, on one connection

    @classmethod
    def from_config(cls, section: Any) -> "Limits":
        """Check the section.

        :raises SettingsError: for an unknown name, a value of the wrong type, or one out of range.
        """
        if not isinstance(section, Mapping):
            raise SettingsError(f"setting 'connections' must be an object, not {json.dumps(section, default=str)}")
        known: dict[str, Any] = {one.name: one.type for one in fields(cls)}
        for name, value in section.items():
            if name not in known:
                raise SettingsError(f"unknown setting {name!r} under 'connections': use one of {', '.join(known)}")
            kind = known[name]
            if isinstance(value, bool) is not (kind is bool) or not isinstance(
                value, (int, float) if kind is float else kind
            ):
                raise SettingsError(f"setting {name!r} must be of type {kind.__name__}, not {json.dumps(value)}")
            if kind is not bool and not 0 < value < 1e9:
                raise SettingsError(f"setting {name!r} must be a positive number, not {json.dumps(value)}")
        return cls(**section)


@dataclass(eq=False, slots=True)
class Connection:
    """What is known of one connection.

    :ivar since: seconds on the clock at which we first knew of it.
    :ivar due: when it is to be closed; None: not yet.
    """

    since: float
    transport: Any = None
    address: str = ""
    sessions: set[int] = field(default_factory=set)
    has_left: bool = False
    attempts: int = 0
    due: float | None = None
    is_closing: bool = False


class Connections:
    """All connections that this process has accepted."""

    log = Logger()

    def __init__(self, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock`` that has connections, or none."""
        self._clock = clock
        self._limits: Limits | None = None
        self._fronts: frozenset[str] = frozenset()
        self._known: dict[Any, Connection] = {}  # by peer; those of a Unix domain socket by their transport
        self._pending: OrderedDict[str, Connection] = OrderedDict()  # by the session id that a login may come to have
        self._sessions: dict[int, list[Connection]] = {}
        self._realms: list[str] = []  # that are watched
        self._reached: set[str] = set()  # realms that clients join
        self._behind_proxies = False
        self._closed = 0  # since the last summary
        self._summary: Any = None
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock

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
        self._realms.append(realm)
        if self.limits.watch and not self._ticking.running:
            self._ticking.start(TICK, now=False)

    def unwatch(self, realm: str) -> None:
        """Nobody will tell any more."""
        if realm in self._realms:
            self._realms.remove(realm)
        if not self._realms and self._ticking.running:
            self._ticking.stop()

    def admitted(self, realm: str) -> None:
        """A client may join `realm`."""
        if realm not in self._reached and self._ticking.running:
            self._reached.add(realm)
            if realm not in self._realms:
                self.log.error(UNWATCHED, realm=realm)

    def may_try(self, connection: str) -> bool:
        """Whether one more attempt to log in may be made on a connection; if not, it is closed.

        :param connection: as ``Origin.connection`` names it.
        """
        if not self._ticking.running:
            return True
        found = self._named(connection)
        found.attempts += 1
        found.due = None
        if found.attempts <= self.limits.attempts and not found.has_left:
            return True
        self._cut(connection, found)
        return False

    def refused(self, connection: str) -> None:
        """An attempt was refused: close the connection, unless another one follows soon."""
        if self._ticking.running:
            self._named(connection).due = self._clock.seconds() + LINGER

    def joined(self, session: int, details: Mapping[str, Any]) -> bool:
        """A session has joined. False: over a connection that has carried one before, and that is closed now.

        :param details: of the session, as ``wamp.session.on_join`` tells them. The router tells while it is sending
            WELCOME, by which we know the connection where its peer has no address.
        """
        peer = str((details.get("transport") or {}).get("peer") or "")
        if str(details.get("authmethod")).endswith("-proxy"):
            self._behind_proxies = True  # whose connections have other peers
            return True
        if peer.startswith("tcp"):
            connections = [self._named(peer)]
        elif peer.startswith("unix"):
            connections = self._being_welcomed()
        else:
            return True  # a component of this process
        self._pending.pop(str(session), None)
        self._sessions[session] = connections
        comes_back = len(connections) == 1 and connections[0].has_left
        for connection in connections:
            connection.sessions.add(session)
            connection.due = None
        if comes_back:
            self._cut(peer, connections[0])
        return not comes_back

    def left(self, session: int) -> None:
        """A session has left. Its client may hang up; else we do."""
        connections = self._sessions.pop(session, [])
        for connection in connections:
            connection.sessions.discard(session)
            if len(connections) == 1:
                connection.has_left = True
                connection.due = self._clock.seconds() + LINGER

    # -- what we see

    @property
    def limits(self) -> Limits:
        """The settings that hold."""
        return self._limits or Limits()

    def _named(self, name: str) -> Connection:
        """The connection with this peer, or, if it has none, with this session id."""
        by_name: Any = self._known if name.startswith("tcp") else self._pending
        if name not in by_name:
            by_name[name] = Connection(self._clock.seconds())
        return by_name[name]  # type: ignore[no-any-return]

    def _accepted(self, listed: Iterable[Any]) -> set[Any]:
        return {transport for transport in listed if isinstance(transport, tcp.Server)}

    def _all(self) -> set[Any]:
        """The transports of all connections that were accepted: no listening ports, pipes, or connections of ours."""
        return self._accepted(self._clock.getReaders()) | self._accepted(self._clock.getWriters())

    def _being_welcomed(self) -> list[Connection]:
        """Those Unix domain connections that something is being sent to: one, unless a client doesn't read. If it can't
        be told which it is, none of them is a stranger's."""
        transports = [one for one in self._accepted(self._clock.getWriters()) if isinstance(one, unix.Server)]
        found = [one for one in map(self._seen, transports) if not one.sessions]
        if found:
            return found
        return [one for one in map(self._seen, self._all()) if isinstance(one.transport, unix.Server)]

    def _seen(self, transport: Any) -> Connection:
        """What is known of the connection over `transport`."""
        local = isinstance(transport, unix.Server)
        key = transport if local else peer2str(transport)
        found = self._known.get(key)
        if found is None or found.transport not in (None, transport):  # another one, from the same port
            found = self._known[key] = Connection(self._clock.seconds())
        if found.transport is None:
            found.transport = transport
            found.address = "unix" if local else counted_address(transport.getPeer().host)
        return found

    def _tick(self) -> None:
        now, all_of_them = self._clock.seconds(), self._all()
        seen = {connection.transport: connection for connection in self._known.values()}
        for transport in all_of_them:
            if transport not in seen:
                self._seen(transport)
        self._known = {key: one for key, one in self._known.items() if one.transport and one.transport.connected}
        while self._pending and now - next(iter(self._pending.values())).since > self.limits.login_grace + TICK:
            self._pending.popitem(last=False)
        if self._behind_proxies or not self._reached <= {*self._realms}:
            return
        self._close_who_is_done(now)
        self._close_who_waits(now)

    # -- who has to go

    def _close_who_is_done(self, now: float) -> None:
        for connection in self._known.values():
            if connection.due is not None and connection.due <= now:
                self._hang_up(connection)

    def _close_who_waits(self, now: float) -> None:
        strangers = [one for one in self._known.values() if not one.sessions and not one.is_closing]
        strangers.sort(key=lambda one: one.since)
        gone = {one for one in strangers if now - one.since > self.limits.login_grace}
        groups = _by_address(one for one in strangers if one not in gone)
        for address, group in groups.items():
            if address not in self._fronts and len(group) > self.limits.per_address:
                gone.update(self._old(group, now)[: len(group) - self.limits.per_address])
        rest = [one for one in strangers if one not in gone]
        if (surplus := len(rest) - self.limits.in_all) > 0:
            gone.update(_of_the_most(self._old(rest, now), surplus))
        for port, most in self._crowded():
            rest = [one for one in strangers if one not in gone and (port is None or _port(one) is port)]
            members = sum(1 for one in self._known.values() if one.sessions and (port is None or _port(one) is port))
            gone.update(_of_the_most(rest, len(rest) - max(1, (most - members) // 2)))
        for connection in gone:
            self._abort(connection)

    def _old(self, connections: Iterable[Connection], now: float) -> list[Connection]:
        return [one for one in connections if now - one.since > self.limits.spared]

    def _crowded(self) -> list[tuple[Any, int]]:
        """Listening ports that have nearly as many connections as they may, and the number. None stands for all of the
        process, which may have so many open files."""
        ports = {_port(one) for one in self._known.values()} - {None}
        found = [(port, port.max_connections) for port in ports]
        crowded = [(port, most) for port, most in found if len(port.protocols) >= most * NEARLY]
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files != resource.RLIM_INFINITY and len(self._known) >= (files - SPARE_FILES) * NEARLY:
            crowded.append((None, files - SPARE_FILES))
        return crowded

    def _hang_up(self, connection: Connection) -> None:
        """Let what was written reach the client, but don't wait for it long."""
        if connection.is_closing:
            self._abort(connection)
        else:
            connection.is_closing = True
            connection.transport.loseConnection()

    def _cut(self, name: str, connection: Connection) -> None:
        """Close a connection of which nothing more shall be heard."""
        if connection.transport is None and name.startswith("tcp"):
            for transport in self._all():
                if peer2str(transport) == name:
                    self._seen(transport)
        if connection.transport is not None and not connection.is_closing:
            connection.is_closing = True
            connection.due = self._clock.seconds()
            connection.transport.abortConnection()

    def _abort(self, connection: Connection) -> None:
        connection.transport.abortConnection()
        if not connection.is_closing:
            connection.is_closing = True
            self._closed += 1
        if self._summary is None and self._closed:
            self._summary = self._clock.callLater(SUMMARY, self._summarise)

    def _summarise(self) -> None:
        self.log.error(CLOSED, count=self._closed, seconds=SUMMARY)
        self._closed, self._summary = 0, None


@functools.cache
def of(clock: Any) -> Connections:
    """Those of the process whose reactor `clock` is; there is one for all who ask."""
    return Connections(clock)


def _port(connection: Connection) -> Any:
    """The factory of the listening port that accepted a connection, if it limits their number."""
    factory = getattr(getattr(connection.transport, "protocol", None), "factory", None)
    return factory if hasattr(factory, "max_connections") and hasattr(factory, "protocols") else None


def _by_address(connections: Iterable[Connection]) -> dict[str, list[Connection]]:
    groups: dict[str, list[Connection]] = {}
    for connection in connections:
        groups.setdefault(connection.address, []).append(connection)
    return groups


def _of_the_most(connections: Iterable[Connection], number: int) -> list[Connection]:
    """Choose so many: each time the first of the address that has the most left."""
    groups = [(-len(group), address, group[::-1]) for address, group in _by_address(connections).items()]
    heapify(groups)
    chosen: list[Connection] = []
    while groups and len(chosen) < number:
        _, address, group = heappop(groups)
        chosen.append(group.pop())
        if group:
            heappush(groups, (-len(group), address, group))
    return chosen
