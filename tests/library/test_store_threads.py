"""Does the reactor never wait for the store, and does the process end whatever the store does?"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
import pytest
from conftest import Bundle, MakeBundle, wait_for
from stores import KEY, OTHER_KEY, PATIENCE, TICKET, Loop, by_key, by_ticket, only_postgresql, only_sqlite
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from wampauth import store as stores
from wampauth.places import Busy, Stopping
from wampauth.store import (
    SERVER_THREADS,
    Connection,
    StoreError,
    connect,
    principals,
    sqlite,
    threads,
    tickets,
    writing,
)
from wampauth.store.engine import BUSY
from wampauth.store.pool import BEHIND, Threads
from wampauth.store.principals import Principals
from wampauth.store.threads import FairQueue, Queue
from wampauth.testing import AUTHENTICATE, CHALLENGE, WELCOME, Node, RawClient

if TYPE_CHECKING:
    from postgres import Server

pytest_plugins = ["postgres", "store_fixtures"]

LEAST = 19  # niceness (sched(7))
PROMISE = 10.0  # seconds in which a process ends whatever its store does; on an idle machine it takes 3


@contextmanager
def locked(path: str) -> Iterator[Connection]:
    """Nobody else can read the store meanwhile."""
    with closing(connect(path)) as store:
        store.execute("PRAGMA locking_mode = EXCLUSIVE")
        store.execute("BEGIN IMMEDIATE")
        store.execute("UPDATE principal SET role = 'other'")
        yield store


def all_at_once(loop: Loop, questions: list[Any]) -> list[Any]:
    """The answers to questions that are asked in one turn of the reactor; exceptions count as answers."""

    def ask() -> "Deferred[Any]":
        return gatherResults([ensureDeferred(question).addErrback(lambda no: no.value) for question in questions])

    return list(loop.ask(ask))


@only_sqlite
def test_no_thread_before_the_first_question(loop: Loop, known: Principals) -> None:
    before = threading.enumerate()
    assert loop.ask(known.by_key, by_key())
    started = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread.name.rpartition("-")[0] for thread in started] == ["PoolThread-store"]
    assert all(thread.daemon for thread in started)


@only_sqlite
def test_a_row_that_cannot_be_read_is_nobody_elses_trouble(loop: Loop, known: Principals, store: Connection) -> None:
    writing.add_credential(store, "bob", {"kind": "key", "verifier": OTHER_KEY})
    store.execute("UPDATE principal SET extra = '{' WHERE authid = 'bob'")
    first, broken, last = all_at_once(loop, [known.by_key(by_key(key)) for key in (KEY, OTHER_KEY, KEY)])
    assert isinstance(broken, ValueError)
    assert first == last == loop.ask(known.by_key, by_key())


@only_sqlite
def test_what_is_wrong_with_the_store_is_everybodys_trouble(loop: Loop, known: Principals, path: str) -> None:
    Path(path).rename(path + "-away")
    answers = all_at_once(loop, [known.by_key(by_key()), known.by_key(by_key(OTHER_KEY))])
    assert [type(answer) for answer in answers] == [StoreError] * 2
    Path(path + "-away").rename(path)
    assert all_at_once(loop, [known.by_key(by_key()), known.by_key(by_key(OTHER_KEY))])[0].authid == "alice"


@only_sqlite
def test_what_was_asked_before_the_store_was_looked_at_needs_no_other_look(
    loop: Loop, known: Principals, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.ask(known.by_key, by_key())
    queries: Any = known._queries
    looks: list[Connection] = []
    is_stale = sqlite.Connection.is_stale

    def look(store: sqlite.Connection) -> bool:
        looks.append(store)
        return is_stale(store)

    monkeypatch.setattr(sqlite.Connection, "is_stale", look)

    def ask(moment: float) -> int:
        """So many looks were taken for a question of that moment."""
        looks.clear()
        assert queries.answer(moment, lambda store: store.execute("SELECT 23").fetchall()) == [(23,)]
        return len(looks)

    before = time.monotonic()
    assert ask(before) == 0  # it is opened
    assert [ask(before), ask(before), ask(time.monotonic()), ask(before)] == [0, 0, 1, 0]
    replaced = Path(path).with_suffix(".new")
    replaced.write_bytes(Path(path).read_bytes())
    replaced.replace(path)
    assert ask(time.monotonic()) == 1
    assert queries.connections[threading.get_ident()] not in looks  # another one was opened


@only_sqlite
def test_the_reactor_does_not_wait_and_the_queue_is_bounded(
    loop: Loop, known: Principals, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(principals, "QUESTIONS_WAITING", 4)
    with locked(path) as store:
        asked = [loop.start(known.by_key, by_key(address=f"192.0.2.{number}")) for number in range(5)]
        assert loop.ask(lambda: "the reactor goes on") == "the reactor goes on"
        with pytest.raises(Busy):
            asked[4].result(PATIENCE)
        assert not any(one.done() for one in asked[:4])
        watching = loop.start(known.changes, None)  # who watches the sessions has a queue of its own
        store.execute("COMMIT")
    assert {one.result(PATIENCE).role for one in asked[:4]} == {"other"}
    assert watching.result(PATIENCE)[1] is None


def test_what_was_given_up_counts_until_its_thread_is_free(loop: Loop) -> None:
    """Otherwise a flood that gives up early could queue without a limit."""
    pool, go_on = Threads(0, 1), threading.Event()
    pool.start()
    try:
        queue = Queue(loop.reactor, pool, 2, "full")

        def give_up() -> None:
            underway, waiting = (queue.do(go_on.wait, PATIENCE) for _ in range(2))
            for answer in underway, waiting:
                answer.addErrback(lambda no: no.trap(CancelledError))
                answer.cancel()

        loop.ask(give_up)
        for _ in range(3):
            with pytest.raises(Busy, match="full"):
                loop.ask(queue.do, int)
        go_on.set()
        deadline = time.monotonic() + PATIENCE
        while loop.start(queue.do, int).exception(PATIENCE):
            assert time.monotonic() < deadline
    finally:
        go_on.set()
        pool.stop()


@only_sqlite
def test_a_lookup_that_has_waited_for_too_long_is_not_asked(
    loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "LONGEST_WAIT", -1.0)
    with pytest.raises(Busy, match="too long"):
        loop.ask(known.by_key, by_key())
    monkeypatch.undo()
    assert loop.ask(known.by_key, by_key())


@only_sqlite
def test_whatever_is_raised_the_threads_go_on(loop: Loop, known: Principals) -> None:
    def question(connection: Any) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        loop.ask(known._login, "", question)
    assert loop.ask(known.by_key, by_key())


def test_a_connection_that_failed_is_not_used_again(loop: Loop, known: Principals) -> None:
    used = []

    def question(connection: Any, query: str) -> Any:
        used.append(connection)
        return connection.execute(query).fetchall()

    with pytest.raises(StoreError):
        loop.ask(known._login, "", question, "SELECT nonsense")
    assert [tuple(row) for row in loop.ask(known._login, "", question, "SELECT 1")] == [(1,)]
    assert used[0] is not used[1]
    with pytest.raises(used[0].Error):
        used[0].execute("SELECT 1")  # it was closed


# Chosen tickets have threads of their own


def test_checks_are_as_many_as_cores_and_their_queue_is_bounded(
    loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, lock, at_once, most = threading.Event(), threading.Lock(), [0], [0]
    begun = threading.Semaphore(0)

    def slow(verifier: str, ticket: str) -> bool:
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        begun.release()
        go_on.wait(PATIENCE)
        with lock:
            at_once[0] -= 1
        return True

    monkeypatch.setattr(tickets, "verify_chosen", slow)
    monkeypatch.setattr(principals, "HASHING_WAITING", 100)
    room, too_many = principals.HASHING_WAITING, 5
    answers = [
        loop.start(known.by_ticket, by_ticket(f"guess {i}", address=f"192.0.2.{i}")) for i in range(room + too_many)
    ]
    try:
        refused = [answer.exception(PATIENCE) for answer in sooner(answers, too_many)]
        assert [type(error) for error in refused] == [Busy] * too_many
        assert not any("guess" in "".join(traceback.format_exception(error)) for error in refused)  # type: ignore[arg-type]
        # Meanwhile keys and made tickets go on.
        assert loop.ask(known.by_key, by_key()).authid == "alice"
        assert loop.ask(known.by_ticket, by_ticket()).authid == "alice"
        assert sum(answer.done() for answer in answers) == too_many
        assert all(begun.acquire(timeout=PATIENCE) for _ in range(principals.HASHERS))
    finally:
        go_on.set()
    good = [answer.result(PATIENCE) for answer in answers if not isinstance(answer.exception(PATIENCE), Busy)]
    assert [found.authid for found in good] == ["alice"] * room
    assert most[0] == principals.HASHERS
    assert loop.ask(known.by_ticket, by_ticket("again")).authid == "alice"  # there is room again


def sooner(answers: "list[Future[Any]]", number: int) -> "list[Future[Any]]":
    """The answers that are there, once there are so many of them."""
    deadline = time.monotonic() + PATIENCE
    while len(done := [answer for answer in answers if answer.done()]) < number:
        assert time.monotonic() < deadline, f"{len(done)} answers instead of {number}"
        wait([answer for answer in answers if not answer.done()], timeout=0.1, return_when="FIRST_COMPLETED")
    return done


class Turns:
    """A queue of one thread, and what was begun in it, in order."""

    def __init__(self, loop: Loop, room: int) -> None:
        self.begun: list[str] = []
        self.go_on = threading.Event()
        self.pool = Threads(0, 1)
        self.pool.start()
        self._loop = loop
        self._queue = FairQueue(loop.reactor, self.pool, room, "full", 1)

    def work(self, name: str) -> str:
        self.begun.append(name)
        self.go_on.wait(PATIENCE)
        return name

    def ask(self, *addresses: str) -> "list[Future[str]]":
        """One piece of work for each of these, which is called as its address."""
        return [self._loop.start(self._queue.do_for, address, self.work, address) for address in addresses]

    def give_up(self, address: str) -> None:
        def give_up() -> None:
            answer = self._queue.do_for(address, self.work, "given up")
            answer.addErrback(lambda no: no.trap(Busy))
            answer.cancel()

        self._loop.ask(give_up)


@pytest.fixture
def turns(loop: Loop) -> Iterator[Callable[[int], Turns]]:
    made: list[Turns] = []

    def make(room: int) -> Turns:
        made.append(Turns(loop, room))
        return made[-1]

    yield make
    for one in made:
        one.go_on.set()
        one.pool.stop()


def test_an_address_that_asks_for_much_waits_for_itself(turns: Callable[[int], Turns]) -> None:
    queue = turns(100)
    asked = queue.ask(*["mallory"] * 40, "alice", "bob", "alice")
    queue.go_on.set()
    wait(asked, PATIENCE)
    assert queue.begun[:6] == ["mallory", "mallory", "alice", "bob", "mallory", "alice"]
    assert sorted(queue.begun) == sorted(["mallory"] * 40 + ["alice"] * 2 + ["bob"])


def test_no_address_takes_all_the_room(turns: Callable[[int], Turns]) -> None:
    queue = turns(16)
    flood, honest = queue.ask(*["mallory"] * 100), queue.ask("alice", "bob", "alice")
    queue.go_on.set()
    wait([*flood, *honest], PATIENCE)
    assert sum(one.exception() is None for one in flood) == 8
    assert [one.result() for one in honest] == ["alice", "bob", "alice"]
    again = queue.ask(*["mallory"] * 8)  # there is room again
    assert [one.result(PATIENCE) for one in again] == ["mallory"] * 8


def test_what_is_given_up_before_its_turn_is_not_begun(turns: Callable[[int], Turns]) -> None:
    queue = turns(16)
    (first,) = queue.ask("alice")
    for _ in range(7):
        queue.give_up("mallory")
    queue.go_on.set()
    assert first.result(PATIENCE) == "alice"
    assert [one.result(PATIENCE) for one in queue.ask(*["bob"] * 8)] == ["bob"] * 8
    assert queue.begun == ["alice"] + ["bob"] * 8


# The threads


class Unable(threading.Thread):
    """The system has as many as it allows."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_what_no_thread_can_be_started_for_fails_and_the_next_is_done(
    turns: Callable[[int], Turns], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = turns(16)
    queue.go_on.set()
    with monkeypatch.context() as full:
        full.setattr(queue.pool, "threadFactory", Unable)
        for one in queue.ask(*["alice"] * 8, "bob"):
            with pytest.raises(RuntimeError, match="can't start new thread"):
                one.result(PATIENCE)
    assert [one.result(PATIENCE) for one in queue.ask(*["alice"] * 8)] == ["alice"] * 8
    assert len(queue.pool.threads) == 1


