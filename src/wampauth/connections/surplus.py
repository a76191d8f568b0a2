"""Which of the connections that haven't joined have to go, since they wait for too long, or are too many?"""

import resource
from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from typing import Any

from wampauth.connections.known import Connection
from wampauth.connections.limits import Limits

NEARLY = 0.9  # of `max_connections`: from there on, strangers may have half of the places that sessions leave
SPARE_FILES = 100  # that a process has open beside its connections


def surplus(known: Collection[Connection], limits: Limits, fronts: Collection[str], now: float) -> set[Connection]:
    """Choose among all that are known.

    :param fronts: addresses of proxies before us, for which no number per address holds.
    :param now: seconds on the clock by which connections are timed.
    """
    strangers = [one for one in known if not one.sessions and not one.is_closing]
    strangers.sort(key=lambda one: one.since)
    gone = {one for one in strangers if now - one.since > limits.login_grace}

    def old(connections: Iterable[Connection]) -> list[Connection]:
        return [one for one in connections if now - one.since > limits.spared]

    for address, group in _by_address(one for one in strangers if one not in gone).items():
        if address not in fronts and len(group) > limits.per_address:
            gone.update(old(group)[: len(group) - limits.per_address])
    rest = [one for one in strangers if one not in gone]
    gone.update(_of_the_most(old(rest), len(rest) - limits.in_all))
    for port, most in _crowded(known):
        rest = [one for one in strangers if one not in gone and (port is None or _port(one) is port)]
        members = sum(1 for one in known if one.sessions and (port is None or _port(one) is port))
        gone.update(_of_the_most(rest, len(rest) - max(1, (most - members) // 2)))
    return gone


def _crowded(known: Collection[Connection]) -> list[tuple[Any, int]]:
    """Listening ports that have nearly as many connections as they may, and the number. None stands for all of the
    process, which may have so many open files."""
    ports = {_port(one) for one in known} - {None}
    found = [(port, port.max_connections) for port in ports]
    crowded = [(port, most) for port, most in found if len(port.protocols) >= most * NEARLY]
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and len(known) >= (files - SPARE_FILES) * NEARLY:
        crowded.append((None, files - SPARE_FILES))
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
