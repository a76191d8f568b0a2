"""Does the node find whom it should, as they stand now, without waiting for slow things?"""

import json
import os
import secrets
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE
from nacl.pwhash import argon2id
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, maybeDeferred
from twisted.internet.selectreactor import SelectReactor

import database
import principals
import registry
import threads
from database import StoreError
from principals import BY_IDS, BY_KEY, BY_TICKET, Credential, Principals, chosen_verifier, decoy, ticket_digest
from threads import Busy

PATIENCE = 30.0  # seconds
CHOSEN, OTHER_CHOSEN, NEVER = "secret123", "correct horse", secrets.token_hex()
VERIFIERS = {  # as cheap as can be: what is asked here isn't the price
    ticket: argon2id.str(ticket.encode(), argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN).decode()
    for ticket in (CHOSEN, OTHER_CHOSEN, NEVER)
}
KEY, OTHER_KEY = (bytes(SigningKey(seed * 32).verify_key).hex() for seed in (b"1", b"2"))
TICKET = secrets.token_urlsafe(32)


pytest_plugins = ["postgres"]
only_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


class Loop:
    """A reactor in a thread of its own, and a way to ask it something from here."""

    def __init__(self) -> None:
        self.reactor = SelectReactor()
        self._thread = threading.Thread(target=self.reactor.run, args=(False,))
        self._thread.start()

    def start(self, question: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Ask in the reactor's thread; what is returned has the answer once it is there."""
        answer: Future[Any] = Future()

        def ask() -> None:
            deferred = maybeDeferred(question, *args)
            deferred.addCallbacks(answer.set_result, lambda failure: answer.set_exception(failure.value))

        self.reactor.callFromThread(ask)
        return answer

    def ask(self, question: Callable[..., Any], *args: Any) -> Any:
        """Ask, and wait for the answer."""
        return self.start(question, *args).result(PATIENCE)

    def stop(self) -> None:
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture(autouse=True)
def cheap_decoy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principals, "decoy", lambda: VERIFIERS[NEVER])


@pytest.fixture
def path(store_url: str) -> str:
    """A store with alice, who has one of each, and bob, who has nothing; of each engine in turn."""
    path = store_url
    database.create(path)
    with closing(database.connect(path)) as store:
        for authid in "alice", "bob":
            registry.add(store, {"authid": authid, "realm": "realm1", "role": "frontend", "extra": {"of": authid}})
        registry.add_credential(store, "alice", {"kind": "key", "verifier": KEY})
        registry.add_credential(store, "alice", {"kind": "ticket", "verifier": ticket_digest(TICKET)})
        registry.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[CHOSEN]})
    return path


@pytest.fixture
def store(path: str) -> Iterator[database.Connection]:
    """The same store, open for an operator's changes."""
    with closing(database.connect(path)) as connection:
        yield connection


