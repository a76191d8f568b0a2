"""Whose connection is closed, and when? With a clock of the tests', and connections that only have an address."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ITransport
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface import implementer  # type: ignore[import-untyped]

from wampauth.connections import TICK, Connections
from wampauth.connections.closing import CLOSED, SUMMARY
from wampauth.connections.connection import LINGER
from wampauth.connections.elsewhere import FORGET, MOST, Elsewhere
from wampauth.connections.heard import UNWATCHED
from wampauth.connections.known import SWEEP
from wampauth.connections.limits import Limits
from wampauth.settings import SettingsError

REALM = "realm1"


@implementer(ITransport)
class Transport(tcp.Server):
    """A connection from `host`."""

    def __init__(self, host: str, port: int) -> None:
        self._peer, self.connected = IPv4Address("TCP", host, port), 1
        self.protocol: Any = None
        self.is_read = True
        self.fileno = lambda: -1

    def getPeer(self) -> IPv4Address:
        return self._peer

    def loseConnection(self, *_: object) -> None:
        self.connected = 0

    def abortConnection(self) -> None:
        self.connected = 0

    def pauseProducing(self) -> None:
        self.is_read = False

    def resumeProducing(self) -> None:
        self.is_read = True


class Local(Transport, unix.Server):
    """A connection through a Unix domain socket."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 0)


@dataclass(eq=False)
class Port:
    """What listens, and has places for so many."""

    max_connections: int
    protocols: list[Any] = field(default_factory=list)

    def protocol(self, transport: Transport) -> Any:
        self.protocols.append(SimpleNamespace(factory=self, transport=transport))
        return self.protocols[-1]


@dataclass
class Place:
    """A process with connections."""

    clock: Any = field(default_factory=Clock)
    transports: list[Transport] = field(default_factory=list)
    limits: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.clock.getReaders = lambda: [one for one in self.transports if one.connected]
        self.clock.getWriters = list
        self.connections = Connections(self.clock)
        self.connections.configure(self.limits)
        self.connections.watch(REALM)

    def come(self, number: int, host: str = "192.0.2.1") -> list[Transport]:
        first = len(self.transports)
        came = [Transport(host, port) for port in range(first, first + number)]
        self.transports += came
        self.wait(TICK)
        return came

    def wait(self, seconds: float) -> None:
        self.clock.pump([TICK] * round(seconds / TICK))

    def join(self, transport: Transport, session: int, method: str = "ticket") -> bool:
        details = {"authmethod": method, "transport": {"peer": peer(transport)}}
        return self.connections.joined(session, details)


def peer(transport: Transport) -> str:
    return f"tcp4:{transport.getPeer().host}:{transport.getPeer().port}"


def here(transports: list[Transport]) -> int:
    return sum(1 for one in transports if one.connected)


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.connections.unwatch(REALM)


def test_who_has_joined_stays_and_who_has_not_goes(place: Place) -> None:
    member, stranger = place.come(2)
    assert place.join(member, 1)
    place.wait(9)
    assert here([member, stranger]) == 2
    place.wait(2)
    assert (member.connected, stranger.connected) == (1, 0)


def test_the_oldest_of_an_address_give_way_and_the_young_do_not(place: Place) -> None:
    old, young = place.come(120), place.come(120)
    place.wait(4)
    assert here(old) + here(young) == 240
    place.wait(1)
    assert (here(old), here(young)) == (0, 120)
    place.wait(0.5)
    assert here(young) == 100


def test_in_all_those_of_the_largest_address_give_way(place: Place) -> None:
    many = [Transport(f"192.0.2.{host}", port) for host in range(10, 17) for port in range(90)]
    place.transports += many
    few = place.come(10, "192.0.2.9")
    place.wait(7)
    assert (here(few), here(few) + here(many)) == (10, 500)


def test_in_all_the_largest_address_gives_way_first_even_where_most_of_its_connections_are_young(place: Place) -> None:
    place.connections.configure({"per_address": 1000})
    old_of_many, few = place.come(40, "192.0.2.1"), place.come(60, "192.0.2.2")
    place.wait(4)
    young = place.come(460, "192.0.2.1")
    place.wait(1)
    assert (here(old_of_many), here(few), here(young)) == (0, 40, 460)


