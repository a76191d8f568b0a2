"""What is known of each connection that this process has accepted?

Listening ports tell of each, and the reactor lists their transports. Who learns of one by what the router tells, names
it: by the peer, or, where the peer has no address (Unix domain sockets), by the session id that a login may come to
have.
Of a hundred thousand connections nearly all carry a session. Nothing is to be done about these, so they aren't looked
at each time: only those that don't, and those that have come since.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from math import inf
from typing import Any

from autobahn.twisted.util import peer2str
from twisted.internet import tcp, unix
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory

from wampauth.connections.connection import Connection
from wampauth.throttle import counted_address

UNIX = "unix"  # the address of all who come through a Unix domain socket
FEW = 1_000  # connections: as long as there are no more, the reactor's list is gone through at each look
SWEEP = 10.0  # seconds after which that is done otherwise


class Known:
    """All connections that this process has accepted."""

    log = Logger()

    def __init__(self, clock: Any, came: Callable[[Connection], None], gone: Callable[[Connection], None]) -> None:
        """
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock`` that has connections, or none.
        :param came: is told of each that is accepted, before anything is read from it.
        :param gone: is told of each that isn't there any more.
        """
        self._clock = clock
        self._tell_of = came
        self._tell_of_end = gone
        self._known: dict[Any, Connection] = {}  # by peer; twins and those of a Unix domain socket by their transport
        self._by_transport: dict[Any, Connection] = {}  # of these, those whose transport we have seen
        self._outside: dict[Connection, None] = {}  # and those that carry no session
        self._twins: dict[str, list[Connection]] = {}  # by peer: known by their transport, as one is there already
        self._pending: OrderedDict[str, Connection] = OrderedDict()  # by the session id that a login may come to have
        self._ports: set[Any] = set()  # factories that tell of each connection that is accepted
        self._swept = -inf  # seconds on the clock

    def __len__(self) -> int:
        return len(self._known)

    def outside(self) -> list[Connection]:
        """Those that carry no session."""
        return list(self._outside)

    def named(self, name: str) -> Connection:
        """The connection with this peer, or, if it has none, with this session id."""
        by_name: Any = self._known if name.startswith("tcp") else self._pending
        found = by_name.get(name)
        if found is None or found.is_gone:  # then this is another one, from the same port
            found = next((one for one in self._twins.get(name, ()) if not one.is_gone), None)
            found = found or self._begin(name, by_name)
        return found

    def at(self, peer: str) -> list[Connection]:
        """The connections with this peer. Of a client that uses one port for several, they lead to different addresses
        or ports of ours, and nobody tells which is which."""
        return [*dict.fromkeys([self.named(peer), *self._twins.get(peer, ())])]

    def find(self, connection: Connection) -> None:
        """Look for the transport of a connection, if it is known by its peer alone."""
        if connection.transport is None and self._known.get(connection.name) is connection:
            self.learn()

    def forget(self, session: int) -> None:
        """It isn't pending any more."""
        self._pending.pop(str(session), None)

    def being_welcomed(self) -> list[Connection]:
        """Those Unix domain connections that something is being sent to: one, unless a client doesn't read. If it can't
        be told which it is, none of them is a stranger's."""
        self.learn()
        transports = [one for one in _accepted(self._clock.getWriters()) if isinstance(one, unix.Server)]
        found = [one for one in map(self._seen, transports) if not one.sessions]
        if found:
            return found
        return [one for one in self._known.values() if isinstance(one.transport, unix.Server)]

    def joined(self, connection: Connection, session: int) -> None:
        """A connection carries this session."""
        connection.sessions.add(session)
        connection.release(self._clock.seconds())
        self._outside.pop(connection, None)

    def left(self, connection: Connection, session: int) -> None:
        """It does no longer."""
        connection.sessions.discard(session)
        if not connection.sessions and self._known.get(connection.name) is connection:
            self._outside[connection] = None

    def look(self, patience: float, late: float) -> None:
        """See who has come and who has gone.

        :param patience: seconds after which a login that is pending isn't any more.
        :param late: seconds by which this look is too late.
        """
        for one in self._outside if late > 0 else ():
            one.excuse(late)
        self.learn()
        self._drop([one for one in self._outside if one.transport is None or one.is_gone])
        now = self._clock.seconds()
        while self._pending and now - next(iter(self._pending.values())).since > patience:
            self._pending.popitem(last=False)

    def learn(self) -> None:
        """See who has come, and which ports there are."""
        now = self._clock.seconds()
        if len(self._known) <= FEW or now - self._swept >= SWEEP:
            self._swept = now
            readers = self._clock.getReaders()
            for transport in _accepted(readers) | _accepted(self._clock.getWriters()):
                self._seen(transport)
            for port in readers:
                if isinstance(port, tcp.Port):
                    self._follow(port.factory)
            self._drop([one for one in self._known.values() if one.is_gone])  # though nobody has told that it has left

    def _seen(self, transport: Any) -> Connection:
        """What is known of the connection over `transport`."""
        if transport in self._by_transport:
            return self._by_transport[transport]
        local = isinstance(transport, unix.Server)
        key: Any = transport if local else peer2str(transport)
        found = self._known.get(key)
        if found is not None and found.transport is not None and not found.is_ending:
            found = self._begin(transport, self._known)  # both are there: one doesn't take the other's place
            self._twins.setdefault(key, []).append(found)
        elif found is None or found.transport is not None:  # another one, from the same port
            found = self._begin(key, self._known)
        found.transport = transport
        found.address = UNIX if local else counted_address(transport.getPeer().host)
        self._by_transport[transport] = found
        return found

    def _follow(self, factory: Any) -> None:
        """Hear of each connection that a port accepts. Crossbar.io's factories keep account of them in this method."""
        if factory in self._ports or not isinstance(factory, WrappingFactory):
            return
        self._ports.add(factory)
        register = factory.registerProtocol

        def registered(protocol: Any) -> None:
            register(protocol)
            try:
                self._tell_of(self._seen(protocol.transport))
            except Exception:
                self.log.failure("a connection can't be looked at")

        factory.registerProtocol = registered

    def _begin(self, name: Any, where: dict[Any, Connection]) -> Connection:
        if name in self._known:
            self._drop([self._known[name]])
        where[name] = begun = Connection(self._clock.seconds(), name)
        if where is self._known:
            self._outside[begun] = None
        return begun

    def _drop(self, connections: Iterable[Connection]) -> None:
        for one in connections:
            if self._known.get(one.name) is one:
                del self._known[one.name]
            self._outside.pop(one, None)
            self._by_transport.pop(one.transport, None)
            if one.name is one.transport and not isinstance(one.transport, unix.Server):
                self._part(one, peer2str(one.transport))
            self._tell_of_end(one)

    def _part(self, twin: Connection, peer: str) -> None:
        twins = [one for one in self._twins.pop(peer, ()) if one is not twin]
        if twins:
            self._twins[peer] = twins


def _accepted(listed: Iterable[Any]) -> set[Any]:
    """No listening ports, pipes, or connections of ours."""
    return {transport for transport in listed if isinstance(transport, tcp.Server)}
