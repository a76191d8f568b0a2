"""What is known of each connection that this process has accepted?

The reactor lists their transports. Who learns of one by what the router tells, names it: by the peer, or, where the
peer has no address (Unix domain sockets), by the session id that a login may come to have.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any

from autobahn.twisted.util import peer2str
from twisted.internet import tcp, unix

from wampauth.throttle import counted_address

LINGER = (
    0.5  # seconds that a client may take to join, once it is admitted, or to hang up, once it is refused or has left
)


@dataclass(eq=False, slots=True)
class Connection:
    """What is known of one connection.

    :ivar since: seconds on the clock at which we first knew of it, put off by as long as it has waited for us.
    :ivar asked: when an attempt began that we haven't answered yet.
    :ivar due: when it is to be closed; None: not yet.
    """

    since: float
    asked: float | None = None
    answered: float = -inf
    transport: Any = None
    address: str = ""
    sessions: set[int] = field(default_factory=set)
    has_left: bool = False
    attempts: int = 0
    due: float | None = None
    is_closing: bool = False

    def age(self, now: float) -> float:
        """Seconds for which we have waited for it. Those for which it waits for an answer of ours don't count."""
        return (now if self.asked is None else self.asked) - self.since

    def is_served(self, now: float) -> bool:
        """Whether it is our turn: it waits for an answer, or had one just now and can't have joined yet."""
        return self.asked is not None or now - self.answered < LINGER

    def ask(self, now: float) -> None:
        """An attempt has begun."""
        self.asked = now

    def answer(self, now: float) -> None:
        """It has had its answer."""
        if self.asked is not None:
            self.since += now - self.asked
            self.asked, self.answered = None, now


class Known:
    """All connections that this process has accepted."""

    def __init__(self, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock`` that has connections, or none."""
        self._clock = clock
        self._known: dict[Any, Connection] = {}  # by peer; those of a Unix domain socket by their transport
        self._pending: OrderedDict[str, Connection] = OrderedDict()  # by the session id that a login may come to have

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._known.values())

    def named(self, name: str) -> Connection:
        """The connection with this peer, or, if it has none, with this session id."""
        by_name: Any = self._known if name.startswith("tcp") else self._pending
        found = by_name.get(name)
        if found is None or (found.transport is not None and not found.transport.connected):  # gone; from the same port
            found = by_name[name] = Connection(self._clock.seconds())
        return found  # type: ignore[no-any-return]

    def find(self, name: str) -> None:
        """Look for the transport of a connection that is known by its peer alone."""
        for transport in self._all():
            if peer2str(transport) == name:
                self._seen(transport)

    def forget(self, session: int) -> None:
        """It isn't pending any more."""
        self._pending.pop(str(session), None)

    def being_welcomed(self) -> list[Connection]:
        """Those Unix domain connections that something is being sent to: one, unless a client doesn't read. If it can't
        be told which it is, none of them is a stranger's."""
        transports = [one for one in _accepted(self._clock.getWriters()) if isinstance(one, unix.Server)]
        found = [one for one in map(self._seen, transports) if not one.sessions]
        if found:
            return found
        return [one for one in map(self._seen, self._all()) if isinstance(one.transport, unix.Server)]

    def look(self, patience: float) -> None:
        """See who has come and who has gone.

        :param patience: seconds after which a login that is pending isn't any more.
        """
        now, all_of_them = self._clock.seconds(), self._all()
        seen = {connection.transport: connection for connection in self._known.values()}
        for transport in all_of_them:
            if transport not in seen:
                self._seen(transport)
        self._known = {key: one for key, one in self._known.items() if one.transport and one.transport.connected}
        while self._pending and now - next(iter(self._pending.values())).since > patience:
            self._pending.popitem(last=False)

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

    def _all(self) -> set[Any]:
        """The transports of all connections that were accepted: no listening ports, pipes, or connections of ours."""
        return _accepted(self._clock.getReaders()) | _accepted(self._clock.getWriters())


def _accepted(listed: Iterable[Any]) -> set[Any]:
    return {transport for transport in listed if isinstance(transport, tcp.Server)}