def test_who_waits_for_an_answer_of_ours_is_no_stranger(place: Place) -> None:
    """However long that takes, and however many they are: our slowness isn't theirs."""
    came = place.come(600)
    for one in came:
        assert place.connections.may_try(peer(one))
        place.connections.asks(peer(one))
    place.wait(30)
    assert here(came) == 600
    for number, one in enumerate(came[:300]):
        place.connections.answered(peer(one))
        place.wait(0 if number else LINGER - TICK)
        assert place.join(one, number)
    place.wait(TICK)
    assert here(came) == 600


def test_the_time_that_it_waits_for_us_is_added_to_its_patience_and_no_more(place: Place) -> None:
    (one,) = place.come(1)
    place.wait(8)
    place.connections.asks(peer(one))
    place.wait(30)
    place.connections.answered(peer(one))
    place.wait(1.5)
    assert one.connected
    place.wait(1)
    assert not one.connected


def test_where_places_run_out_those_who_wait_for_us_go_last(place: Place) -> None:
    port = Port(max_connections=20)
    came = place.come(20)
    for one in came:
        one.protocol = port.protocol(one)
    for one in came[:12]:
        place.connections.asks(peer(one))
    place.wait(TICK)
    assert (here(came[:12]), here(came[12:])) == (10, 0)  # half of the places may be strangers'


def test_who_leaves_is_hung_up_on_and_cannot_come_back(place: Place) -> None:
    (one,) = place.come(1)
    assert place.join(one, 1)
    place.connections.left(1)
    assert one.connected
    assert not place.join(one, 2)
    assert not one.connected


def test_two_components_may_tell_of_one_session(place: Place) -> None:
    """Those of two Authenticators in one realm: through a socket, too, where the second time nothing is being sent."""
    member, *strangers = (Local() for _ in range(4))
    place.transports += [member, *strangers]
    place.wait(TICK)
    place.clock.getWriters = lambda: [member]
    details = {"authmethod": "ticket", "transport": {"peer": "unix"}}
    assert place.connections.joined(1, details)
    place.clock.getWriters = list
    assert place.connections.joined(1, details)
    place.wait(Limits.login_grace + 2 * TICK)
    assert (here([member]), here(strangers)) == (1, 0)
    for _ in range(2):
        place.connections.left(1)
    place.wait(LINGER + 2 * TICK)
    assert here([member]) == 0


def test_who_was_refused_is_hung_up_on_unless_it_tries_again(place: Place) -> None:
    (one,) = place.come(1)
    for _ in range(Limits.attempts):
        assert place.connections.may_try(peer(one))
        place.connections.refused(peer(one))
        place.wait(LINGER - TICK)
        assert one.connected
    place.wait(LINGER + TICK)
    assert not one.connected


def test_so_many_attempts(place: Place) -> None:
    (one,) = place.come(1)
    assert [place.connections.may_try(peer(one)) for _ in range(Limits.attempts + 1)] == [True] * 5 + [False]
    assert not one.connected


def test_nothing_is_closed_where_a_realm_is_not_watched(place: Place) -> None:
    place.connections.admitted("elsewhere")
    came = place.come(3)
    place.wait(20)
    assert here(came) == 3


def test_nothing_is_closed_behind_proxies(place: Place) -> None:
    came = place.come(3)
    assert place.join(came[0], 1, "anonymous-proxy")
    place.wait(20)
    assert here(came) == 3


def test_where_nobody_watches_a_connection_has_so_many_attempts_too() -> None:
    """Behind proxies none can be closed, but more than so many aren't looked at. After a while it is another one."""
    clock, name = Clock(), "tcp4:192.0.2.1:1"
    connections = Connections(clock)
    assert [connections.may_try(name) for _ in range(8)] == [True] * 5 + [False] * 3
    connections.refused(name)
    connections.asks(name)
    connections.answered(name)
    assert connections.may_try("tcp4:192.0.2.1:2")
    clock.advance(FORGET - 1)
    assert not connections.may_try(name)
    clock.advance(FORGET + 1)
    assert connections.may_try(name)


def twins(place: Place, number: int) -> list[Transport]:
    """Connections from one port of a client's, to several addresses or ports of ours."""
    transports = [Transport("192.0.2.1", 5000) for _ in range(number)]
    place.transports += transports
    place.wait(TICK)
    return transports


def test_connections_from_one_port_do_not_take_each_others_place(place: Place) -> None:
    """Or they would be new at each look, and stay."""
    strangers = twins(place, 3)
    place.wait(9)
    assert here(strangers) == 3
    place.wait(2)
    assert here(strangers) == 0
    assert (len(place.connections._known), place.connections._known._twins) == (0, {})


