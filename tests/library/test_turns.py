"""Whose turn is it? Nobody is refused for being one of many: on a clock that the test turns by hand."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from test_guard import DEADLINE, DELAY, Attempt, Check, Guarded, answer, connection
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wampauth import turns
from wampauth.claims import Principal, Refused
from wampauth.places import LATEST, Busy
from wampauth.refusals import Refusal
from wampauth.settings import Settings
from wampauth.throttle import Throttle
from wampauth.turns import Turns

HERE, THERE = "192.0.2.1", "192.0.2.2"
TOO_MANY = "com.example.too_many_attempts"
MakeGuarded = Callable[..., Guarded]


@pytest.fixture
def guarded(tmp_path: Path) -> MakeGuarded:
    def make(**settings: Any) -> Guarded:
        return Guarded(tmp_path, **settings)

    return make


class Slow(Check):
    """A check that is answered when the test says so."""

    def __init__(self, found: Principal) -> None:
        super().__init__(found)
        self.found = found
        self.outcome: Any = Deferred()

    def answer(self, outcome: Any = None) -> None:
        self.outcome.callback(outcome or self.found)


class Storm:
    """Many who try at once, each in a check that is answered when the test says so."""

    def __init__(self, guard: Guarded) -> None:
        self.guard = guard
        self.checks: list[Slow] = []
        self.attempts: list[Attempt] = []

    def come(self, number: int, address: str = HERE, authid: str = "user{}", method: str = "ticket") -> list[Attempt]:
        came = []
        for _ in range(number):
            many = len(self.checks)
            name = authid.format(many)
            key = bytes(SigningKey((many + 1).to_bytes(32, "big")).verify_key).hex()
            check = Slow(answer(authid=name) if method == "ticket" else answer(authid=name, pubkey=key))
            extra = {"pubkey": key} if method == "cryptosign" else None
            self.checks.append(check)
            place = connection(10_000 + many, address)
            came.append(self.guard.attempt(check, method, authid=name, authextra=extra, **place))
        self.attempts += came
        return came

    def asked(self) -> list[Slow]:
        """The checks that are under way."""
        return [check for check in self.checks if check.asked and not check.outcome.called]

    def answer(self, outcome: Any = None) -> int:
        """Answer those under way; how many there were."""
        asked = self.asked()
        for check in asked:
            check.answer(outcome)
        self.guard.clock.advance(0)
        return len(asked)

    def uris(self) -> Counter[str | None]:
        return Counter(attempt.uri for attempt in self.attempts if attempt.answered)


@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
def test_two_thousand_of_one_address_all_get_in(guarded: MakeGuarded, method: str) -> None:
    storm = Storm(guarded())
    storm.come(2000, method=method)
    most = len(storm.asked())
    while storm.answer():
        most = max(most, len(storm.asked()))
        storm.guard.clock.advance(0.001)
    assert storm.uris() == {None: 2000}
    assert most == 100  # as many as may fail at once
    assert storm.guard.held() == 0


def test_sessions_of_one_authid_all_get_in(guarded: MakeGuarded) -> None:
    storm = Storm(guarded())
    storm.come(300, authid="fleet")
    assert len(storm.asked()) == 10
    while storm.answer():
        storm.guard.clock.advance(0.001)
    assert storm.uris() == {None: 300}


def test_sessions_of_one_key_all_get_in_as_they_join(guarded: MakeGuarded) -> None:
    guard = guarded()
    attempts = [guard.attempt(Check(), "cryptosign", **connection(number)) for number in range(1, 201)]
    for _ in range(200):
        for session, attempt in enumerate(attempts, 1):
            if attempt.answer is not None:
                guard.admissions.challenged.joined(session)
        guard.clock.advance(0.001)
    assert all(attempt.answer for attempt in attempts)


@pytest.mark.parametrize("authid", ["user{}", "fleet"])
def test_when_those_before_them_have_failed_the_others_are_throttled(guarded: MakeGuarded, authid: str) -> None:
    storm = Storm(guarded(failures_per_second=0.001))
    storm.come(500, authid=authid)
    most = 100 if "{" in authid else 10
    assert storm.answer(Refused("no such credential")) == most
    assert storm.answer() == 0  # nobody's turn before they were told: how long a check took mustn't be seen
    storm.guard.clock.pump([DELAY, *[0.0] * 20])
    assert storm.uris() == {"com.example.invalid_ticket": most, TOO_MANY: 500 - most}
    assert {
        attempt.no and "too many failed" in attempt.no[1] for attempt in storm.attempts if attempt.uri == TOO_MANY
    } == {True}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 3)), max_size=150))
def test_so_many_are_checked_as_if_nobody_waited(tries: list[tuple[str, bool, float]]) -> None:
    """However attempts and answers are mixed: of checks that fail there are never more than the throttle has tokens."""
    clock = Clock()
    waiting = Turns(clock, Throttle(clock, Settings(failures_at_once=3, address_factor=2)))
    failed: dict[str, list[float]] = {}  # when a check began that failed
    successes: dict[str, list[float]] = {}
    for subject, is_right, pause in tries:
        began: list[float] = []

        def begin(_: object = None, began: list[float] = began) -> None:
            began.append(clock.seconds())

        try:
            turn = waiting.take(subject, HERE, clock.seconds() + DEADLINE)
        except Refusal:
            continue
        if turn is None:
            begin()
        else:
            turn.addCallbacks(begin, lambda no: no.trap(Refusal, Busy))
        clock.advance(pause)
        if began and is_right:
            waiting._throttle.give_back(subject, HERE)
        if began:
            waiting.leave(subject, HERE)
            (successes if is_right else failed).setdefault(subject, []).append(began[0])
        clock.advance(0)
    for subject, moments in failed.items():
        for first, start in enumerate(moments):
            for last in range(first, len(moments)):
                if not any(start <= moment <= moments[last] for moment in successes.get(subject, ())):
                    assert last - first + 1 <= 3 + moments[last] - start + 1e-3


GUESSES, SECONDS = 10_000, 10
GUESSERS: dict[str, tuple[int, Callable[[int], tuple[str, str]]]] = {  # how many are verified; peer and authid of each
    "one peer, as one principal": (10 + SECONDS, lambda number: (f"tcp4:{HERE}:{number}", "alice")),
    "one peer, as many": (100 + 10 * SECONDS, lambda number: (f"tcp4:{HERE}:{number}", f"user{number}")),
    "one /64, as one principal": (10 + SECONDS, lambda number: (f"tcp6:2001:db8::{number:x}:1024", "alice")),
    "one /64, as many": (100 + 10 * SECONDS, lambda number: (f"tcp6:2001:db8::{number:x}:1024", f"user{number}")),
}


@pytest.mark.parametrize("guesser", GUESSERS)
def test_of_ten_thousand_guesses_in_ten_seconds_so_many_are_verified(guarded: MakeGuarded, guesser: str) -> None:
    """Each on a connection of its own: to wait for one's turn, or to be refused at once, makes no difference."""
    (most, who), guard, check = GUESSERS[guesser], guarded(), Check(Refused("no such credential"))
    for number in range(1, GUESSES + 1):
        peer, authid = who(number)
        guard.attempt(check, authid=authid, session=number, transport={"peer": peer})
        guard.clock.advance(SECONDS / GUESSES)
    assert most - 2 <= len(check.asked) <= most
    guard.clock.pump([DELAY] * 100)
    assert len(check.asked) <= most + 2  # nobody was left waiting to be checked later