def test_where_no_other_thread_can_be_started_the_first_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, go_on, done = Threads(0, 2), threading.Event(), SimpleQueue[int]()
    pool.start()
    try:
        pool.callInThread(go_on.wait, PATIENCE)
        with monkeypatch.context() as full:
            full.setattr(pool, "threadFactory", Unable)
            for number in range(3):
                pool.callInThread(done.put, number)
        go_on.set()
        assert [done.get(timeout=PATIENCE) for _ in range(3)] == [0, 1, 2]
    finally:
        go_on.set()
        pool.stop()


def test_a_thread_is_woken_once_for_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that fails keeps nothing else from being done."""
    woken, go_on, begun = [0], threading.Event(), threading.Event()
    wake = ThreadPool.callInThread

    def counting(pool: ThreadPool, work: Callable[[], None]) -> None:
        woken[0] += 1
        wake(pool, work)

    monkeypatch.setattr(ThreadPool, "callInThread", counting)
    monkeypatch.setattr(Threads, "log", Logger(observer=lambda event: done.put(event["log_failure"].type)))
    done: SimpleQueue[Any] = SimpleQueue()
    pool = Threads(0, 1)
    pool.start()
    try:
        pool.callInThread(begun.set)
        pool.callInThread(go_on.wait, PATIENCE)
        assert begun.wait(PATIENCE)
        pool.callInThread(int, "no number")
        for number in range(3):
            pool.callInThread(done.put, number)
        go_on.set()
        assert [done.get(timeout=PATIENCE) for _ in range(4)] == [ValueError, 0, 1, 2]
        assert woken == [1]
        wait_for(lambda: pool._working == 0)
        pool.callInThread(done.put, 3)
        assert done.get(timeout=PATIENCE) == 3
        assert woken == [2]
    finally:
        go_on.set()
        pool.stop()


def test_as_many_threads_as_there_may_be_work_at_once() -> None:
    together = threading.Barrier(3)
    pool = Threads(0, 2)
    pool.start()
    try:
        for _ in range(2):
            pool.callInThread(together.wait, PATIENCE)
        together.wait(PATIENCE)
    finally:
        pool.stop()


@only_postgresql
def test_a_connection_that_hangs_is_given_up(
    loop: Loop, known: Principals, postgresql: "Server", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thread has one to a process that is frozen, and others would answer."""
    together = threading.Barrier(SERVER_THREADS)
    opened = [loop.start(known._watch, lambda _: together.wait(PATIENCE) >= 0) for _ in range(SERVER_THREADS)]
    assert all(one.exception(PATIENCE) is None for one in opened)
    frozen = [one for one in postgresql.processes() if "owner store_" in " ".join(one.cmdline())]
    assert len(frozen) >= SERVER_THREADS
    for one in frozen:
        one.suspend()
    try:
        hanging = [loop.start(known.changes, None) for _ in range(SERVER_THREADS)]
        wait_for(lambda: len(known._queries._asking) >= SERVER_THREADS)  # type: ignore[union-attr]
        assert not any(one.done() for one in hanging)
        with monkeypatch.context() as patch:
            patch.setattr(threads, "HANGS", 0.0)
            next_one = loop.start(known.changes, None)
            assert all(isinstance(one.exception(PATIENCE), StoreError) for one in hanging)
        assert next_one.result(PATIENCE)
        assert loop.ask(known.by_key, by_key()).authid == "alice"
    finally:
        for one in frozen:
            one.resume()