@pytest.fixture
def known(loop: Loop, path: str) -> Iterator[Principals]:
    """The same store as the node has it."""
    known = Principals(path, loop.reactor)
    yield known
    loop.ask(known.close)
    loop.ask(known.close)  # as at the reactor's shutdown


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verifiers that a ticket is checked against, one after the other."""
    verifiers: list[str] = []
    verify = principals._verify_chosen

    def record(verifier: str, ticket: str) -> bool:
        verifiers.append(verifier)
        return verify(verifier, ticket)

    monkeypatch.setattr(principals, "_verify_chosen", record)
    return verifiers


# Finding


def test_by_key(loop: Loop, known: Principals) -> None:
    found = loop.ask(known.by_key, KEY)
    assert (found.authid, found.realm, found.role, found.extra) == ("alice", "realm1", "frontend", {"of": "alice"})
    assert (found.kind, found.verifier, found.state, found.expires) == ("key", KEY, "active", None)
    assert loop.ask(known.by_key, bytes(SigningKey.generate().verify_key).hex()) is None


@pytest.mark.parametrize(("ticket", "kind"), [(TICKET, "ticket"), (CHOSEN, "chosen")], ids=["made", "chosen"])
def test_by_ticket(loop: Loop, known: Principals, ticket: str, kind: str) -> None:
    found = loop.ask(known.by_ticket, "alice", ticket)
    assert (found.authid, found.kind, found.state) == ("alice", kind, "active")
    for authid in "bob", "nobody", "ALICE", "alice' OR 1=1 --":
        assert loop.ask(known.by_ticket, authid, ticket) is None


@pytest.mark.parametrize(
    "guess",
    [
        "",
        "wrong",
        TICKET[:-1],
        TICKET + " ",
        TICKET.swapcase(),
        CHOSEN + "\x00",
        CHOSEN.upper(),
        KEY,  # a public key is no ticket
        ticket_digest(TICKET),  # what a thief of the store finds there opens nothing
        VERIFIERS[CHOSEN],
        "x" * 1024,
        "größe 😀",
    ],
    ids=lambda guess: f"{len(guess)} characters",
)
def test_no_other_ticket(loop: Loop, known: Principals, guess: str) -> None:
    assert loop.ask(known.by_ticket, "alice", guess) is None


def test_the_digest_of_a_ticket_is_no_key(loop: Loop, known: Principals) -> None:
    assert loop.ask(known.by_key, ticket_digest(TICKET)) is None


def test_a_key_is_no_digest_of_a_ticket(
    loop: Loop, known: Principals, store: database.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principals, "ticket_digest", lambda ticket: KEY)
    assert loop.ask(known.by_ticket, "alice", "a ticket whose digest is the key") is None


def test_two_chosen_tickets_count_side_by_side(loop: Loop, known: Principals, store: database.Connection) -> None:
    registry.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[OTHER_CHOSEN]})
    found = {loop.ask(known.by_ticket, "alice", ticket).id for ticket in (CHOSEN, OTHER_CHOSEN)}
    assert len(found) == 2
    assert loop.ask(known.by_ticket, "alice", "wrong") is None


def test_by_ids(loop: Loop, known: Principals, store: database.Connection) -> None:
    identifier = loop.ask(known.by_key, KEY).id
    unknown = [f"{number:016x}" for number in range(2 * principals.AT_ONCE)]
    assert loop.ask(known.by_ids, []) == loop.ask(known.by_ids, unknown) == {}
    for some in [identifier], [*unknown, identifier], [identifier, *unknown, identifier]:
        found = loop.ask(known.by_ids, some)
        assert {name: credential.verifier for name, credential in found.items()} == {identifier: KEY}
    registry.remove(store, "alice")
    assert loop.ask(known.by_ids, [identifier]) == {}


# Nothing is cached


def test_each_answer_is_as_things_stand_now(loop: Loop, known: Principals, store: database.Connection) -> None:
    def states() -> set[str]:
        return {
            loop.ask(known.by_key, KEY).state,
            loop.ask(known.by_ticket, "alice", TICKET).state,
            loop.ask(known.by_ticket, "alice", CHOSEN).state,
        }

    def set_times(not_before: float | None, expires: float | None) -> None:
        store.execute("UPDATE credential SET not_before = ?, expires = ?", (not_before, expires))

    now = registry.now(store)
    assert states() == {"active"}
    registry.revoke(store, "alice")
    assert states() == {"revoked"}
    registry.restore(store, "alice")
    assert states() == {"active"}
    set_times(now + 1000, None)
    assert states() == {"not yet"}
    set_times(None, now)
    assert states() == {"expired"}
    assert loop.ask(known.by_key, KEY).expires == now
    set_times(now, now + 1000)
    assert states() == {"active"}
    registry.remove(store, "alice")
    assert loop.ask(known.by_key, KEY) is None
    assert loop.ask(known.by_ticket, "alice", TICKET) is loop.ask(known.by_ticket, "alice", CHOSEN) is None


def test_changes_since_a_point(loop: Loop, known: Principals, store: database.Connection) -> None:
    credential = loop.ask(known.by_key, KEY).id
    start, none = loop.ask(known.changes, None)
    assert none == []
    registry.revoke(store, "alice", credential)
    registry.remove(store, "bob")
    point, changed = loop.ask(known.changes, start)
    assert list(map(tuple, changed)) == [("alice", credential), ("bob", None)]
    assert loop.ask(known.changes, point)[1] == []
    assert loop.ask(known.changes, start)[1] == changed


# One indexed probe each


@only_sqlite  # test_postgresql.py asks the other one
@pytest.mark.parametrize("query", [BY_KEY, BY_TICKET, BY_IDS.format("?, ?"), principals.CHANGES, principals.ANY_CHOSEN])
def test_lookups_are_index_probes(store: database.Connection, query: str) -> None:
    plan = [row[3] for row in store.execute("EXPLAIN QUERY PLAN " + query, (1,) * query.count("?"))]
    if query == principals.ANY_CHOSEN:  # the first entry of an index that holds nothing else; LIMIT ends it there
        assert plan == ["SCAN credential USING INDEX credential_chosen"]
    else:
        assert any(step.startswith("SEARCH") for step in plan)
        assert not any("SCAN" in step or "TEMP B-TREE" in step for step in plan)


@only_sqlite
def test_a_lookup_is_one_query(loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connect = database.connect

    def traced(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(database, "connect", traced)
    for question in (known.by_key, KEY), (known.by_ticket, "alice", TICKET), (known.by_ticket, "alice", CHOSEN):
        loop.ask(*question)  # opens a connection, the first time
        asked.clear()
        loop.ask(*question)
        assert [sql.split()[0] for sql in asked] == ["SELECT"]


# Lookups have threads of their own, so the reactor never waits


def all_at_once(loop: Loop, questions: list[Any]) -> list[Any]:
    """The answers to questions that are asked in one turn of the reactor; exceptions count as answers."""

    def ask() -> "Deferred[Any]":
        return gatherResults([ensureDeferred(question).addErrback(lambda no: no.value) for question in questions])

    return list(loop.ask(ask))


@only_sqlite
def test_a_row_that_cannot_be_read_is_nobody_elses_trouble(
    loop: Loop, known: Principals, store: database.Connection
) -> None:
    registry.add_credential(store, "bob", {"kind": "key", "verifier": OTHER_KEY})
    store.execute("UPDATE principal SET extra = '{' WHERE authid = 'bob'")
    first, broken, last = all_at_once(loop, [known.by_key(key) for key in (KEY, OTHER_KEY, KEY)])
    assert isinstance(broken, ValueError)
    assert first == last == loop.ask(known.by_key, KEY)


@only_sqlite
def test_what_is_wrong_with_the_store_is_everybodys_trouble(loop: Loop, known: Principals, path: str) -> None:
    Path(path).rename(path + "-away")
    assert [type(answer) for answer in all_at_once(loop, [known.by_key(KEY), known.by_key(OTHER_KEY)])] == [
        StoreError
    ] * 2
    Path(path + "-away").rename(path)
    assert all_at_once(loop, [known.by_key(KEY), known.by_key(OTHER_KEY)])[0].kind == "key"


@only_sqlite
def test_the_reactor_does_not_wait_and_the_queue_is_bounded(
    loop: Loop, known: Principals, store: database.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "QUESTIONS_WAITING", 4)
    store.execute("PRAGMA locking_mode = EXCLUSIVE")
    store.execute("BEGIN IMMEDIATE")
    store.execute("UPDATE principal SET role = 'other'")
    asked = [loop.start(known.by_key, KEY) for _ in range(5)]
    assert loop.ask(lambda: "the reactor goes on") == "the reactor goes on"
    with pytest.raises(Busy):
        asked[4].result(PATIENCE)
    assert not any(one.done() for one in asked[:4])
    store.execute("COMMIT")
    store.close()
    assert {one.result(PATIENCE).role for one in asked[:4]} == {"other"}


@only_sqlite
def test_a_lookup_that_has_waited_for_too_long_is_given_up(
    loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "LONGEST_WAIT", -1.0)
    with pytest.raises(Busy, match="too long"):
        loop.ask(known.by_key, KEY)
    monkeypatch.undo()
    assert loop.ask(known.by_key, KEY)


@only_sqlite
def test_whatever_is_raised_the_threads_go_on(loop: Loop, known: Principals) -> None:
    def question(connection: Any) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        loop.ask(known._lookups.ask, question)
    assert loop.ask(known.by_key, KEY)


@only_sqlite
def test_closing_does_not_wait_for_the_queue(
    loop: Loop, known: Principals, store: database.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the queue would wait for the lock: for a minute in all."""
    monkeypatch.setattr(threads, "LONGEST_WAIT", PATIENCE)
    store.execute("PRAGMA locking_mode = EXCLUSIVE")
    store.execute("BEGIN IMMEDIATE")
    asked = [loop.start(known.by_key, KEY) for _ in range(int(60 / database.BUSY))]
    loop.ask(known.close)
    store.execute("ROLLBACK")
    assert Busy in {type(one.exception(PATIENCE)) for one in asked} <= {StoreError, Busy}
    with pytest.raises(Busy):
        loop.ask(known.by_key, KEY)