@pytest.mark.parametrize("first", [0, 1])
def test_whose_port_another_connection_has_stays(place: Place, first: int) -> None:
    """Nobody tells over which of them a session comes."""
    member, other = twins(place, 2)[:: 1 if first else -1]
    assert place.join(member, 1)
    place.wait(20)
    assert member.connected
    other.connected = 0
    place.wait(20)
    assert member.connected
    place.connections.left(1)
    place.wait(11)
    assert not member.connected
    assert (len(place.connections._known), place.connections._known._twins) == (0, {})


def test_one_that_is_left_of_them_has_its_number_of_attempts(place: Place) -> None:
    first, other = twins(place, 2)
    first.connected = 0
    place.wait(TICK)
    assert [place.connections.may_try(peer(other)) for _ in range(6)] == [True] * 5 + [False]
    assert not other.connected


def test_where_nothing_is_closed_nothing_is_kept_of_those_who_have_gone() -> None:
    """Who has left and is here yet is known again."""
    place = Place(limits={"watch": False})
    stays, *others = place.come(500)
    for session, transport in enumerate([stays, *others]):
        assert place.join(transport, session)
        place.connections.left(session)
        transport.connected = int(transport is stays)
    place.wait(SWEEP)
    place.connections.left(0)  # as any other would
    assert (len(place.connections._known), place.connections._sessions) == (1, {})
    assert not place.join(stays, 1000), "it comes back, and nobody was asked"


def test_what_is_counted_elsewhere_is_bounded() -> None:
    elsewhere = Elsewhere(Clock())
    for number in range(MOST + 10):
        elsewhere.count(str(number))
    assert [elsewhere.count(name) for name in ("0", str(MOST))] == [1, 2]


def test_who_switches_it_off_has_no_number_of_attempts() -> None:
    connections = Connections(Clock())
    connections.configure({"watch": False})
    assert [connections.may_try("tcp4:192.0.2.1:1") for _ in range(20)] == [True] * 20


def test_a_fault_does_not_end_the_watch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = place.come(1)
    with monkeypatch.context() as patch:
        patch.setattr("wampauth.connections.surplus", lambda *_: 1 / 0)
        place.wait(11)
    assert one.connected
    place.wait(TICK)
    assert not one.connected


def test_the_log_counts_what_was_closed_once_a_minute(place: Place) -> None:
    with capturedLogs() as events:
        place.come(3)
        place.wait(Limits.login_grace)
        place.come(2)
        place.wait(SUMMARY + Limits.login_grace + TICK)
        place.wait(2 * SUMMARY)
    assert [event["count"] for event in events if event.get("log_format") == CLOSED] == [5]


def test_a_realm_that_is_joined_and_not_watched_is_told_of_once(place: Place) -> None:
    with capturedLogs() as events:
        for realm in (REALM, "elsewhere", "elsewhere"):
            place.connections.admitted(realm)
    assert [event["realm"] for event in events if event.get("log_format") == UNWATCHED] == ["elsewhere"]


def test_there_is_one_configuration(place: Place) -> None:
    place.connections.configure({"per_address": 7})
    place.connections.configure(None)
    with pytest.raises(SettingsError, match="the component before"):
        place.connections.configure({"per_address": 8})


def test_the_time_that_we_had_none_is_nobodys(place: Place) -> None:
    """A process that is too busy to look may be too busy to read, too. But that isn't believed for ever."""
    (one,) = place.come(1)
    place.wait(9)
    place.clock.advance(5)
    place.wait(0.5)
    assert one.connected
    place.clock.pump([5.0] * 4)
    assert not one.connected


def test_with_very_many_the_list_of_all_is_seldom_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wampauth.connections.known.FEW", 2)
    members = place.come(4)
    for number, one in enumerate(members):
        assert place.join(one, number)
    late = place.come(1)
    place.wait(SWEEP + Limits.login_grace)
    members[0].abortConnection()
    place.wait(SWEEP + TICK)
    assert (here(late), here(members), len(place.connections._known)) == (0, 3, 3)


def test_another_connection_from_the_same_port_begins_anew(place: Place) -> None:
    """A client that comes back may get the port that it had, before we look again."""
    (transport,) = place.come(1)
    name = peer(transport)
    for _ in range(place.connections.limits.attempts):
        assert place.connections.may_try(name)
    transport.loseConnection()
    assert place.connections.may_try(name)
