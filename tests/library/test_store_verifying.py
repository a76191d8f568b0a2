"""Is a right chosen ticket checked once, a wrong one always, and does what is remembered tell nothing?"""

import gc
import pickle
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from nacl.pwhash import argon2id
from stores import CHOSEN, OTHER_CHOSEN, PATIENCE, VERIFIERS, Loop, by_ticket, only_sqlite
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults

from wampauth import Refused
from wampauth.claims import Principal, TicketClaim
from wampauth.places import Busy
from wampauth.store import Connection, tickets, verifying, writing
from wampauth.store.pool import Threads
from wampauth.store.principals import Principals
from wampauth.store.threads import FairQueue
from wampauth.store.verifying import Remembered, Verifying, forget_tickets
from wampauth.testing import login as login_once

pytest_plugins = ["postgres", "store_fixtures"]

HOME, AWAY = "192.0.2.1", "192.0.2.2"
ANOTHER = argon2id.str(CHOSEN.encode(), argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN).decode()  # of the same ticket


class Checks:
    """The checks that are made, and a gate in front of them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []
        self.begun, self.gate = threading.Semaphore(0), threading.Event()
        self.gate.set()
        self._verify = tickets.verify_chosen

    def verify(self, verifier: str, ticket: str) -> bool:
        self.made.append((verifier, ticket))
        self.begun.release()
        assert self.gate.wait(PATIENCE)
        return self._verify(verifier, ticket)

    def wait_for_one(self) -> None:
        """Until a thread is at one."""
        assert self.begun.acquire(timeout=PATIENCE)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checks]:
    checks = Checks()
    monkeypatch.setattr(tickets, "verify_chosen", checks.verify)
    monkeypatch.setattr(Remembered, "is_on", True)
    yield checks
    checks.gate.set()


@pytest.fixture
def verify(loop: Loop) -> Iterator[Verifying]:
    """With one thread, and room for ten."""
    pool = Threads(0, 1)
    pool.start()
    queue = FairQueue(loop.reactor, pool, 10, "full", 1)
    yield Verifying(queue)
    loop.ask(queue.close)
    pool.stop()


def login(loop: Loop, known: Principals, ticket: str, authid: str = "alice", address: str = HOME) -> Principal | None:
    return loop.ask(known.by_ticket, by_ticket(ticket, authid, address))  # type: ignore[no-any-return]


def find(verify: Verifying, ticket: str = CHOSEN, address: str = HOME, authid: str = "alice", *more: str) -> Any:
    return ensureDeferred(verify.find(address, authid, [*more, VERIFIERS[CHOSEN]], ticket))


# What is checked, and what isn't


def test_the_right_ticket_is_checked_once(loop: Loop, known: Principals, checks: Checks) -> None:
    first = login(loop, known, CHOSEN)
    assert first is not None
    assert first.authid == "alice"
    assert checks.made == [(VERIFIERS[CHOSEN], CHOSEN)]
    assert login(loop, known, CHOSEN, address=AWAY) == first
    assert len(checks.made) == 1


@pytest.mark.parametrize("authid", ["alice", "bob", "nobody"])
def test_a_wrong_ticket_is_always_checked_in_full(loop: Loop, known: Principals, checks: Checks, authid: str) -> None:
    """Whether the right one is remembered or not, and however often it was tried."""
    for _ in range(2):
        for _ in range(2):
            checks.made.clear()
            assert login(loop, known, "wrong", authid) is None
            assert len(checks.made) == tickets.MAX_CHOSEN
        assert login(loop, known, CHOSEN)


def test_the_ticket_of_another_principal_is_wrong(
    loop: Loop, known: Principals, store: Connection, checks: Checks
) -> None:
    assert login(loop, known, CHOSEN)
    writing.add_credential(store, "bob", {"kind": "chosen", "verifier": VERIFIERS[OTHER_CHOSEN]})
    for authid in "bob", "nobody":
        checks.made.clear()
        assert login(loop, known, CHOSEN, authid) is None
        assert len(checks.made) == tickets.MAX_CHOSEN


def test_two_with_the_same_ticket_are_two(loop: Loop, known: Principals, store: Connection, checks: Checks) -> None:
    writing.add_credential(store, "bob", {"kind": "chosen", "verifier": ANOTHER})
    for _ in range(2):
        assert [getattr(login(loop, known, CHOSEN, authid), "authid", None) for authid in ("alice", "bob")] == [
            "alice",
            "bob",
        ]
    assert checks.made == [(VERIFIERS[CHOSEN], CHOSEN), (ANOTHER, CHOSEN)]


def test_one_who_has_two_may_use_either(loop: Loop, known: Principals, store: Connection, checks: Checks) -> None:
    writing.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[OTHER_CHOSEN]})
    ids = {ticket: {getattr(login(loop, known, ticket), "credential", None) for _ in range(2)} for ticket in VERIFIERS}
    assert ids[CHOSEN] != ids[OTHER_CHOSEN]
    assert [len(found) for found in ids.values()] == [1, 1, 1]
    checks.made.clear()
    assert login(loop, known, CHOSEN)
    assert login(loop, known, OTHER_CHOSEN)
    assert not checks.made


# What the store says holds at once


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE principal SET revoked = 1 WHERE authid = 'alice'", "revoked"),
        ("UPDATE credential SET revoked = 1 WHERE kind = 'chosen'", "revoked"),
        ("UPDATE credential SET expires = 1 WHERE kind = 'chosen'", "expired"),
        ("UPDATE credential SET not_before = 99999999999 WHERE kind = 'chosen'", "not yet"),
    ],
)
def test_one_that_does_not_count_any_more(
    loop: Loop, known: Principals, store: Connection, checks: Checks, change: str, reason: str
) -> None:
    assert login(loop, known, CHOSEN)
    store.execute(change)
    with pytest.raises(Refused, match=reason):
        login(loop, known, CHOSEN)


@pytest.mark.parametrize("verifier", [VERIFIERS[OTHER_CHOSEN], ANOTHER], ids=["another", "the same, anew"])
def test_one_that_was_replaced_is_checked_anew(
    loop: Loop, known: Principals, store: Connection, checks: Checks, verifier: str
) -> None:
    assert login(loop, known, CHOSEN)
    store.execute("UPDATE credential SET verifier = ? WHERE kind = 'chosen'", (verifier,))
    assert bool(login(loop, known, CHOSEN)) is (verifier == ANOTHER)
    assert checks.made[1] == (verifier, CHOSEN)


def test_one_that_is_removed_is_nobodys(loop: Loop, known: Principals, store: Connection, checks: Checks) -> None:
    assert login(loop, known, CHOSEN)
    store.execute("DELETE FROM credential WHERE kind = 'chosen'")
    assert login(loop, known, CHOSEN) is None


def test_what_is_answered_is_what_the_store_says_now(
    loop: Loop, known: Principals, store: Connection, checks: Checks
) -> None:
    was = login(loop, known, CHOSEN)
    assert was
    store.execute("UPDATE principal SET role = 'other' WHERE authid = 'alice'")
    assert login(loop, known, CHOSEN) == replace(was, role="other")


# Many at once


@only_sqlite
def test_a_crowd_with_one_ticket_is_one_check(loop: Loop, known: Principals, checks: Checks) -> None:
    checks.gate.clear()
    answers = [loop.start(known.by_ticket, by_ticket(CHOSEN, address=f"192.0.2.{number % 5}")) for number in range(300)]
    checks.wait_for_one()
    checks.gate.set()
    assert {answer.result(PATIENCE).authid for answer in answers} == {"alice"}
    assert checks.made == [(VERIFIERS[CHOSEN], CHOSEN)]


def test_a_crowd_with_one_wrong_ticket_pays_for_each(loop: Loop, verify: Verifying, checks: Checks) -> None:
    found = loop.ask(lambda: gatherResults([find(verify, "wrong") for _ in range(5)]))
    assert found == [None] * 5
    assert len(checks.made) == 5 * tickets.MAX_CHOSEN


def test_a_wrong_crowd_does_not_get_round_the_queues_bound(loop: Loop, verify: Verifying, checks: Checks) -> None:
    asked = [loop.start(find, verify, "wrong") for _ in range(30)]
    outcomes = [type(answer.exception(PATIENCE)) for answer in asked]
    assert outcomes.count(Busy) >= 30 - 1 - 10
    assert len(checks.made) <= 11 * tickets.MAX_CHOSEN


def test_who_gives_up_takes_nothing_from_the_others(loop: Loop, verify: Verifying, checks: Checks) -> None:
    checks.gate.clear()
    both: list[Deferred[Any]] = loop.ask(lambda: [find(verify) for _ in range(2)])
    checks.wait_for_one()
    given_up = loop.start(both[0].addErrback, lambda no: no.trap(CancelledError))
    loop.ask(both[0].cancel)
    assert given_up.result(PATIENCE) is CancelledError
    checks.gate.set()
    assert loop.ask(lambda: both[1]) == 0
    assert loop.ask(find, verify) == 0  # and it is remembered
    assert len(checks.made) == 1


def test_what_all_have_given_up_is_not_begun(loop: Loop, verify: Verifying, checks: Checks) -> None:
    checks.gate.clear()
    first = loop.start(find, verify, "first")
    checks.wait_for_one()
    waiting: list[Deferred[Any]] = loop.ask(lambda: [find(verify) for _ in range(3)])
    for one in waiting:
        loop.start(one.addErrback, lambda no: None)
        loop.ask(one.cancel)
    checks.gate.set()
    assert first.result(PATIENCE) is None
    assert loop.ask(find, verify, "last") is None
    assert CHOSEN not in {ticket for _, ticket in checks.made}
    assert not verify._checks


def test_nobody_waits_in_the_line_of_another_address(loop: Loop, verify: Verifying, checks: Checks) -> None:
    """One address has a long line, and at its end the ticket that somebody else has, too."""
    checks.gate.clear()
    line = [loop.start(find, verify, f"wrong {number}") for number in range(4)] + [loop.start(find, verify)]
    checks.wait_for_one()
    elsewhere = loop.start(find, verify, CHOSEN, AWAY)
    checks.gate.set()
    assert elsewhere.result(PATIENCE) == 0
    assert [answer.result(PATIENCE) for answer in line] == [None] * 4 + [0]
    tried = list(dict.fromkeys(ticket for _, ticket in checks.made))
    assert tried.index(CHOSEN) <= 2
    assert sum(ticket == CHOSEN for _, ticket in checks.made) == 1


def test_where_there_is_no_room_one_waits_with_the_others(loop: Loop, verify: Verifying, checks: Checks) -> None:
    checks.gate.clear()
    loop.start(find, verify, "first")
    checks.wait_for_one()
    crowd = [loop.start(find, verify, CHOSEN, f"192.0.2.{number}") for number in range(50)]
    checks.gate.set()
    assert [answer.result(PATIENCE) for answer in crowd] == [0] * 50
    assert sum(ticket == CHOSEN for _, ticket in checks.made) == 1


def test_a_check_that_fails_fails_for_all_and_is_forgotten(
    loop: Loop, verify: Verifying, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(verifier: str, ticket: str) -> bool:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(tickets, "verify_chosen", broken)
        asked = [loop.start(find, verify) for _ in range(3)]
        assert [type(answer.exception(PATIENCE)) for answer in asked] == [MemoryError] * 3
    assert loop.ask(find, verify) == 0
    assert not verify._checks


# What is remembered


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_remembered_for_a_limited_time() -> None:
    clock = Clock()
    remembered = Remembered(clock)
    remembered.add("verifier", "ticket")
    clock.now = verifying.LONGEST - 1
    assert remembered.find(["other", "verifier"], "ticket") == 1
    clock.now = verifying.LONGEST
    assert remembered.find(["other", "verifier"], "ticket") is None
    assert not len(remembered)


def test_it_is_remembered_in_a_limited_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "MOST", 3)
    remembered = Remembered()
    for number in range(10):
        remembered.add("verifier", f"ticket {number}")
    assert len(remembered) == 3
    assert [remembered.find(["verifier"], f"ticket {number}") for number in range(10)] == [None] * 7 + [0] * 3


def test_only_right_ones_are_remembered(loop: Loop, verify: Verifying, checks: Checks) -> None:
    for number in range(20):
        assert loop.ask(find, verify, f"wrong {number}") is None
    assert not len(verify._remembered)
    assert loop.ask(find, verify) == 0
    assert len(verify._remembered) == 1


def test_where_a_verifier_ends_and_a_ticket_begins_makes_a_difference() -> None:
    remembered = Remembered()
    remembered.add("ab", "c")
    assert remembered.find(["a"], "bc") is None
    assert remembered.find(["abc"], "") is None


def test_each_process_has_a_key_of_its_own() -> None:
    assert Remembered().digest("verifier", "ticket") != Remembered().digest("verifier", "ticket")


@pytest.mark.parametrize("verifiers", [[], ["one"], ["one", "two"]])
def test_a_no_is_the_same_work_whoever_is_asked_for(monkeypatch: pytest.MonkeyPatch, verifiers: list[str]) -> None:
    remembered = Remembered()
    remembered.add("one", "right")
    made: list[tuple[str, ...]] = []
    digest = remembered.digest

    def count(*parts: str) -> bytes:
        made.append(parts)
        return digest(*parts)

    monkeypatch.setattr(remembered, "digest", count)
    assert remembered.find(verifiers, "wrong") is None
    assert len(made) == tickets.MAX_CHOSEN


def test_nothing_of_a_secret_is_kept(loop: Loop, verify: Verifying, checks: Checks) -> None:
    assert loop.ask(find, verify) == 0
    kept = [verify, verify._remembered, verify._remembered._until, verify._checks]
    assert CHOSEN not in repr(kept) + repr([vars(verify), vars(verify._remembered)])
    assert VERIFIERS[CHOSEN] not in repr(kept) + repr([vars(verify), vars(verify._remembered)])
    with suppress(Exception):
        assert CHOSEN.encode() not in pickle.dumps(verify._remembered._until)
    gc.collect()
    holders = [one for one in gc.get_objects() if isinstance(one, verifying._Check)]
    assert not holders


# Switched off


def test_it_can_be_switched_off(loop: Loop, verify: Verifying, checks: Checks) -> None:
    assert loop.ask(find, verify) == 0
    forget_tickets()
    checks.made.clear()
    assert loop.ask(lambda: gatherResults([find(verify) for _ in range(3)])) == [0] * 3
    assert len(checks.made) == 3


@pytest.mark.parametrize(("settings", "is_on"), [({}, True), ({"remember_tickets": False}, False)])
def test_it_is_switched_off_by_a_setting(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], is_on: bool
) -> None:
    class Checks:
        def __init__(self, settings: dict[str, Any]) -> None: ...

        def ticket(self, claim: TicketClaim) -> Principal:
            return Principal("alice", "realm1", "frontend")

    monkeypatch.setattr(Remembered, "is_on", True)
    claim = TicketClaim(authid="alice", ticket=CHOSEN, realm="realm1")
    answers: list[Any] = []
    login_once(Checks, {"guard": settings}, claim).addBoth(answers.append)
    assert answers[0].authid == "alice"
    assert Remembered.is_on is is_on