@only_sqlite
def test_the_reactor_may_stop_while_lookups_are_under_way(path: str) -> None:
    """A connection that is closed in the middle of a query would take the process down."""
    script = """
import sys
from twisted.internet import reactor
from principals import open_principals, _by_key
known = open_principals(sys.argv[1])
def again(nobody):
    if nobody is None:  # and no failure: they are closed
        known._lookups.ask(_by_key, "0" * 64).addBoth(again)
def begin():
    for _ in range(20):
        again(None)
    reactor.callLater(0.2, reactor.stop)
reactor.callWhenRunning(begin)
reactor.run()
assert not any(thread.is_alive() for thread in known._lookups._threads)
"""
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    for _ in range(3):
        command = [sys.executable, "-c", script, path]
        subprocess.run(command, env=environment, check=True, timeout=PATIENCE, capture_output=True)


# Chosen tickets: slow by design, and nobody else waits for them


def test_a_made_ticket_takes_the_fast_path(loop: Loop, known: Principals, hashed: list[str]) -> None:
    assert loop.ask(known.by_ticket, "alice", TICKET)
    assert loop.ask(known.by_key, KEY)
    assert hashed == []


@pytest.mark.parametrize("authid", ["alice", "bob", "nobody"])
def test_every_no_costs_one_check(loop: Loop, known: Principals, hashed: list[str], authid: str) -> None:
    assert loop.ask(known.by_ticket, authid, "wrong") is None
    assert hashed == [VERIFIERS[CHOSEN] if authid == "alice" else VERIFIERS[NEVER]]


