"""From whom do we read, when many come at once? With a clock of the tests', and a port that accepts whom they say."""

import select
import socket
from collections.abc import Callable
from typing import Any

import pytest
from crossbar.common.twisted.endpoint import MaxConnectionsFactory
from test_connections import REALM, Place, Transport, here, peer
from twisted.internet import tcp
from twisted.internet.protocol import Factory, Protocol

from wampauth.connections import TICK
from wampauth.connections.failing import ADDRESSES, MANY, MOST, Failing
from wampauth.connections.reading import AT_ONCE, LAST, LONGEST, STEP, STEPS
from wampauth.refusals import Refusal, crowded, malformed, throttled, too_much, unavailable

OURS, THEIRS = "192.0.2.1", "198.51.100.1"
ONE = AT_ONCE // 2  # of one address


class Listening(tcp.Port):
    """A port, as the reactor lists it."""

    def __init__(self) -> None:
        self.factory: Any = MaxConnectionsFactory(Factory.forProtocol(Protocol), 100_000, "port", None, None)


class Storm(Place):
    """A process with a port at which connections come."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.port = Listening()
        self.clock.getReaders = lambda: [self.port, *(one for one in self.transports if one.connected)]
        self.wait(TICK)

    def accept(self, number: int, host: str = OURS) -> list[Transport]:
        """So many come, before anything else happens."""
        first = len(self.transports)
        came = [Transport(host, port) for port in range(first, first + number)]
        self.transports += came
        for one in came:
            self.port.factory.buildProtocol(one.getPeer()).makeConnection(one)
        return came

    def answer(self, transport: Transport) -> None:
        """It tries to log in, and has its answer."""
        self.connections.asks(peer(transport))
        self.connections.answered(peer(transport))

    def fail(self, transport: Transport) -> None:
        self.connections.failed(peer(transport))
        self.answer(transport)

    def go_on(self) -> None:
        self.clock.advance(0)


def read(transports: list[Transport]) -> int:
    return sum(1 for one in transports if one.is_read)


@pytest.fixture
def storm() -> Any:
    storm = Storm()
    yield storm
    storm.connections.unwatch(REALM)


def test_a_few_hundred_at_once_do_not_wait(storm: Storm) -> None:
    assert read(storm.accept(ONE)) == ONE


def test_the_next_have_their_turn_as_those_before_them_have_their_answers(storm: Storm) -> None:
    came = storm.accept(ONE + 10)
    assert [one.is_read for one in came] == [True] * ONE + [False] * 10
    for number in range(4):
        storm.answer(came[number])
    storm.go_on()
    assert [one.is_read for one in came] == [True] * (ONE + 4) + [False] * 6
    storm.join(came[4], 1)
    storm.go_on()
    assert read(came) == ONE + 5


@pytest.mark.parametrize("idle", ["silent", "waiting for a slow check"])
def test_who_takes_its_time_keeps_no_place_from_others(storm: Storm, idle: str) -> None:
    came = storm.accept(2 * ONE)
    for one in came[:ONE] if idle != "silent" else ():
        storm.connections.asks(peer(one))
    storm.clock.pump([STEP] * (STEPS - 1))
    assert read(came) == ONE
    storm.clock.pump([STEP] * 2)
    assert read(came) == 2 * ONE


def test_another_address_has_places_in_any_case(storm: Storm) -> None:
    storm.accept(10 * ONE, THEIRS)
    assert read(storm.accept(20)) == 20


def test_addresses_take_turns(storm: Storm) -> None:
    theirs, ours = storm.accept(10 * ONE, THEIRS), storm.accept(10 * ONE)
    before = read(ours)
    for one in [*theirs[:ONE], *ours[:before]]:
        storm.answer(one)
    storm.go_on()
    assert abs(read(theirs) - ONE - read(ours) + before) <= 1


def test_who_is_refused_again_and_again_comes_last_but_comes(storm: Storm) -> None:
    theirs, ours = storm.accept(10 * ONE, THEIRS), storm.accept(10 * ONE)
    for one in theirs[:ONE]:
        storm.fail(one)
    storm.go_on()
    before, theirs_before, waiting = read(ours), read(theirs), set(ours)
    for _ in range(8):
        for one in [one for one in ours if one.is_read and one in waiting][:20]:
            waiting.remove(one)
            storm.answer(one)
            storm.go_on()
    more = read(theirs) - theirs_before
    assert 0 < more <= (read(ours) - before + more) // (LAST - 1)


def test_and_has_all_turns_that_nobody_else_wants(storm: Storm) -> None:
    theirs = storm.accept(2 * ONE, THEIRS)
    for one in theirs[:ONE]:
        storm.fail(one)
    storm.go_on()
    assert read(theirs) == 2 * ONE


def test_an_address_from_which_many_join_is_not_one_of_those() -> None:
    failing = Failing()
    for _ in range(100):
        failing.refused(OURS, 0.0)
        failing.joined(OURS)
    failing.joined(THEIRS)
    for number in range(round(MANY) + 1):
        assert not failing.has(OURS, 0.0), number
        failing.refused(OURS, 0.0)
    assert failing.has(OURS, 0.0)
    assert not failing.has(OURS, 1.0)
    for _ in range(1000):
        failing.refused(OURS, 0.0)
    assert failing.has(OURS, MOST - MANY - 1)
    assert not failing.has(OURS, MOST - MANY)


def test_of_whom_is_remembered_is_bounded() -> None:
    failing = Failing()
    for number in range(ADDRESSES + 10):
        for _ in range(5):
            failing.refused(str(number), 0.0)
    assert [failing.has(str(number), 0.0) for number in (9, 10, ADDRESSES + 9)] == [False, True, True]
    assert len(failing._forgotten) == ADDRESSES


REFUSALS = {
    "wrong": (Refusal("refused", "no such credential", "invalid_ticket", "no"), True),
    "throttled": (throttled(1.0), True),
    "malformed": (malformed("a rule"), True),
    "no time": (too_much(crowded("too many at once", 1.0)), False),
    "our fault": (unavailable("the store is away"), False),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_only_refusals_that_are_no_fault_of_ours_count(why: str) -> None:
    no, counts = REFUSALS[why]
    assert no.is_clients is counts


def test_the_time_that_a_connection_waits_for_us_is_not_its_own(storm: Storm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wampauth.connections.reading.STEPS", 10**9)
    storm.connections.configure({"login_grace": 3.0, "spared": 2.0, "per_address": 10})
    came = storm.accept(AT_ONCE)
    for one in came[:ONE]:
        storm.connections.asks(peer(one))
    storm.wait(20)
    assert (here(came), read(came)) == (AT_ONCE, ONE)
    for number, one in enumerate(came[:ONE]):
        assert storm.join(one, number)
    storm.wait(1.75)
    assert (here(came), read(came)) == (AT_ONCE, AT_ONCE)
    storm.wait(2)
    assert here(came) == ONE


def test_waiting_is_bounded_in_time(storm: Storm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wampauth.connections.reading.STEPS", 10**9)
    storm.connections.configure({"login_grace": 1000.0, "spared": 1000.0})
    came = storm.accept(ONE + 5)
    storm.wait(LONGEST - 1)
    assert (here(came), read(came)) == (ONE + 5, ONE)
    storm.wait(2)
    assert (here(came[:ONE]), here(came[ONE:]), len(storm.connections._reading)) == (ONE, 0, 0)


def test_who_has_gone_while_waiting_takes_no_turn(storm: Storm) -> None:
    came = storm.accept(ONE + 2)
    came[ONE].abortConnection()
    storm.answer(came[0])
    storm.go_on()
    assert [one.is_read for one in came[ONE:]] == [False, True]


@pytest.mark.skipif(not hasattr(select, "POLLRDHUP"), reason="only Linux tells")
def test_who_has_given_up_while_waiting_takes_no_turn(storm: Storm) -> None:
    """Though it has said something before: to answer that would cost a handshake."""
    came = storm.accept(ONE + 2)
    impatient, client = socket.socketpair()
    patient, other = socket.socketpair()
    with impatient, client, patient, other:
        came[ONE].fileno, came[ONE + 1].fileno = impatient.fileno, patient.fileno
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        other.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.close()
        storm.answer(came[0])
        storm.go_on()
    assert [(one.connected, one.is_read) for one in came[ONE:]] == [(0, False), (1, True)]


STOPS: dict[str, Callable[[Storm], Any]] = {
    "nobody tells of sessions any more": lambda storm: storm.connections.unwatch(REALM),
    "sessions come through proxies": lambda storm: storm.join(storm.transports[0], 1, "anonymous-proxy"),
    "a realm is not watched": lambda storm: storm.connections.admitted("elsewhere"),
}


@pytest.mark.parametrize("stop", STOPS)
def test_where_we_do_not_know_who_is_a_stranger_nobody_waits(storm: Storm, stop: str) -> None:
    came = storm.accept(2 * ONE)
    STOPS[stop](storm)
    storm.wait(TICK)
    assert read(came) == 2 * ONE
    assert read(storm.accept(2 * ONE)) == 2 * ONE


def test_proxies_before_us_do_not_wait(storm: Storm) -> None:
    """All of their clients have one address."""
    storm.connections.configure(None, [OURS])
    assert read(storm.accept(2 * ONE)) == 2 * ONE


def test_nothing_is_left_behind(storm: Storm) -> None:
    came = [*storm.accept(3 * ONE), *storm.accept(3 * ONE, THEIRS)]
    for one in came:
        storm.connections.failed(peer(one))
        one.abortConnection()
    storm.wait(1)
    reading = storm.connections._reading
    assert (len(reading), len(reading._reading), reading._places.free) == (0, 0, AT_ONCE)
    assert (len(storm.connections._known), storm.connections.unjoined()) == (0, 0)
    storm.wait(1)
    assert [call for call in storm.clock.getDelayedCalls() if call.getTime() < storm.clock.seconds() + TICK / 2] == []