# The end


@only_sqlite
def test_closing_does_not_wait_for_the_queue(
    loop: Loop, known: Principals, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the queue would wait for the lock: for a minute in all."""
    monkeypatch.setattr(threads, "LONGEST_WAIT", PATIENCE)
    with locked(path):
        asked = [loop.start(known.by_key, by_key()) for _ in range(int(60 / BUSY))]
        loop.ask(known.close)
        assert {type(one.exception(PATIENCE)) for one in asked} == {Stopping}
    with pytest.raises(Stopping, match="the node is stopping"):
        loop.ask(known.by_key, by_key())


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT MAX(x) FROM c"


def test_closing_ends_the_query_that_is_under_way(loop: Loop, known: Principals) -> None:
    begun = threading.Event()

    def one() -> int:
        begun.set()
        return 1

    def question(connection: Any) -> None:
        if isinstance(connection, sqlite3.Connection):  # what isn't running yet can't be interrupted there
            connection.create_function("begun", 0, one)
            connection.execute(ENDLESS.replace("SELECT 1", "SELECT begun()")).fetchall()
        begun.set()
        connection.execute(ENDLESS).fetchall()

    asked = loop.start(known._login, "", question)
    assert begun.wait(PATIENCE)
    thread = loop.ask(lambda: known._queries.threadpool.threads[0])  # type: ignore[union-attr]
    loop.ask(known.close)
    assert isinstance(asked.exception(PATIENCE), Stopping)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_server_gives_up_a_query_that_takes_too_long(
    loop: Loop, postgresql: "Server", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "LONGEST_QUERY", 0.1)
    url = postgresql.create()
    stores.create(url)
    known = stores._principals(url, loop.reactor)
    try:
        with pytest.raises(StoreError, match="statement timeout"):
            loop.ask(known._login, "", lambda connection: connection.execute(ENDLESS))
    finally:
        loop.ask(known.close)
        postgresql.drop(url)


# A whole process with a reactor: it asks without end, and stops when it is told to.
PROCESS = """
import sys
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from wampauth import KeyClaim, TicketClaim, open_store
store = open_store(sys.argv[1])
answers = 0
def again(answer):
    global answers
    answers += 1
    if answers == 1 and answer is None:
        print("answered", flush=True)
    if not str(getattr(answer, "value", "")).endswith("is stopping"):
        ask()
def ask():
    claim = TicketClaim(authid="nobody", ticket="wrong") if answers % 2 else KeyClaim(pubkey="0" * 64)
    question = store.by_ticket(claim) if answers % 2 else store.by_key(claim)
    ensureDeferred(question).addBoth(again)
def begin():
    for _ in range(20):
        ask()
    print("asked", flush=True)
print("open", flush=True)
sys.stdin.readline()
reactor.callWhenRunning(begin)
reactor.run()
print("stopped", flush=True)
"""
HOLDER = """
import fcntl, os, struct, sys
file = os.open(sys.argv[1] + "-shm", os.O_RDWR)
fcntl.fcntl(file, fcntl.F_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 120, 8, 0))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(script: str, path: str) -> "Iterator[subprocess.Popen[str]]":
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, path], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as one:
        try:
            yield one
        finally:
            one.kill()


