"""Is a store opened as the settings say, and can its answers always be awaited, whoever wrote it and however?"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stores import KEY, PATIENCE, TICKET, Loop, by_key, by_ticket
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, gatherResults, succeed
from twisted.internet.task import Clock

from wampauth import store as stores
from wampauth.claims import KeyClaim, Principal, Refused, TicketClaim
from wampauth.lookup import Lookup, StoreAway, StoreStopped
from wampauth.places import Stopping
from wampauth.settings import SettingsError
from wampauth.store import (
    OpenStore,
    StoreError,
    connect,
    create,
    open_store,
    opened,
    postgresql,
    protocol,
    sqlite,
    writing,
)
from wampauth.testing import login

pytest_plugins = ["postgres", "store_fixtures"]

ALICE = Principal("alice", "realm1", "frontend", credential="c1")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What one test has opened isn't the next one's."""
    yield
    stores._open_store.cache_clear()


# Where it lies


def test_a_file_or_a_server(loop: Loop, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_store(path)
    assert open_store(path) is opened
    monkeypatch.setattr(opened._store, "_reactor", loop.reactor)
    try:
        assert loop.ask(opened.by_key, by_key()).authid == "alice"
        assert loop.ask(opened.by_ticket, by_ticket()).authid == "alice"
        assert loop.ask(opened.by_ticket, by_ticket("wrong")) is None
        (credential,) = loop.ask(opened.by_ids, [loop.ask(opened.by_key, by_key()).credential])
        point, everybody = loop.ask(opened.changes, None)
        assert everybody is None
        with closing(connect(path)) as connection:
            writing.revoke(connection, "alice", credential)
        assert loop.ask(opened.changes, point)[1] == {"alice"}
        with pytest.raises(Refused, match="revoked"):
            loop.ask(opened.by_key, by_key())
    finally:
        loop.ask(opened._store.close)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "principals.db"
    create(str(path))
    path.chmod(0o640)
    with pytest.raises(
        SettingsError, match=r"principals\.db can be read or written by others \(mode 0640\): `chmod 600"
    ):
        open_store(str(path))
    path.chmod(0o600)
    assert open_store(str(path))  # a refusal isn't remembered


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_a_store_that_is_no_store_is_noticed_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"other\.db"):
        open_store(str(path))
    assert (path.read_bytes() if path.exists() else None) == content


def test_a_server_that_is_not_there_is_noticed_at_the_start() -> None:
    with pytest.raises(StoreError, match=r"^postgresql://127\.0\.0\.1:1/db: conn"):
        open_store("postgresql://127.0.0.1:1/db")


@pytest.mark.parametrize("use", [connect, create, open_store])
@pytest.mark.parametrize("url", ["mysql://localhost/db", "http://localhost", "sqlite:///x.db"])
def test_an_engine_that_is_not_known(use: Callable[[str], Any], url: str) -> None:
    with pytest.raises(StoreError, match=f"^{url.partition(':')[0]} isn't an engine that is known here"):
        use(url)


@pytest.mark.parametrize("use", [connect, create, open_store])
def test_psycopg_is_asked_for_where_it_is_needed(use: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(stores, "postgresql")
    monkeypatch.delitem(sys.modules, "wampauth.store.postgresql")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError) as missing:
        use("postgresql://localhost/db")
    sentence = "for PostgreSQL, psycopg is needed: `pip install wampauth[postgresql]` (here: `make postgresql`)"
    assert str(missing.value) == sentence


@pytest.mark.parametrize("use", [connect, create])
def test_a_store_of_ones_own_is_not_for_us_to_look_after(
    use: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="own_store:Store is a store of your own"):
        use("own_store:Store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", [None, "", 5, ["principals.db"]])
def test_where_is_text(where: Any) -> None:
    with pytest.raises(SettingsError, match="setting 'store' must be a path"):
        open_store(where)


