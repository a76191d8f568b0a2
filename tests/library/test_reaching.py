"""How does an operator's command reach the nodes? Through rows in the store, which don't stay, and are bounded."""

import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result
from conftest import CHOSEN, Bundle, MakeBundle, wait_for
from sites import ending
from stores import PATIENCE, Loop, only_sqlite
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from websockets.exceptions import ConnectionClosed

from wampauth import OpenStore, cli
from wampauth.answering import AT_ONCE, PART, Answering
from wampauth.cli import reaching
from wampauth.gathering import ANSWER_WITHIN, WATCHES
from wampauth.settings import Settings
from wampauth.store import Connection, StoreError, connect, requests
from wampauth.store.principals import Principals
from wampauth.testing.wamp import CALL, PUBLISH, REGISTER, SUBSCRIBE, WELCOME, RawClient
from wampauth.throttle import LOOKED_AT, Throttle

pytest_plugins = ["postgres", "store_fixtures"]

MANY = 100_000
QUESTION = {"do": "sessions"}
SIGNED_ON = "SELECT id FROM node"


def session(number: int) -> dict[str, Any]:
    """What is told of one, at its usual length."""
    told = {
        "authid": f"device-{number:06}@example.com",
        "realm": "devices",
        "role": "device",
        "session": 2**52 + number,
    }
    return {**told, "credential": f"{number:016x}", "address": "192.0.2.1", "since": 1.7e9, "ended": False}


@pytest.fixture
def answering(known: Principals, loop: Loop) -> Iterator[Answering]:
    """A node's process that watches sessions, so many as the test says."""
    made = loop.ask(Answering, OpenStore(known, loop.reactor), loop.reactor)
    yield made
    loop.ask(lambda: made._ticking.running and made._ticking.stop())


def is_growing(numbers: list[int]) -> bool:
    before = len(numbers)
    time.sleep(0.3)
    return len(numbers) > before


# The rows


def test_nothing_stays(store: Connection) -> None:
    identifier, _ = requests.request(store, "{}")
    requests.answer(store, identifier, "sessions@x", 0, "{}")
    requests.withdraw(store, identifier)
    assert [store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in requests.PASSING] == [0, 0, 0]


def test_what_nobody_has_withdrawn_is_answered_for_a_time_and_goes_with_the_next(store: Connection) -> None:
    old, _ = requests.request(store, "{}")
    requests.answer(store, old, "sessions@x", 0, "{}")
    store.execute("UPDATE request SET made = made - ?", (requests.OPEN + 1,))
    assert requests.requests(store, "sessions@x") == ({}, False)
    store.execute("UPDATE request SET made = made - ?", (requests.KEPT,))
    new, _ = requests.request(store, "{}")
    assert [one for (one,) in store.execute("SELECT id FROM request").fetchall()] == [new]
    assert store.execute("SELECT * FROM answer").fetchall() == []