def hear(running: "subprocess.Popen[str]", expected: str) -> None:
    assert running.stdout is not None
    assert running.stderr is not None
    assert running.stdout.readline() == expected + "\n", running.stderr.read()


def go_on(running: "subprocess.Popen[str]") -> None:
    assert running.stdin is not None
    running.stdin.write("\n")
    running.stdin.flush()
    hear(running, "asked")


@contextmanager
def asking(path: str) -> "Iterator[subprocess.Popen[str]]":
    """A process that asks the store at `path`, and has had answers."""
    with process(PROCESS, path) as running:
        hear(running, "open")
        go_on(running)
        hear(running, "answered")
        yield running


def stop(running: "subprocess.Popen[str]") -> None:
    """Tell it to stop, and see that it does so in time and in peace."""
    running.send_signal(signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=PROMISE)
    assert (running.returncode, stdout, stderr) == (0, "stopped\n", "")


def test_a_process_may_stop_while_lookups_are_under_way(path: str) -> None:
    """A connection that is closed in the middle of a query would take the process down."""
    for _ in range(3):
        with asking(path) as running:
            stop(running)


@only_sqlite
def test_a_process_stops_though_the_store_is_locked(path: str) -> None:
    with process(PROCESS, path) as running:
        hear(running, "open")
        with locked(path):
            go_on(running)
            stop(running)