def test_without_chosen_tickets_there_is_nothing_to_hide(
    loop: Loop, known: Principals, store: database.Connection, hashed: list[str]
) -> None:
    store.execute("DELETE FROM credential WHERE kind = 'chosen'")
    assert loop.ask(known.by_ticket, "alice", "wrong") is None
    assert hashed == []


def test_the_decoy_is_at_the_price_of_a_real_one() -> None:
    def price(verifier: str) -> str:
        return verifier.rpartition("$")[0].rpartition("$")[0]

    assert price(decoy()) == price(chosen_verifier("x")) == "$argon2id$v=19$m=65536,t=2,p=1"


def test_chosen_tickets_are_salted() -> None:
    assert chosen_verifier("same") != chosen_verifier("same")


def test_checks_are_as_many_as_cores_and_their_queue_is_bounded(
    loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, lock, at_once, most = threading.Event(), threading.Lock(), [0], [0]

    def slow(verifier: str, ticket: str) -> bool:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        go_on.wait(PATIENCE)
        with lock:
            at_once[0] -= 1
        return True

    monkeypatch.setattr(principals, "_verify_chosen", slow)
    room, too_many = principals.HASHERS + principals.WAITING, 5
    answers = [loop.start(known.by_ticket, "alice", f"guess {i}") for i in range(room + too_many)]
    try:
        refused = [answer.exception(PATIENCE) for answer in sooner(answers, too_many)]
        assert [type(error) for error in refused] == [Busy] * too_many
        assert not any("guess" in "".join(traceback.format_exception(error)) for error in refused)  # type: ignore[arg-type]
        # Meanwhile keys and made tickets go on.
        assert loop.ask(known.by_key, KEY).authid == "alice"
        assert loop.ask(known.by_ticket, "alice", TICKET).kind == "ticket"
        assert sum(answer.done() for answer in answers) == too_many
    finally:
        go_on.set()
    good = [answer.result(PATIENCE) for answer in answers if not isinstance(answer.exception(PATIENCE), Busy)]
    assert [found.authid for found in good] == ["alice"] * room
    assert most[0] == principals.HASHERS
    assert loop.ask(known.by_ticket, "alice", "again").authid == "alice"  # there is room again


def sooner(answers: "list[Future[Any]]", number: int) -> "list[Future[Any]]":
    """The answers that are there, once there are so many of them."""
    deadline = time.monotonic() + PATIENCE
    while len(done := [answer for answer in answers if answer.done()]) < number:
        assert time.monotonic() < deadline, f"{len(done)} answers instead of {number}"
        wait([answer for answer in answers if not answer.done()], timeout=0.1, return_when="FIRST_COMPLETED")
    return done


def test_many_at_once(loop: Loop, known: Principals, store: database.Connection) -> None:
    keys = {f"device{i}": bytes(SigningKey.generate().verify_key).hex() for i in range(100)}
    devices = [
        {"authid": authid, "realm": "devices", "role": "device", "credentials": [{"kind": "key", "verifier": verifier}]}
        for authid, verifier in keys.items()
    ]
    registry.load(store, [json.dumps(device).encode() for device in devices])
    answers = {authid: loop.start(known.by_key, verifier) for authid, verifier in keys.items()}
    assert {authid: answer.result(PATIENCE).authid for authid, answer in answers.items()} == {a: a for a in keys}


# Nobody learns a secret


def test_no_verifier_in_a_repr(loop: Loop, known: Principals) -> None:
    found: Credential = loop.ask(known.by_ticket, "alice", TICKET)
    assert found.verifier
    assert found.verifier not in f"{found!r} {found} {known!r}"


@only_sqlite
def test_no_ticket_in_an_exception(loop: Loop, known: Principals, path: str) -> None:
    loop.ask(known.by_key, KEY)
    Path(path).write_bytes(b"garbage" * 1000)
    for _ in range(2):
        error = loop.start(known.by_ticket, "alice", TICKET).exception(PATIENCE)
        assert isinstance(error, database.StoreError)
        told = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
        assert TICKET not in told + repr(error) + repr(error.__context__)


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_a_store_that_is_no_store_is_noticed_at_the_start(loop: Loop, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(database.StoreError, match=r"other\.db"):
        Principals(str(path), loop.reactor)
    assert (path.read_bytes() if path.exists() else None) == content