MODULE = """
from wampauth import SettingsError, open_store
made = 0
class Good:
    def __init__(self):
        global made
        made += 1
    async def by_ticket(self, claim): return None
    async def by_key(self, claim): return None
    async def by_ids(self, credentials): return {}
    async def changes(self, since): return None, None
class Less(Good):
    by_ids = None
def failing(): raise RuntimeError("no such host")
def another(): return open_store("mine:Good")
def wrong(): raise SettingsError("ACME_DSN isn't set")
text = "no store"
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module ``mine`` in it, from where it can be imported."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import nosuchmodule")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("mine", None)


def test_one_of_your_own_is_made_once(mine: Path) -> None:
    opened = open_store("mine:Good")
    assert open_store("mine:Good") is opened
    assert sys.modules["mine"].made == 1
    assert asyncio.run(opened.by_ids(["x"])) == {}  # nothing in it waits for a reactor
    assert open_store("mine:another") is opened  # with all that it can do


@pytest.mark.parametrize(
    ("where", "sentence"),
    {
        "nosuchmodule:Store": r"can't be loaded: ModuleNotFoundError: No module named 'nosuchmodule'$",
        "broken:Store": r"can't be loaded: ModuleNotFoundError: No module named 'nosuchmodule' \(broken\.py:1\)$",
        "mine:Nothing": r"the store mine:Nothing can't be loaded: mine has no Nothing that can be called$",
        "mine:failing": r"the store mine:failing can't be loaded: RuntimeError \(mine\.py:\d+\)$",
        "mine:text": r"the store mine:text can't be loaded: mine has no text that can be called$",
        "mine:wrong": r"^ACME_DSN isn't set$",
        "mine:Less": r"a store of type Less lacks the method by_ids",
    }.items(),
)
def test_one_of_your_own_that_cannot_be_loaded(mine: Path, where: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        open_store(where)


QUIET = """
import sys, threading
from wampauth.store import open_store
class NoReactor:
    def __getattr__(self, name):
        raise AssertionError(name)
sys.modules["twisted.internet.reactor"] = NoReactor()
opened = open_store(sys.argv[1])
assert threading.active_count() == 1
assert "psycopg" not in sys.modules
"""


@pytest.mark.parametrize("where", ["own_store:Store", "principals.db"])
def test_opening_starts_nothing(tmp_path: Path, where: str) -> None:
    create(str(tmp_path / "principals.db"))
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    subprocess.run([sys.executable, "-c", QUIET, where], check=True, timeout=PATIENCE, cwd=tmp_path, env=environment)


def test_both_engines_have_what_the_other_has() -> None:
    for name in "connect", "create", "Connection", "apilevel", "threadsafety":
        assert hasattr(sqlite, name)
        assert hasattr(postgresql, name)


# Each answer may be plain, a coroutine or a Deferred


def plain(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def coroutine(answer: Any) -> Any:
    async def answered() -> Any:
        return plain(answer)

    return answered()


def slow_coroutine(answer: Any) -> Any:
    async def answered() -> Any:
        await succeed(None)
        return await deferred(answer)

    return answered()


def deferred(answer: Any) -> "Deferred[Any]":
    return fail(answer) if isinstance(answer, Exception) else succeed(answer)


STYLES: list[Callable[[Any], Any]] = [plain, coroutine, slow_coroutine, deferred]


class Given:
    """A store that gives the answers that it is told to, in one style."""

    def __init__(self, style: Callable[[Any], Any], **answers: Any) -> None:
        self.style, self.answers = style, answers
        self.asked: list[Any] = []

    def answer(self, question: str, about: Any) -> Any:
        self.asked.append((question, about))
        return self.style(self.answers[question])

    def by_ticket(self, claim: Any) -> Any:
        return self.answer("by_ticket", claim)

    def by_key(self, claim: Any) -> Any:
        return self.answer("by_key", claim)

    def by_ids(self, credentials: Any) -> Any:
        return self.answer("by_ids", credentials)

    def changes(self, since: Any) -> Any:
        return self.answer("changes", since)


ABOUT: dict[str, Any] = {"by_ticket": by_ticket(), "by_key": by_key(), "by_ids": ("c1",), "changes": 7}
GOOD: dict[str, list[Any]] = {
    "by_ticket": [ALICE, None],
    "by_key": [ALICE, None],
    "by_ids": [{}, {"c1": ALICE}],
    "changes": [(8, None), (None, []), ("x", {"alice"}), (8, ("alice", "bob")), (8, {"alice": 1}.keys())],
}
NONSENSE: dict[str, list[Any]] = {
    "by_ticket": [False, True, "alice", {"authid": "alice"}, Principal, (ALICE,)],
    "by_key": [False, "alice", {"authid": "alice"}],
    "by_ids": [None, [], [ALICE], {"c1"}, {"c1": None}, {"c1": {"authid": "alice"}}, {1: ALICE}, "c1"],
    "changes": [None, 8, [8, None], (8,), (8, None, None), (8, "alice"), (8, 5), (8, [1]), (8, [b"alice"]), (8, True)],
}


def given(cases: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, answer, id=f"{name} {answer!r}"[:40]) for name in cases for answer in cases[name]]


def told(opened: OpenStore, question: str) -> Any:
    """The answer or the exception, which must be there at once."""
    results: list[Any] = []
    ensureDeferred(getattr(opened, question)(ABOUT[question])).addErrback(lambda no: no.value).addCallback(
        results.append
    )
    (result,) = results
    return result


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("question", "answer"), given(GOOD))
def test_a_good_answer_is_passed_on(style: Callable[[Any], Any], question: str, answer: Any) -> None:
    store = Given(style, **{question: answer})
    assert told(OpenStore(store), question) == answer
    assert store.asked == [(question, ABOUT[question])]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("question", "answer"), given(NONSENSE))
def test_nonsense_is_an_exception(style: Callable[[Any], Any], question: str, answer: Any) -> None:
    error = told(OpenStore(Given(style, **{question: answer})), question)
    assert isinstance(error, TypeError)
    assert str(error).startswith("the store answered with ")
    assert "alice" not in str(error)  # what it holds may be a secret


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("question", ABOUT)
@pytest.mark.parametrize("error", [ValueError("x"), OSError("gone"), Refused("revoked"), StoreError("away")], ids=repr)
def test_what_is_raised_is_passed_on(style: Callable[[Any], Any], question: str, error: Exception) -> None:
    assert told(OpenStore(Given(style, **{question: error})), question) is error


@pytest.mark.parametrize("question", ABOUT)
def test_a_method_that_is_called_wrongly_is_an_exception(question: str) -> None:
    store = Given(plain)
    setattr(store, question, lambda: None)  # takes no argument
    assert isinstance(told(OpenStore(store), question), TypeError)


def hanging(answer: Any) -> "Deferred[Any]":
    return Deferred()


def hanging_coroutine(answer: Any) -> Any:
    async def answered() -> Any:
        await Deferred()

    return answered()


@pytest.mark.parametrize("style", [hanging, hanging_coroutine])
@pytest.mark.parametrize("question", ABOUT)
def test_a_question_that_hangs_can_be_given_up(style: Callable[[Any], Any], question: str) -> None:
    clock, results = Clock(), list[Any]()
    store = Given(style, **dict.fromkeys(ABOUT))
    asked = ensureDeferred(getattr(OpenStore(store), question)(ABOUT[question])).addTimeout(5, clock)
    asked.addErrback(lambda no: no.type.__name__).addCallback(results.append)
    clock.advance(4.9)
    assert results == []
    clock.advance(0.2)
    assert results == ["TimeoutError"]


# What it is to those who ask


class Checks:
    """The lesson's, over a store that a test has made."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.store = OpenStore(settings["store"])

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        return await self.store.by_ticket(claim)

    async def cryptosign(self, claim: KeyClaim) -> Principal | None:
        return await self.store.by_key(claim)