def test_only_so_many_are_kept(store: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MOST", 3)
    monkeypatch.setattr(requests, "MOST_NODES", 2)
    for _ in range(3):
        requests.request(store, "{}")
    with pytest.raises(StoreError, match="3 requests to the nodes are waiting already: try again in a minute"):
        requests.request(store, "{}")
    for number in range(5):
        requests.sign_on(store, f"sessions@{number}")
    assert len(store.execute(SIGNED_ON).fetchall()) == 2


# Many sessions, slow and dead processes


@only_sqlite
def test_a_hundred_thousand_sessions(answering: Answering, loop: Loop, path: str) -> None:
    """In parts, of which none is long, and the reactor does other work in between."""

    async def everybody(question: Any) -> Iterable[dict[str, Any]]:
        assert question == QUESTION
        return map(session, range(MANY))

    loop.ask(answering.add, everybody, True)
    loop.ask(answering.look)
    with closing(connect(path)) as store:
        answers = reaching.ask(store, QUESTION)
        assert [store.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in requests.PASSING[1:]] == [
            0,
            0,
        ]
    assert (answers.asked, answers.silent) == (1, 0)
    assert len({item["session"] for item in answers.items}) == MANY
    assert len(json.dumps([session(number) for number in range(PART)])) < 65_536


def test_who_gives_up_is_told_no_more(answering: Answering, loop: Loop, store: Connection) -> None:
    told: list[int] = []

    def everybody() -> Iterator[dict[str, Any]]:
        for number in range(MANY):
            told.append(number)
            yield session(number)

    async def answer(question: Any) -> Iterable[dict[str, Any]]:
        return everybody()

    loop.ask(answering.add, answer, True)
    loop.ask(answering.look)
    identifier, _ = requests.request(store, json.dumps(QUESTION))
    wait_for(lambda: told)
    requests.withdraw(store, identifier)
    wait_for(lambda: not is_growing(told))
    assert len(told) < MANY
    requests.request(store, json.dumps(QUESTION))  # with which goes what was just being written
    rows = store.execute("SELECT part FROM answer WHERE request = ?", (identifier,))
    assert rows.fetchall() == []


def test_a_process_that_has_died_is_missed_once(store: Connection) -> None:
    requests.sign_on(store, f"{WATCHES}somewhere:1:abcd")
    began = time.monotonic()
    answers = reaching.ask(store, QUESTION)
    assert time.monotonic() - began > ANSWER_WITHIN
    assert answers.warning() == "1 of 1 node processes didn't answer within 2 s: it has died, or is too busy."
    again = reaching.ask(store, QUESTION)
    assert (again.asked, again.warning()) == (0, "No node has this store open.")


def test_a_process_that_has_died_is_missed_by_another_once(
    answering: Answering, loop: Loop, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody gives a command, those that were killed in a year would be many."""
    monkeypatch.setattr("wampauth.gathering.ANSWER_WITHIN", 0.2)
    for number in range(3):
        requests.sign_on(store, f"{WATCHES}somewhere:{number}:abcd")
    assert loop.ask(answering.ask_others, QUESTION) == []
    assert [store.execute(f"SELECT * FROM {table}").fetchall() for table in requests.PASSING] == [[], [], []]


def test_so_many_questions_at_once_are_all_asked(
    answering: Answering, loop: Loop, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when many come back at once who may have a limited number of sessions."""
    monkeypatch.setattr(requests, "MOST", AT_ONCE)
    monkeypatch.setattr("wampauth.gathering.ANSWER_WITHIN", 0.2)
    requests.sign_on(store, f"{WATCHES}somewhere:1:abcd")
    asked = [loop.start(answering.ask_others, QUESTION) for _ in range(3 * AT_ONCE)]
    assert [one.result(PATIENCE) for one in asked] == [[]] * len(asked)


def test_one_that_lives_signs_on_again(answering: Answering, loop: Loop, store: Connection) -> None:
    async def nobody(question: Any) -> Iterable[dict[str, Any]]:
        return []

    loop.ask(answering.add, nobody, True)
    loop.ask(answering.look)
    (node,) = store.execute(SIGNED_ON).fetchone()
    requests.withdraw(store, "", [node])
    wait_for(lambda: store.execute(SIGNED_ON).fetchall() == [(node,)])


def test_a_node_that_is_stopping_says_nothing(
    answering: Answering, loop: Loop, known: Principals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is closed before the last look, and before the last answer."""
    lines: list[str] = []
    monkeypatch.setattr(Answering, "log", SimpleNamespace(error=lambda text, **about: lines.append(text)))
    loop.ask(answering.look)
    loop.ask(known.close)
    loop.ask(answering.look)
    loop.ask(answering._say, "1", iter([{}]))
    assert lines == []
    answering._was_away, answering._store._store._store = False, None  # one that is lost is told of
    loop.ask(answering.look)
    assert len(lines) == 1


def test_who_stops_is_not_signed_on_again(
    known: Principals, loop: Loop, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a look while it is being written that it signs off."""
    written, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(requests, "sign_off", slowly(requests.sign_off, written, go_on))
    loop.ask(known.requests, "sessions@x")
    stopping = loop.start(known._shut_down)
    assert written.wait(PATIENCE)
    assert store.execute(SIGNED_ON).fetchall() == []
    looking = loop.start(known.requests, "sessions@x")
    wait_for(lambda: looking.done() or len(known._answering) > 1)
    go_on.set()
    stopping.result(PATIENCE)
    assert store.execute(SIGNED_ON).fetchall() == []


def test_who_stops_while_it_signs_on_signs_off(
    known: Principals, loop: Loop, store: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(requests, "sign_on", slowly(requests.sign_on, written, go_on))
    loop.start(known.requests, "sessions@x")
    assert written.wait(PATIENCE)
    stopping = loop.start(known._shut_down)
    loop.ask(lambda: None)  # it has begun to
    go_on.set()
    stopping.result(PATIENCE)
    assert store.execute(SIGNED_ON).fetchall() == []


def slowly(write: Callable[..., None], written: threading.Event, go_on: threading.Event) -> Callable[..., None]:
    """Whoever writes is done, and it takes its time until that is known."""

    def write_slowly(*about: Any) -> None:
        write(*about)
        written.set()
        assert go_on.wait(PATIENCE)

    return write_slowly


def test_who_is_throttled_is_found_among_many() -> None:
    clock = Clock()
    throttle = Throttle(clock, Settings(failures_at_once=1, failures_per_second=0.01))
    for number in range(3 * LOOKED_AT):
        throttle.take(f"guest-{number}", f"192.0.{number // 250}.{number % 250}")
    throttle.take("bob", "192.0.2.251")
    found: list[Any] = []
    Deferred.fromCoroutine(throttle.waiting({"bob"})).addCallback(found.append)
    assert found == []  # others have their turn first
    clock.pump([0] * 4)
    assert [(address, who, round(wait)) for address, who, wait in found[0]] == [("192.0.2.251", "bob", 100)]


# A node


@pytest.fixture(scope="module")
def node(make_bundle: MakeBundle) -> Bundle:
    return make_bundle(refusal_delay=0.05, oldest_leaves=True)


def dump(bundle: Bundle) -> list[Any]:
    with closing(connect(str(bundle.store))) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()]
        return [(table, store.execute(f"SELECT * FROM {table}").fetchall()) for table in tables]


def test_the_oldest_leaves_where_that_is_set(node: Bundle) -> None:
    node.wampauth("set", "client1", "--max-sessions", "1")
    with RawClient(node.url) as old, RawClient(node.url) as new:
        for client in old, new:
            assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
        assert ending(old) == "com.example.too_many_sessions"
        (left,) = node.wampauth("sessions", "--json").stdout.splitlines()
        assert json.loads(left)["session"] == new.session
    node.wampauth("set", "client1", "--max-sessions", "0")


def test_a_login_writes_nothing(node: Bundle) -> None:
    before = dump(node)
    with RawClient(node.url) as client:
        assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
        wait_for(lambda: [one for one in node.audit if one["outcome"] == "joined"])
        assert dump(node) == before


GUESSES = (
    *("com.example.kick", "com.example.sessions", "com.example.why", "com.example.request", "wampauth.kick"),
    *("wamp.session.kill", "wamp.session.kill_by_authid", "wamp.session.list", "wamp.session.get"),
    *("com.example.authorize", "com.example.authenticate.ticket", "wamp.registration.list", "wamp.subscription.list"),
)


def test_a_client_can_do_nothing_with_it(node: Bundle) -> None:
    """Neither a stranger nor one who has joined: no procedure is there, and nothing is to be heard of what is asked."""
    with RawClient(node.url) as stranger:
        stranger.send(CALL, 1, {}, GUESSES[0], ["client1"])
        with pytest.raises((ConnectionClosed, TimeoutError)):  # who hasn't joined is told nothing
            stranger.receive(timeout=1)
    with RawClient(node.url) as victim, RawClient(node.url) as client:
        assert victim.login_ticket("client1", CHOSEN)[0] == client.login_ticket("client1", CHOSEN)[0] == WELCOME
        for guess in GUESSES:
            for kind, more in (CALL, [["client1"]]), (SUBSCRIBE, []), (REGISTER, []), (PUBLISH, [["client1"]]):
                options = {"acknowledge": True} if kind == PUBLISH else {}
                answer = client.request(kind, options, guess, *more)
                assert answer[0] == 8, (guess, answer)
        said = node.wampauth("sessions", "--authid", "client1", "--json").stdout
        assert len(said.splitlines()) == 2
        with pytest.raises(TimeoutError):
            client.receive(timeout=0.2)
        assert victim.request(CALL, {}, "com.example.nothing")[0] == 8  # it is still there


def test_a_node_that_was_killed_and_none(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    controller = psutil.Process(json.loads((bundle.directory / "node.pid").read_text())["pid"])
    family = [*controller.children(recursive=True), controller]
    for process in family:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    said = bundle.wampauth("kick", "client1", check=False)
    assert said.exit_code == 1
    assert "1 of 1 node processes didn't answer within 2 s" in said.stderr
    said = bundle.wampauth("sessions", check=False)
    assert (said.exit_code, said.stderr) == (1, "No node has this store open.\n")
    revoked = bundle.wampauth("revoke", "client1", "--yes")
    assert revoked.stderr == "client1 is revoked. No node has this store open.\n"


def test_a_node_that_stops_in_order_signs_off(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(start=False)
    running = bundle.start()
    with closing(connect(str(bundle.store))) as store:
        assert len(store.execute(SIGNED_ON).fetchall()) == 1
        running.stop()
        assert store.execute(SIGNED_ON).fetchall() == []


# A store of one's own

OWN_STORE = """
class Four:
    def by_ticket(self, claim): ...
    by_key = by_ids = changes = by_ticket


class Nine(Four):
    def request(self, text): return "1", ["sessions@x"]
    def answers(self, request):
        items = [{"watches": "realm1"}, {"ended": 5, "realm": "realm1"}]
        return [("sessions@x", __import__("json").dumps({"items": items, "last": True}))]
    def withdraw(self, request, gone): ...
    def requests(self, node): ...
    answer = requests


class Filed(Nine):
    def __init__(self): open("made", "w").close()
    def request(self, text): return open("principals.json").read(), ["sessions@x"]
    def answers(self, request):
        open("principals.json").close()
        return super().answers(request)


class Later(Nine):
    async def request(self, text):
        from twisted.internet.defer import Deferred
        await Deferred()


class Fails(Nine):
    def answers(self, request): raise OSError("open-sesame")


class FailsLater(Nine):
    async def withdraw(self, request, gone): {"a": 1}["open-sesame"]


class Ends(Nine):
    def request(self, text): raise SystemExit("open-sesame")


class Nothing(Nine):
    def request(self, text): ...


class Numbers(Nine):
    def answers(self, request): return [5]


class Garbled(Nine):
    def answers(self, request):
        return [("sessions@x", text) for text in ("no JSON", "[]", "{}", '{"items": [5], "last": true}', "[" * 99999)]
"""


def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Result:
    module = f"own_{secrets.token_hex(4)}"
    (tmp_path / f"{module}.py").write_text(OWN_STORE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return CliRunner().invoke(cli.main, ["--store", f"{module}:{name}", "kick", "alice"])


def test_a_store_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = own(tmp_path, monkeypatch, "Nine")
    assert done.exit_code == 0
    assert "1 live session was ended.\n" in done.stderr


@pytest.mark.parametrize("folder", [".", ".crossbar"])
def test_relative_paths_of_a_store_of_ones_own_begin_in_the_node_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """Whether the command is given beside it, or in it; and the audit is found there, too."""
    (node := tmp_path / ".crossbar").mkdir()
    (node / "principals.json").write_text("1")
    store = f"own_{secrets.token_hex(4)}:Filed"
    (tmp_path / f"{store.partition(':')[0]}.py").write_text(OWN_STORE)
    config = {"workers": [{"components": [{"extra": {"store": store}}]}]}
    (node / "config.json").write_text(json.dumps(config))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path / folder)
    done = CliRunner().invoke(cli.main, ["--store", store, "kick", "alice"])
    assert (done.exit_code, done.stderr) == (0, "1 live session was ended.\n")
    assert (node / "made").exists()
    assert "kick" in (node / "audit.jsonl").read_text()
    assert Path.cwd() == tmp_path / folder


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Four", "lacks a method of `wampauth.Reaching`"),
        ("Later", "through your store: it answers later"),
        ("Fails", "through your store: OSError (own_"),
        ("FailsLater", "through your store: KeyError (own_"),
        ("Ends", "through your store: SystemExit (own_"),
        ("Nothing", "the store answered with None instead of a request's id"),
        ("Numbers", "the store answered with something of type list instead of processes"),
    ],
)
def test_a_store_of_ones_own_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str) -> None:
    refused = own(tmp_path, monkeypatch, name)
    assert refused.exit_code == 1
    assert why in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "open-sesame" not in refused.stderr


def test_what_nobody_can_read_was_not_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wampauth.gathering.ANSWER_WITHIN", 0.1)
    done = own(tmp_path, monkeypatch, "Garbled")
    assert "1 of 1 node processes didn't answer" in done.stderr
    assert isinstance(done.exception, SystemExit)