@only_sqlite
def test_a_process_stops_though_another_holds_all_locks_of_the_log(path: str) -> None:
    """SQLite tries again for 10 s then, in a sleep that isn't interrupted."""
    with closing(connect(path)) as store:
        writing.revoke(store, "bob")  # so that there is a log
        with asking(path) as running, process(HOLDER, path) as holder:
            hear(holder, "held")
            stop(running)


@only_postgresql
def test_a_process_stops_though_the_server_is_dead(path: str, postgresql: "Server") -> None:
    with asking(path) as running:
        postgresql.stop()
        try:
            stop(running)
        finally:
            postgresql.start()


@only_postgresql
def test_a_process_stops_though_the_server_is_frozen(path: str, postgresql: "Server") -> None:
    with asking(path) as running:
        frozen = postgresql.processes()
        for one in frozen:
            one.suspend()
        try:
            stop(running)
        finally:
            for one in frozen:
                one.resume()


# And a whole node


@pytest.fixture
def node(make_bundle: MakeBundle, path: str) -> Iterator[tuple[Bundle, Node]]:
    """A node with that store."""
    bundle = make_bundle(start=False, deadline=PATIENCE)
    file = bundle.directory / bundle.config
    file.write_text(file.read_text().replace('"principals.db"', json.dumps(path)))
    running = bundle.start()
    yield bundle, running
    running.stop()


