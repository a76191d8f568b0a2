"""Which of the connections that haven't joined have to go, since they wait for too long, or are too many?

Those that wait for an answer of ours don't count, and don't have to go, but where places run out: as many honest
clients may come back at once as the guard has places for.
"""

import resource
from collections import Counter
from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from wampauth.connections.connection import Connection
from wampauth.connections.limits import Limits
from wampauth.worker import files

NEARLY = 0.9  # of `max_connections`: from there on, strangers may have half of the places that sessions leave


def surplus(
    outside: Iterable[Connection], number: int, limits: Limits, fronts: Collection[str], now: float
) -> set[Connection]:
    """Choose among those that carry no session.

    :param number: of all connections.
    :param fronts: addresses of proxies before us, for which no number per address holds.
    :param now: seconds on the clock by which connections are timed.
    """
    everybody = list(outside)
    outside = sorted((one for one in everybody if not one.is_closing), key=lambda one: one.since)
    strangers = [one for one in outside if not one.is_served(now) and one.held is None]
    gone = {one for one in strangers if one.age(now) > limits.login_grace}

    def old(connections: Iterable[Connection]) -> list[Connection]:
        return [one for one in connections if one.age(now) > limits.spared]

    for address, group in _by_address(one for one in strangers if one not in gone).items():
        if address not in fronts and len(group) > limits.per_address:
            gone.update(old(group)[: len(group) - limits.per_address])
    rest = [one for one in strangers if one not in gone]
    gone.update(_of_the_most(rest, old(rest), len(rest) - limits.in_all))
    for port, taken, most in _crowded(everybody, number):
        here = [one for one in outside if one not in gone and (port is None or _port(one) is port)]
        members = taken - sum(1 for one in everybody if port is None or _port(one) is port)
        too_many = len(here) - max(1, (most - members) // 2)
        idle = _of_the_most(here, [one for one in here if not one.is_served(now)], too_many)
        gone.update(idle, _of_the_most(here, [one for one in here if one.is_served(now)], too_many - len(idle)))
    return gone


def _crowded(outside: Iterable[Connection], number: int) -> list[tuple[Any, int, int]]:
    """Listening ports that have nearly as many connections as they may, how many that is, and how many they may have.
    None stands for all of the process, which may have so many open files."""
    ports = {_port(one) for one in outside} - {None}
    found = [(port, len(port.protocols), port.max_connections) for port in ports]
    crowded = [(port, taken, most) for port, taken, most in found if taken >= most * NEARLY]
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and number >= (most - files.SPARE) * NEARLY:
        crowded.append((None, number, most - files.SPARE))
    return crowded


def _port(connection: Connection) -> Any:
    """The factory of the listening port that accepted a connection, if it limits their number."""
    factory = getattr(getattr(connection.transport, "protocol", None), "factory", None)
    return factory if hasattr(factory, "max_connections") and hasattr(factory, "protocols") else None


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