BAD: list[Any] = [
    *[pytest.param(style, answer, id=f"{style.__name__} {answer!r}") for style in STYLES for answer in (OSError(), 5)],
    *[pytest.param(style, None, id=style.__name__) for style in (hanging, hanging_coroutine)],
]


@pytest.mark.parametrize(("style", "answer"), BAD)
@pytest.mark.parametrize("claim", [by_key(), by_ticket()], ids=["key", "ticket"])
def test_a_store_that_fails_makes_a_login_unavailable(style: Callable[[Any], Any], answer: Any, claim: Any) -> None:
    store, refused = Given(style, by_key=answer, by_ticket=answer), list[Any]()
    login(Checks, {"store": store}, claim).addErrback(lambda no: refused.append(no.value.error))
    assert refused == ["com.example.unavailable"]


@pytest.mark.parametrize(("style", "answer"), BAD)
@pytest.mark.parametrize("question", ["by_ids", "changes"])
def test_a_store_that_fails_is_away(style: Callable[[Any], Any], answer: Any, question: str) -> None:
    clock, results = Clock(), list[Any]()
    lookup = Lookup(OpenStore(Given(style, by_ids=answer, changes=answer)), clock)
    asked = ensureDeferred(getattr(lookup, question)(ABOUT[question]))
    asked.addErrback(lambda no: no.type).addCallback(results.append)
    clock.advance(60)
    assert results == [StoreAway]


@pytest.mark.parametrize("missing", protocol.QUESTIONS)
def test_a_store_without_a_method(missing: str) -> None:
    store = Given(plain)
    setattr(store, missing, None)
    with pytest.raises(SettingsError, match=f"a store of type Given lacks the method {missing}"):
        OpenStore(store)


# Start and stop


class Started(Given):
    """A store that is started and stopped in one style, and says when."""

    def __init__(self, style: Callable[[Any], Any], *starts: Any, stop: Any = None) -> None:
        super().__init__(plain, by_key=ALICE)
        self.started, self.starts, self.ends = style, list(starts), stop

    def start(self) -> Any:
        self.asked.append("start")
        return self.started(self.starts.pop(0))

    def stop(self) -> Any:
        self.asked.append("stop")
        return self.started(self.ends)


class Shutdown(Clock):
    """A reactor of which only the end is real."""

    def __init__(self) -> None:
        super().__init__()
        self.triggers: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, work: Any) -> None:
        assert (phase, event) == ("before", "shutdown")
        self.triggers.append(work)