def stop_node(bundle: Bundle, running: Node) -> None:
    """While a login waits for the store, tell the node to stop, and see that it does so in time."""
    with RawClient(bundle.url) as client:
        assert client.hello("realm1", "ticket", "alice")[0] == CHALLENGE
        client.send(AUTHENTICATE, TICKET, {})
        controller = psutil.Process(json.loads((bundle.directory / "node.pid").read_text())["pid"])
        processes = [controller, *controller.children(recursive=True)]
        assert len(processes) > 1
        wait_for(lambda: "the store is away" in bundle.log)  # so there is a thread that hangs
        started = time.monotonic()
        running.stop()
        assert time.monotonic() - started < PROMISE
        assert not any(one.is_running() for one in processes)
    assert "Traceback" not in bundle.log


@only_sqlite
def test_a_node_stops_though_another_process_keeps_the_store_locked(node: tuple[Bundle, Node], path: str) -> None:
    with closing(connect(path)) as store:
        writing.revoke(store, "bob")  # so that there is a log
        with process(HOLDER, path) as holder:
            hear(holder, "held")
            stop_node(*node)


@only_postgresql
def test_a_node_stops_though_the_server_is_frozen(node: tuple[Bundle, Node], postgresql: "Server") -> None:
    with RawClient(node[0].url) as client:
        assert client.login_ticket("alice", TICKET)[0] == WELCOME
    frozen = postgresql.processes()
    for one in frozen:
        one.suspend()
    try:
        stop_node(*node)
    finally:
        for one in frozen:
            one.resume()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a priority is the whole process's")
@pytest.mark.parametrize(("gives_way", "more"), [(True, BEHIND), (False, 0)])
def test_who_computes_gives_way_to_the_reactor(gives_way: bool, more: int) -> None:
    """A flood of guesses would keep all cores hashing, and everybody else waiting."""
    found: SimpleQueue[int] = SimpleQueue()
    pool = Threads(0, 1, name="test")
    pool.gives_way = gives_way
    pool.start()
    try:
        pool.callInThread(lambda: found.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
        assert found.get(timeout=PATIENCE) == min(LEAST, os.getpriority(os.PRIO_PROCESS, 0) + more)
    finally:
        pool.stop()
