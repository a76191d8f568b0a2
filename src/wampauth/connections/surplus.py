"""Which of the connections that haven't joined have to go, since they wait for too long, or are too many?

Those that wait for an answer of ours don't count, and don't have to go, but where places run out: as many honest
clients may come back at once as the guard has places for.
"""

import resource
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from operator import attrgetter
from typing import Any

from wampauth.connections.connection import Connection
from wampauth.connections.limits import Limits
from wampauth.worker import files

SINCE = attrgetter("since")
NEARLY = 0.9  # of `max_connections`: from there on, strangers may have half of the places that sessions leave


@dataclass(frozen=True)
class Place:
    """What has only so many places for connections: a listening port, or all of the process.

    :ivar port: the port's factory; None: the process, which may have so many open files.
    :ivar taken: how many connections there are.
    :ivar most: how many there may be.
    """

    port: Any
    taken: int
    most: int

    @property
    def is_nearly_full(self) -> bool:
        """Whether strangers have to give way here."""
        return self.taken >= self.most * NEARLY

    def has(self, connection: Connection) -> bool:
        """Whether that takes one of these places."""
        return self.port is None or _port(connection) is self.port

    def left_to(self, outside: Iterable[Connection]) -> int:
        """How many of those that carry no session may stay: half of what sessions leave, and one at least."""
        members = self.taken - sum(map(self.has, outside))
        return max(1, (self.most - members) // 2)


def surplus(
    outside: Collection[Connection], number: int, limits: Limits, fronts: Collection[str], now: float
) -> set[Connection]:
    """Choose among those that carry no session.

    :param number: of all connections.
    :param fronts: addresses of proxies before us, for which no number per address holds.
    :param now: seconds on the clock by which connections are timed.
    """
    open_yet = [one for one in outside if not one.is_closing]
    strangers = sorted((one for one in open_yet if one.held is None and not one.is_served(now)), key=SINCE)
    gone = {one for one in strangers if one.age(now) > limits.login_grace}
    for address, group in _by_address(_without(strangers, gone)).items():
        if address not in fronts:
            gone.update(_old(group, limits, now)[: max(0, len(group) - limits.per_address)])
    rest = _without(strangers, gone)
    gone.update(_of_the_most(rest, _old(rest, limits, now), len(rest) - limits.in_all))
    for place in _crowded(outside, number):
        here = sorted((one for one in _without(open_yet, gone) if place.has(one)), key=SINCE)
        gone.update(_idle_first(here, len(here) - place.left_to(outside), now))
    return gone


def _without(connections: Iterable[Connection], gone: Collection[Connection]) -> list[Connection]:
    return [one for one in connections if one not in gone]


def _old(connections: Iterable[Connection], limits: Limits, now: float) -> list[Connection]:
    """Those that are there for so long that they aren't spared."""
    return [one for one in connections if one.age(now) > limits.spared]


def _crowded(outside: Iterable[Connection], number: int) -> list[Place]:
    """Listening ports that are nearly full, and the process if it is."""
    ports = {_port(one) for one in outside} - {None}
    places = [Place(port, len(port.protocols), port.max_connections) for port in ports]
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY:
        places.append(Place(None, number, most - files.SPARE))
    return [place for place in places if place.is_nearly_full]


def _idle_first(here: list[Connection], number: int, now: float) -> list[Connection]:
    """Choose so many, those that wait for an answer of ours last."""
    idle = _of_the_most(here, [one for one in here if not one.is_served(now)], number)
    return idle + _of_the_most(here, [one for one in here if one.is_served(now)], number - len(idle))


def _port(connection: Connection) -> Any:
    """The factory of the listening port that accepted a connection, if it limits their number."""
    if connection.port is None:
        factory = getattr(getattr(connection.transport, "protocol", None), "factory", None)
        if hasattr(factory, "max_connections") and hasattr(factory, "protocols"):
            connection.port = factory
    return connection.port


def _by_address(connections: Iterable[Connection]) -> dict[str, list[Connection]]:
    groups: dict[str, list[Connection]] = {}
    for connection in connections:
        groups.setdefault(connection.address, []).append(connection)
    return groups


def _of_the_most(of: Iterable[Connection], choice: Iterable[Connection], number: int) -> list[Connection]:
    """Choose so many: each time the first, among those there is a choice of, of the address that has the most left."""
    numbers = Counter(one.address for one in of)
    groups = [(-numbers[address], address, group[::-1]) for address, group in _by_address(choice).items()]
    heapify(groups)
    chosen: list[Connection] = []
    while groups and len(chosen) < number:
        left, address, group = heappop(groups)
        chosen.append(group.pop())
        if group:
            heappush(groups, (left + 1, address, group))
    return chosen