# -- between addresses


def test_a_flood_from_one_address_delays_no_other(guarded: MakeGuarded) -> None:
    storm = Storm(guarded())
    storm.come(2000)
    (honest,) = storm.come(1, THERE)
    storm.checks[-1].answer()
    assert honest.after == 0


def test_addresses_take_turns_where_there_are_no_more_places(
    guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_UNDERWAY", 4)
    storm = Storm(guarded())
    for address in range(10, 14):
        storm.come(1, f"192.0.2.{address}")
    flood, honest = storm.come(500), storm.come(3, THERE)
    for _ in range(4):
        storm.answer()
    assert all(attempt.answer for attempt in honest)
    assert sum(attempt.answered for attempt in flood) < 20


def test_subjects_of_one_address_take_turns(guarded: MakeGuarded) -> None:
    storm = Storm(guarded(address_factor=1))
    storm.come(10)
    flood, honest = storm.come(500, authid="mallory"), storm.come(3)
    storm.answer()
    storm.answer()
    assert all(attempt.answer for attempt in honest)
    assert sum(attempt.answered for attempt in flood) <= 10


# -- bounds


def test_waiting_is_bounded_in_number(guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_IN_LINE", 40)
    storm = Storm(guarded())
    storm.come(500)
    assert storm.uris() == {TOO_MANY: 500 - 100 - 20}
    (honest,) = storm.come(1, THERE)
    assert not honest.answered  # its check is under way
    assert storm.checks[-1].asked


def test_who_cannot_be_answered_in_time_is_told_when_to_come_back_and_not_all_at_once(guarded: MakeGuarded) -> None:
    """50 are checked a second, so that 1,500 of 2,000 would have to wait for too long."""
    storm = Storm(guarded())
    storm.come(2000)
    for _ in range(110):
        storm.guard.clock.advance(0.1)
        for check in storm.asked()[:5]:
            check.answer()
    told = [attempt.no[1] for attempt in storm.attempts if attempt.uri == TOO_MANY and attempt.no]
    assert 1200 < len(told) < 1500
    seconds = [
        int(found[1])
        for text in told
        if (found := re.fullmatch(r"too many attempts at once - try again in (\d+) seconds", text))
    ]
    assert len(seconds) == len(told)
    assert 1 <= min(seconds) <= 3
    assert 12 <= max(seconds) <= LATEST
    assert max(Counter(seconds).values()) < len(told) / 6


def test_nothing_of_it_is_left_behind(guarded: MakeGuarded) -> None:
    storm = Storm(guarded())
    storm.come(500)
    storm.come(50, authid="fleet")
    storm.guard.clock.pump([DEADLINE, *[0.0] * 20, DEADLINE, *[0.0] * 20, DEADLINE])
    assert len(storm.attempts) == sum(attempt.answered for attempt in storm.attempts)
    assert storm.guard.held() == 0
    waiting = storm.guard.guard._turns
    assert not any((waiting._lines, waiting._next, waiting._by_age, waiting._throttle._underway))


@pytest.mark.parametrize("method", ["ticket", "cryptosign"])
@pytest.mark.parametrize("served", [0, 1], ids=["before", "after"])
def test_those_whose_proxy_is_gone_leave_nothing_behind(guarded: MakeGuarded, method: str, served: int) -> None:
    """In line, in a check and on the way to a no alike, before or after the first of them have had their answer."""
    storm = Storm(guarded())
    storm.come(300, method=method)
    storm.come(50, authid="fleet", method=method)
    for _ in range(served):
        storm.answer(Refused("no such credential"))
    for attempt in storm.attempts:
        attempt.give_up()
    storm.guard.clock.pump([DEADLINE, *[0.0] * 20, DEADLINE, *[0.0] * 20, DEADLINE])
    assert storm.guard.held() == 0
    waiting = storm.guard.guard._turns
    assert not any((waiting._lines, waiting._next, waiting._by_age, waiting._throttle._underway))


def test_the_audit_tells_of_them(guarded: MakeGuarded) -> None:
    storm = Storm(guarded())
    storm.come(303)
    storm.guard.clock.pump([2 * DEADLINE, *[0.0] * 9])
    reasons = {one["reason"] for one in storm.guard.audit if one["outcome"] == "throttled"}
    assert reasons == {turns.CROWDED}
    assert "ticket" not in json.dumps([one["reason"] for one in storm.guard.audit])