@pytest.mark.parametrize("style", STYLES)
def test_it_is_started_once_before_the_first_question(style: Callable[[Any], Any]) -> None:
    store = Started(style, None)
    opened = OpenStore(store, Shutdown())
    assert store.asked == []
    assert told(opened, "by_key") == told(opened, "by_key") == ALICE
    assert store.asked == ["start", *[("by_key", ABOUT["by_key"])] * 2]


@pytest.mark.parametrize("style", STYLES)
def test_a_start_that_failed_is_tried_again(style: Callable[[Any], Any]) -> None:
    reactor, error = Shutdown(), OSError("no such host")
    store = Started(style, error, error, None)
    opened = OpenStore(store, reactor)
    assert told(opened, "by_key") is told(opened, "by_key") is error
    assert (store.asked, reactor.triggers) == (["start", "start"], [])  # and what wasn't started isn't stopped
    assert told(opened, "by_key") == ALICE
    assert store.asked == ["start", "start", "start", ("by_key", ABOUT["by_key"])]
    assert len(reactor.triggers) == 1


def test_who_gives_up_does_not_end_the_start_for_the_others() -> None:
    start: Deferred[None] = Deferred()
    store = Started(lambda answer: answer, start)
    opened, results = OpenStore(store, Shutdown()), list[Any]()
    questions = [ensureDeferred(opened.by_key(by_key())) for _ in range(3)]
    for question in questions:
        question.addErrback(lambda no: no.type).addCallback(results.append)
    questions[0].cancel()
    assert results == [CancelledError]
    start.callback(None)
    assert results == [CancelledError, ALICE, ALICE]
    assert store.asked.count("start") == 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("ending", [None, OSError("broken")], ids=repr)
def test_it_is_stopped_at_the_end(style: Callable[[Any], Any], ending: Any) -> None:
    reactor = Shutdown()
    store = Started(style, None, stop=ending)
    opened = OpenStore(store, reactor)
    assert reactor.triggers == []
    told(opened, "by_key")
    (trigger,) = reactor.triggers
    assert trigger().called
    assert store.asked[-1] == "stop"


@pytest.mark.parametrize("style", [hanging, hanging_coroutine])
def test_a_stop_that_hangs_is_not_waited_for(style: Callable[[Any], Any]) -> None:
    reactor = Shutdown()
    store = Started(plain, None)
    told(OpenStore(store, reactor), "by_key")
    store.started = style
    stopped = reactor.triggers[0]()
    reactor.advance(opened.LONGEST_STOP - 0.1)
    assert not stopped.called
    reactor.advance(0.2)
    assert stopped.called


@pytest.mark.parametrize("style", STYLES)
def test_what_it_says_after_its_stop_is_no_fault(style: Callable[[Any], Any]) -> None:
    reactor = Shutdown()
    store = Started(style, None)
    opened = OpenStore(store, reactor)
    told(opened, "by_key")
    reactor.triggers[0]()
    store.style, store.answers["changes"] = style, OSError("closed")
    assert isinstance(told(opened, "changes"), Stopping)
    gone = Lookup(opened, reactor).changes(None)
    outcome: list[Any] = []
    ensureDeferred(gone).addErrback(lambda no: no.type).addCallback(outcome.append)
    assert outcome == [StoreStopped]


def test_a_store_may_be_without_either() -> None:
    reactor = Shutdown()
    opened = OpenStore(Given(plain, by_key=ALICE), reactor)
    assert told(opened, "by_key") == ALICE
    assert reactor.triggers == []


def test_a_real_reactor_waits_for_the_stop() -> None:
    loop, stopped = Loop(), list[str]()
    store = Started(plain, None)

    def stop() -> "Deferred[None]":
        late: Deferred[None] = Deferred()
        loop.reactor.callLater(0.01, late.callback, None)
        return late.addCallback(lambda _: stopped.append("stopped"))

    store.stop = stop  # type: ignore[method-assign]
    opened = OpenStore(store, loop.reactor)
    questions = [loop.start(opened.by_key, by_key()) for _ in range(5)]
    assert [question.result(PATIENCE) for question in questions] == [ALICE] * 5
    loop.stop()
    assert stopped == ["stopped"]


def test_many_questions_wait_for_one_start() -> None:
    start: Deferred[None] = Deferred()
    store = Started(lambda answer: answer, start)
    opened, results = OpenStore(store, Shutdown()), list[Any]()
    gatherResults([ensureDeferred(opened.by_key(by_key())) for _ in range(100)]).addCallback(results.append)
    assert store.asked == ["start"]
    start.callback(None)
    assert results == [[ALICE] * 100]


def test_no_secret_in_a_repr() -> None:
    store = OpenStore(Given(plain, by_key=ALICE))
    assert TICKET not in repr(store) + repr(by_ticket())
    assert KEY not in repr(store)
