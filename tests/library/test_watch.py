"""Who is ended, and who isn't? Of ``Sessions`` what needs no node: all that a store may do, and clocks.

In place of the router there is a list of what it is told; the store is one of our own.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp.types import CloseDetails, ComponentConfig
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from wampauth import Principal, authorizing, recognition, sessions, watch, worker
from wampauth.admission import Admissions
from wampauth.endings import KEPT
from wampauth.live import Live
from wampauth.places import Stopping
from wampauth.recognition import Recognition
from wampauth.settings import Settings
from wampauth.store import OpenStore

REVOKED, EXPIRED = "com.example.revoked", "com.example.expired"
ALL = {"call": True, "register": True, "publish": True, "subscribe": True}


class Register:
    """A store of one's own: everything counts, but what was taken back. It counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.changed: set[str] | None = set()
        self.people: dict[str, Principal] = {}
        self.answer: Callable[[Any], Any] = lambda value: value  # how its answers come

    def by_ticket(self, claim: Any) -> None:
        raise NotImplementedError

    by_key = by_ticket

    def changes(self, since: Any) -> Any:
        self.asked.append("changes")
        changed, self.changed = self.changed, set()
        return self.answer((1, changed))

    def by_ids(self, credentials: Any) -> Any:
        self.asked += sorted(credentials)
        return self.answer({one: self.people[one] for one in credentials if one in self.people})


class Notes:
    """An audit in memory."""

    def __init__(self) -> None:
        self.records: list[tuple[str, Any, Any]] = []

    def record(self, outcome: str, **fields: Any) -> None:
        self.records.append((outcome, fields.get("session"), fields.get("reason")))


ADMISSIONS = Admissions("com.example.", bytes(32))


class FakeAuthenticator:
    """What Sessions asks of one."""

    prefix = "com.example."

    def __init__(self, store: bool = True) -> None:
        self.store = store

    def configure(self, extra: Any, whole: bool = True) -> None:
        pass

    def configuration(self) -> tuple[dict[str, Any], Settings]:
        return {"store": "acme:Register"} if self.store else {}, Settings()

    def admissions(self) -> Admissions:
        return ADMISSIONS


class Watched:
    """The component, with a store and a clock of the test's, and in place of the router a list of what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: bool = True) -> None:
        self.clock, self.register, self.audit = Clock(), Register(), Notes()
        self.calls: list[tuple[Any, ...]] = []
        self.there: list[dict[str, Any]] = []  # sessions that the router knows of
        self.moment = 1000.0  # seconds since 1970
        monkeypatch.setattr(sessions, "open_store", lambda where: OpenStore(self.register))
        monkeypatch.setattr(sessions, "open_audit", lambda path: self.audit)
        monkeypatch.setattr(watch, "time", SimpleNamespace(time=lambda: self.moment))
        self.ends: list[float] = []  # when the worker was ended; not so the reactor of other tests
        monkeypatch.setattr(worker, "end", lambda: self.ends.append(self.clock.seconds()))
        rules = {"frontend": [{"uri": "com.example.", "match": "prefix", "allow": ALL}]}
        config = ComponentConfig("realm1", {"roles": rules})
        self.component = sessions.sessions_of(FakeAuthenticator(store))(config, self.clock)
        self.component._realm = "realm1"
        self.component.call = self._call
        self.component.subscribe, self.component.register = self._granted, self._register
        self.component.is_attached = lambda: True
        self.component.leave = lambda: self.calls.append(("leave",))

    async def _call(self, procedure: str, *args: Any, **options: Any) -> Any:
        self.calls.append((procedure, *args, *options.values()))
        if procedure == "wamp.session.list":
            return [details["session"] for details in self.there]
        if procedure == "wamp.session.get":
            return next((details for details in self.there if details["session"] == args[0]), None)
        return None

    async def _granted(self, handler: Any, uri: str) -> None:
        pass

    async def _register(self, authorize: Any, uri: str) -> None:
        self.authorize = authorize

    def start(self) -> Any:
        """What comes of joining: None, or a Failure."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.component.onJoin(None)).addBoth(outcome.append)
        return outcome[0] if outcome else "not yet"

    def join(self, number: int, **given: Any) -> dict[str, Any]:
        """A session joins that was let in on credential `number`."""
        details, principal = admitted(number, **given)
        if principal.credential:
            self.register.people[principal.credential] = principal
        self.component._joined(details)
        return details

    def tick(self, seconds: float = watch.TICK) -> None:
        self.moment += seconds
        self.clock.advance(seconds)

    @property
    def killed(self) -> list[tuple[int, str]]:
        """Sessions, and for which reason."""
        return [(call[1], call[2]) for call in self.calls if call[0] == "wamp.session.kill"]

    def may(self, details: dict[str, Any]) -> bool:
        outcome: list[Any] = []
        answer = self.authorize(details, "com.example.add2", "call", {})
        if not isinstance(answer, Deferred):
            return answer["allow"]  # type: ignore[no-any-return]
        answer.addBoth(outcome.append)
        return bool(outcome) and outcome[0]["allow"]


def admitted(number: int, **given: Any) -> tuple[dict[str, Any], Principal]:
    """A session as the router describes it, and the principal as which it was let in."""
    known = {"authid": f"person-{number}", "realm": "realm1", "role": "frontend", "credential": f"c{number}"}
    principal = Principal(**{**known, **given})
    details = {
        "session": number,
        "authid": principal.authid,
        "authrole": principal.role,
        "authmethod": "ticket",
        "authextra": {**principal.extra, **ADMISSIONS.fields(principal)},
    }
    return details, principal


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched(monkeypatch)
    assert watched.start() is None
    return watched


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched(monkeypatch, store=False)
    assert watched.start() is None
    return watched


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is written to the log."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        if str(event.get("log_namespace", "")).startswith("wampauth") and event["log_level"].name == "error":
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(("oldest_leaves", "who"), [(False, 2), (True, 1)])
def test_one_session_too_many(monkeypatch: pytest.MonkeyPatch, oldest_leaves: bool, who: int) -> None:
    settings = {"store": "acme:Register"}, Settings(oldest_leaves=oldest_leaves)
    monkeypatch.setattr(FakeAuthenticator, "configuration", lambda _: settings)
    watched = Watched(monkeypatch)
    assert watched.start() is None
    for number in 1, 2:
        watched.join(number, authid="alice", max_sessions=1)
        watched.tick()
    watched.join(3, authid="bob", max_sessions=1)
    watched.tick()
    assert watched.killed == [(who, "com.example.too_many_sessions")]
    watched.component._left(3 - who)  # frees its place
    watched.join(4, authid="alice", max_sessions=1)
    watched.tick()
    assert len(watched.killed) == 1


# Who is ours


def test_who_was_not_let_in_by_our_authenticator_is_left_alone(watched: Watched, log: list[str]) -> None:
    """Whatever its authextra says: another authenticator's mark, a made-up one, and ours on something else."""
    details, principal = admitted(1, expires=1000.2)
    other = Admissions("org.acme.", bytes(32)).fields(principal)
    forgeries: list[Any] = [
        {},
        {"credential": "c1", "expires": 1},
        {**details["authextra"], "wampauth": "0" * 64},
        {**details["authextra"], "wampauth": 5},
        {**details["authextra"], "wampauth": "é"},
        {**details["authextra"], "credential": "c2"},
        {**details["authextra"], "expires": 2000.0},
        other,
    ]
    for number, forged in enumerate(forgeries):
        watched.component._joined({**details, "session": number, "authextra": forged})
    watched.component._joined({**details, "session": 20, "authid": "person-2"})
    watched.component._joined({**details, "session": 21, "authrole": "backend"})
    watched.tick()
    assert not watched.audit.records
    assert not watched.killed
    assert len(log) == 1  # however many there are
    assert "'admission_key'" in log[0]


def test_what_strangers_write_is_not_kept() -> None:
    """What marks are made of is: but no credential is as long as that."""
    details, _ = admitted(1, expires=1000.2)
    before = ADMISSIONS._mark.cache_info().currsize
    for letter in "abc":
        forged = {**details["authextra"], "credential": 129 * letter}
        assert ADMISSIONS.read("realm1", {**details, "authextra": forged}) is None
    assert ADMISSIONS._mark.cache_info().currsize == before


def test_whom_another_authenticator_has_let_in_is_told_of_where_nobody_ends_them(
    watched: Watched, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose sessions are watched in another realm alone: the log says what to do."""
    monkeypatch.setattr(recognition, "WATCHED", set())
    other = Admissions("org.acme.", bytes(32))
    Recognition("elsewhere", other, Settings(), has_store=False)
    details, principal = admitted(1, expires=1000.2)
    forged = {**details["authextra"], "wampauth": "0" * 32}
    for number, authextra in enumerate([forged, other.fields(principal), other.fields(principal)]):
        watched.component._joined({**details, "session": number, "authextra": authextra})
    watched.tick()
    assert not watched.killed
    _, told = log  # a forged mark doesn't keep it back
    assert "by the Authenticator with the prefix org.acme." in told
    Recognition("realm1", other, Settings(), has_store=False)
    watched.component._recognition._told.clear()
    watched.component._joined({**details, "session": 3, "authextra": other.fields(principal)})
    assert len(log) == 2  # it is what was missing


def test_the_address_in_the_audit_is_the_clients_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind a proxy in front of the node, if that is trusted."""
    settings = {"store": "acme:Register"}, Settings(trusted_proxies=("10.0.0.1",))
    monkeypatch.setattr(FakeAuthenticator, "configuration", lambda _: settings)
    watched = Watched(monkeypatch)
    assert watched.start() is None
    for number, peer in (1, "tcp4:10.0.0.1:5"), (2, "tcp4:10.0.0.2:5"):
        details, _ = admitted(number)
        transport = {"peer": peer, "http_headers_received": {"x-forwarded-for": "192.0.2.7"}}
        watched.component._joined({**details, "transport": transport})
    assert [live.peer for live in watched.component._watch.live.with_credential(None)] == ["192.0.2.7", "10.0.0.2"]


def test_who_was_there_before_is_taken_over_and_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    known, gone = admitted(1), admitted(2)
    watched.there = [known[0], gone[0], {"session": 3, "authid": "x", "authrole": "frontend", "authextra": {}}]
    watched.register.people["c1"] = known[1]
    assert watched.start() is None
    assert watched.killed == [(2, REVOKED)]
    assert watched.may(known[0])
    assert not watched.may(watched.there[2])


def test_a_session_that_acts_before_it_was_announced_is_asked_for(watched: Watched) -> None:
    details, principal = admitted(1)
    watched.register.people["c1"] = principal
    assert not watched.may(details)  # the router knows no such session
    watched.there.append(details)
    assert watched.may(details)


def test_no_component_without_its_store(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    watched.register.answer = fail_with(OSError("no such file"))
    assert "OSError (test_watch.py:" in str(watched.start().value)
    assert watched.calls == [("leave",)]
    assert not watched.component._watch.can_tell()


def test_a_store_that_does_not_answer_does_not_keep_the_node_from_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    watched.register.answer = lambda value: Deferred()
    assert watched.start() == "not yet"
    watched.clock.advance(30)
    assert watched.calls == [("leave",)]


def fail_with(error: Exception) -> Callable[[Any], Any]:
    def fail(value: Any) -> Any:
        raise error

    return fail


# When time is up


@pytest.mark.parametrize("wiring", ["watched", "no_store"])
def test_a_session_without_a_credential_ends_when_it_has_run_out(wiring: str, request: pytest.FixtureRequest) -> None:
    watched = request.getfixturevalue(wiring)
    watched.join(1, credential=None, expires=1001.2)
    watched.join(2, credential=None)
    for _ in range(2):
        watched.tick()
        assert watched.killed == []
    watched.tick()
    assert watched.killed == [(1, EXPIRED)]
    assert ("ended", 1, EXPIRED) in watched.audit.records


def test_a_session_with_a_credential_and_no_store_ends_when_it_has_run_out(no_store: Watched) -> None:
    details = no_store.join(1, expires=1001.2)
    for _ in range(2):
        assert no_store.may(details)
        no_store.tick()
    no_store.tick()
    assert no_store.killed == [(1, EXPIRED)]
    assert not no_store.may(details)
    assert no_store.register.asked == []


def test_a_session_with_a_credential_is_looked_up_when_its_time_is_up(watched: Watched) -> None:
    """Put off, brought forward and left as it was; the store tells of no change."""
    for number in 1, 2, 3:
        watched.join(number, expires=1002.0)
    watched.tick(0.5)
    people = watched.register.people
    people["c1"] = replace(people["c1"], expires=1004.0)
    people["c2"] = replace(people["c2"], expires=None)
    for moment in 1001, 1001.5:
        watched.tick()
        assert watched.killed == [], moment
    watched.tick()
    assert watched.killed == [(3, EXPIRED)]
    for _ in range(10):
        watched.tick()
    assert watched.killed == [(3, EXPIRED), (1, EXPIRED)]


def test_an_expiry_that_the_store_brings_forward(watched: Watched) -> None:
    watched.join(1, expires=9999.0)
    watched.tick()
    watched.register.people["c1"] = replace(watched.register.people["c1"], expires=1001.7)
    watched.register.changed = {"person-1"}
    watched.tick()
    assert watched.killed == []
    watched.tick(1.0)
    assert watched.killed == [(1, EXPIRED)]


def test_a_store_whose_clock_is_ahead_of_ours(watched: Watched) -> None:
    """What it leaves out a moment before the time has run out, and wasn't revoked."""
    watched.join(1, expires=1001.2)
    watched.join(2, expires=1009.0)
    watched.tick()
    watched.register.people.clear()
    watched.register.changed = {"person-1", "person-2"}
    watched.tick()
    assert sorted(watched.killed) == [(1, EXPIRED), (2, REVOKED)]


def with_certificate(number: int, mark: str = "") -> tuple[dict[str, Any], Principal]:
    """A session that was let in on a certificate, which ends two seconds later."""
    details, principal = admitted(number, expires=1002.0)
    details["authextra"] = ADMISSIONS.fields(principal, 1002.0)
    if mark:
        details["authextra"]["wampauth"] = details["authextra"]["wampauth"].partition("@")[0] + mark
    return details, principal


@pytest.mark.parametrize("expires", [None, 9999.0])
def test_a_session_ends_with_its_certificate_though_its_credential_counts_for_longer(
    watched: Watched, expires: float | None
) -> None:
    details, principal = with_certificate(1)
    watched.register.people["c1"] = replace(principal, expires=expires)
    watched.component._joined(details)
    watched.tick(1.5)
    assert watched.may(details)
    watched.tick()
    assert watched.killed == [(1, EXPIRED)]


@pytest.mark.parametrize("mark", ["@", "@1003.0", "@nan", "@never", "@1002.0@1002.0"])
def test_a_certificates_end_cannot_be_put_off(watched: Watched, mark: str) -> None:
    details, principal = with_certificate(1, mark)
    watched.register.people["c1"] = principal
    watched.component._joined(details)
    watched.tick()
    assert not watched.may(details)
    right, _ = with_certificate(2)
    watched.register.people["c2"] = replace(principal, authid="person-2", credential="c2")
    watched.component._joined(right)
    watched.tick()
    assert watched.may(right)


def test_who_has_left_or_was_ended_is_not_ended_when_its_time_is_up(no_store: Watched) -> None:
    for number in 1, 2:
        no_store.join(number, credential=None, expires=1001.0)
    no_store.component._left(1)
    no_store.tick(2)
    no_store.tick(2)
    assert no_store.killed == [(2, EXPIRED)]


# When something was taken back


def different(**changes: Any) -> Callable[[Principal], Principal]:
    return lambda principal: replace(principal, **changes)


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        (different(role="backend"), False),
        (different(realm="devices"), False),
        (different(authid="somebody"), False),
        (different(extra={"foo": 24, "on": [{"a": 1}], "half": 0.5}), False),
        (different(extra={"foo": 23, "on": [{"a": True}], "half": 0.5}), False),
        (different(extra={"foo": 23, "on": [{"a": 1}, 2], "half": 0.5}), False),
        (different(extra={"foo": 23, "on": [{"b": 1}], "half": 0.5}), False),
        (different(extra={"foo": 23, "on": None, "half": 0.5}), False),
        (different(extra={}), False),
        (different(extra={"foo": 23.0, "on": [{"a": 1.0}], "half": 0.5}), True),
        (
            different(
                extra={"foo": 23, "on": [{"a": 1}], "half": 0.5, "x_cb_pid": 5, "transport": None, "wampauth": "x"}
            ),
            True,
        ),
        (different(pubkey="00" * 32), True),
        (different(expires=5000.0), True),
    ],
)
def test_what_it_was_given_it_must_still_have(
    watched: Watched, change: Callable[[Principal], Principal], stays: bool
) -> None:
    details = watched.join(1, extra={"foo": 23, "on": [{"a": 1}], "half": 0.5})
    watched.tick()
    watched.register.people["c1"] = change(watched.register.people["c1"])
    watched.register.changed = {"person-1"}
    watched.tick()
    assert watched.killed == ([] if stays else [(1, REVOKED)])
    assert watched.may(details) is stays


def test_lists_and_tuples_are_the_same(watched: Watched) -> None:
    details, principal = admitted(1, extra={"many": [1, {"a": [2]}]})
    watched.register.people["c1"] = replace(principal, extra={"many": (1, {"a": (2,)})})
    watched.component._joined(details)
    watched.tick()
    assert watched.may(details)


def test_a_store_that_does_not_say_what_changed_has_everybody_looked_at(watched: Watched) -> None:
    for number in range(3):
        watched.join(number)
    watched.tick()
    watched.register.changed = None
    del watched.register.people["c1"]
    watched.register.asked.clear()
    watched.tick()
    assert watched.register.asked == ["changes", "c0", "c1", "c2"]
    assert watched.killed == [(1, REVOKED)]


# When the store is away


async def coroutine(outcome: Any) -> Any:
    return outcome() if callable(outcome) else outcome


def deferred(outcome: Any) -> Any:
    answer: Deferred[Any] = Deferred()
    if isinstance(outcome, Deferred):
        return outcome
    try:
        answer.callback(outcome())
    except Exception as error:
        answer.errback(error)
    return answer


KINDS: dict[str, Callable[[Any], Any]] = {
    "coroutine": coroutine,
    "deferred": deferred,
    "plain": lambda outcome: outcome(),
}


def nonsense(value: Any) -> Callable[[Any], Any]:
    return lambda answer: value


def of_one(**changes: Any) -> Callable[[Any], Any]:
    """A principal that is none, where principals are asked for."""
    return lambda answer: (
        {one: replace(found, **changes) for one, found in answer.items()} if isinstance(answer, dict) else answer
    )


class Falling(dict[str, Any]):
    """It has what is looked for, until that is looked for."""

    def __getitem__(self, key: str) -> Any:
        raise OSError("gone")


TROUBLES: dict[str, Callable[[Any], Any]] = {
    "raises": fail_with(OSError("gone")),
    "None": nonsense(None),
    "text": nonsense("none"),
    "three": nonsense((1, 2, 3)),
    "principals that are none": lambda answer: {"c1": "alice"} if isinstance(answer, dict) else answer,
    "a mapping that fails": lambda answer: Falling(answer) if isinstance(answer, dict) else answer,
    "a list": lambda answer: [] if isinstance(answer, dict) else answer,
    "authids that are none": lambda answer: answer if isinstance(answer, dict) else (1, "person-1"),
    "a role that is a number": of_one(role=5),
    "no authid": of_one(authid=None),
    "a list as extra": of_one(extra=[]),
    "an extra that can't travel": of_one(extra={"when": object()}),
    "a time in words": of_one(expires="tomorrow"),
    "a time that is no number": of_one(expires=float("nan")),
    "true as a time": of_one(expires=True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_store_that_fails_or_answers_nonsense_is_away(
    watched: Watched, log: list[str], kind: str, trouble: str
) -> None:
    details = watched.join(1)
    watched.tick()
    assert watched.may(details)
    watched.register.answer = lambda answer: KINDS[kind](partial(TROUBLES[trouble], answer))
    watched.register.changed = {"person-1"}
    for _ in range(3):
        watched.tick()
        watched.register.changed = {"person-1"}
        assert not watched.may(details)
    assert watched.killed == []
    assert len(log) == 1
    assert "the store is away" in log[0]
    watched.register.answer = lambda answer: KINDS[kind](lambda: answer)
    watched.tick()
    assert watched.may(details)
    assert log[1:] == ["the store is back"]


def test_a_store_that_is_over_with_the_node_denies_everything_and_is_no_news(watched: Watched, log: list[str]) -> None:
    details = watched.join(1)
    watched.tick()
    watched.register.answer = lambda answer: fail(Stopping())
    watched.tick()
    assert not watched.may(details)
    assert (watched.killed, log) == ([], [])


def test_what_was_given_back_before_we_could_look_ends_nobody(watched: Watched) -> None:
    """What counts is what the store says now."""
    details = watched.join(1)
    watched.tick()
    watched.register.answer = lambda answer: fail(OSError("gone"))
    alice = watched.register.people.pop("c1")
    watched.tick()
    assert not watched.may(details)
    watched.register.people["c1"], watched.register.changed = alice, {"person-1"}
    watched.register.answer = lambda answer: answer
    watched.tick()
    assert (watched.may(details), watched.killed) == (True, [])


async def never() -> None:
    await Deferred()


@pytest.mark.parametrize("hang", [never, Deferred])
def test_a_store_that_hangs_is_away(watched: Watched, log: list[str], hang: Callable[[], Any]) -> None:
    details = watched.join(1)
    watched.tick()
    watched.register.answer = lambda answer: hang()
    watched.tick()
    assert watched.may(details)  # it has a second
    watched.tick()
    watched.tick()
    assert not watched.may(details)
    watched.tick(5)
    assert watched.killed == []
    assert ["the store is away" in line for line in log] == [True]
    watched.register.answer = lambda answer: answer
    watched.tick(1)
    watched.tick(1)
    assert watched.may(details)
    assert log[1:] == ["the store is back"]


def test_what_comes_too_late_is_not_heard(watched: Watched) -> None:
    """The answer to a question that was given up is as old as the question."""
    inside: Deferred[Any] = Deferred()

    async def stubborn() -> Any:
        try:
            await Deferred()
        except CancelledError:
            return await inside

    watched.join(1)
    watched.register.answer = lambda answer: stubborn() if isinstance(answer, dict) else answer
    watched.tick()
    watched.tick(2)
    inside.callback({})
    watched.tick()
    assert watched.killed == []


def test_while_the_store_hangs_sessions_still_run_out(watched: Watched) -> None:
    """At once without a credential; with one, when the store has been given up."""
    watched.join(1, credential=None, expires=1001.0)
    watched.join(2, expires=1001.0)
    watched.join(3, expires=9999.0)
    watched.tick()
    watched.register.answer = lambda answer: Deferred()
    watched.tick()
    assert watched.killed == [(1, EXPIRED)]
    for _ in range(5):
        watched.tick()
    assert watched.killed == [(1, EXPIRED), (2, EXPIRED)]


def test_a_newcomer_is_not_let_do_anything_before_the_store_was_asked(watched: Watched) -> None:
    watched.register.answer = lambda answer: Deferred() if isinstance(answer, dict) else answer
    details = watched.join(1)
    assert not watched.may(details)
    watched.tick()
    watched.tick(2)
    assert not watched.may(details)
    watched.register.answer = lambda answer: answer
    watched.tick()
    watched.tick()
    assert watched.may(details)


def test_an_answer_to_a_newcomers_action_does_not_undo_what_a_tick_found_since(watched: Watched) -> None:
    slow: Deferred[Any] = Deferred()
    details = watched.join(1, expires=9999.0)
    old = dict(watched.register.people)
    watched.register.answer = lambda answer: slow
    watched.authorize(details, "com.example.add2", "call", {})
    watched.register.answer = lambda answer: answer
    watched.register.people["c1"] = replace(old["c1"], expires=1001.0)
    watched.tick(0.5)
    slow.callback(old)
    watched.tick(1)
    assert watched.killed == [(1, EXPIRED)]


class Slow:
    """Questions for credentials, whose answers come when the test says so."""

    def __init__(self, register: Register) -> None:
        self.pending: list[tuple[Deferred[Any], Any]] = []
        register.answer = lambda answer: self.later(answer) if isinstance(answer, dict) else answer

    def later(self, answer: Any) -> "Deferred[Any]":
        self.pending.append((Deferred(), answer))
        return self.pending[-1][0]

    def answer(self) -> None:
        deferred, answer = self.pending.pop(0)
        deferred.callback(answer)


def ask(watched: Watched, details: dict[str, Any], times: int = 1) -> list[bool]:
    """Let a session act; what is returned fills up as the answers come."""
    answers: list[bool] = []
    for _ in range(times):
        answer = watched.authorize(details, "com.example.add2", "call", {})
        if isinstance(answer, Deferred):
            answer.addCallback(lambda decision: answers.append(decision["allow"]))
        else:
            answers.append(answer["allow"])
    return answers


def test_a_newcomer_that_sends_much_at_once_is_looked_up_once(watched: Watched, log: list[str]) -> None:
    """It waits, and what is too much is denied to it alone."""
    slow = Slow(watched.register)
    answers = ask(watched, watched.join(1), times=1_100)
    assert answers == [False] * (1_100 - authorizing.MOST_WAITING)
    assert watched.register.asked.count("c1") == 1
    slow.answer()
    assert answers.count(True) == authorizing.MOST_WAITING
    assert ask(watched, watched.join(2)) == []  # and is answered:
    slow.answer()
    assert not slow.pending
    assert not log


def test_many_newcomers_at_once_are_one_question(watched: Watched) -> None:
    """However many come back after a fault, and act before the next look."""
    slow = Slow(watched.register)
    answers = [ask(watched, watched.join(number)) for number in range(1_200)]
    assert len(slow.pending) == 1  # of the first
    slow.answer()
    assert len(slow.pending) == 1  # of all the others
    slow.answer()
    assert answers == [[True]] * 1_200
    assert not slow.pending


def test_a_session_that_we_have_not_heard_of_is_asked_for_once(watched: Watched) -> None:
    details, principal = admitted(1)
    watched.register.people["c1"] = principal
    watched.there.append(details)
    slow = Slow(watched.register)
    answers = ask(watched, details, times=50)
    assert [call for call in watched.calls if call[0] == "wamp.session.get"] == [("wamp.session.get", 1)]
    slow.answer()
    assert answers == [True] * 50


def test_a_newcomer_that_leaves_is_denied(watched: Watched) -> None:
    slow = Slow(watched.register)
    details = watched.join(1)
    answers = ask(watched, details, times=3)
    watched.component._left(1)
    slow.answer()
    assert answers == [False] * 3
    assert ask(watched, watched.join(2)) == []
    slow.answer()


# When it is our own mistake


@pytest.mark.parametrize("place", ["_judge", "_end_what_has_run_out"])
def test_a_mistake_of_ours_is_not_blamed_on_the_store(
    watched: Watched, log: list[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def broken(*_: Any) -> None:
        raise AttributeError("no such thing")

    details = watched.join(1)
    watched.tick()
    with monkeypatch.context() as patched:
        patched.setattr(watch.Watch, place, broken)
        for _ in range(3):
            watched.register.changed = {"person-1"}
            watched.tick()
            assert not watched.may(details)
    assert len(log) == 1
    assert "AttributeError (test_watch.py:" in log[0]
    assert "away" not in log[0]
    watched.tick()
    assert watched.may(details)
    assert log[1:] == ["sessions can be watched again"]


def test_whose_time_is_up_while_we_make_a_mistake_is_ended(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that could say more isn't heard, as if it were away."""
    watched.join(1, expires=1001.0)
    watched.join(2, expires=9999.0)
    watched.tick()
    monkeypatch.setattr(watch.Watch, "_judge", lambda *_: fail_with(AttributeError("no such thing"))(None))
    for _ in range(4):
        watched.tick()
    assert watched.killed == [(1, EXPIRED)]


def test_an_event_that_nobody_expects_does_not_take_the_component_away(watched: Watched, log: list[str]) -> None:
    details, _ = admitted(1)
    watched.component._joined({**details, "authmethod": None})
    assert not watched.component._left({})
    assert len(log) == 1


def test_an_audit_that_can_not_be_written_keeps_nobody_from_being_ended(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched.audit, "record", lambda *_, **__: fail_with(ValueError("closed"))(None))
    watched.join(1)
    watched.register.people.clear()
    watched.tick()
    assert watched.killed == [(1, REVOKED)]


# What it costs


def test_a_tick_costs_the_same_with_ten_sessions_as_with_a_hundred_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[set[str]] = [set(), {"person-3"}, {"person-4", "nobody"}]
    costs = []
    for number in 10, 100_000:
        watched = Watched(monkeypatch)
        watched.start()
        for one in range(number):
            watched.join(one, expires=9999.0 + one)
        watched.tick()
        for changed in changes:
            watched.register.asked.clear()
            watched.register.changed = set(changed)
            steps = counted(watched.tick)
            costs.append((tuple(watched.register.asked), steps))
    assert [asked for asked, _ in costs[3:]] == [("changes",), ("changes", "c3"), ("changes", "c4")]
    for few, many in zip(costs[:3], costs[3:], strict=True):
        assert many[0] == few[0]
        assert abs(many[1] - few[1]) < 100  # timers of the clock make for some difference


def test_to_count_a_principals_sessions_costs_each_of_them_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one who joins costs the same, however many there are."""
    all_of_them, one_more = [], []
    for number in 50, 500:
        watched = Watched(monkeypatch)
        watched.start()
        for one in range(number):
            watched.join(one, authid="alice", max_sessions=number + 1)
        watched.tick()
        watched.register.changed = {"alice"}
        all_of_them.append(counted(watched.tick))
        watched.join(number, authid="alice", max_sessions=number + 1)
        one_more.append(counted(watched.tick))
        assert watched.killed == []
    assert all_of_them[1] < 12 * all_of_them[0]
    assert one_more[1] < one_more[0] + 100


def counted(action: Callable[[], Any]) -> int:
    """How many lines of Python run in `action`."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return lines


# What the authorizer says


def test_a_component_that_was_made_to_leave_denies_everything_and_says_so(watched: Watched, log: list[str]) -> None:
    """Its procedure is still registered then, but it hears of nothing any more."""
    details = watched.join(1)
    watched.tick()
    assert watched.may(details)
    watched.component.onLeave(CloseDetails("wamp.close.killed", None))
    assert not watched.may(details)
    assert len(log) == len(watched.ends) == 1
    assert "this worker ends" in log[0]


@pytest.mark.parametrize("reason", worker.ORDERLY)
def test_an_orderly_end_is_no_error(watched: Watched, log: list[str], reason: str) -> None:
    watched.component.onLeave(CloseDetails(reason, None))
    assert not log


@pytest.mark.parametrize("reason", worker.ORDERLY)
def test_who_puts_it_out_may_name_any_reason(watched: Watched, log: list[str], reason: str) -> None:
    """As ``wamp.session.kill`` does that is given none: it is no orderly end if the worker goes on."""
    watched.component.onLeave(CloseDetails(reason, None))
    watched.clock.advance(worker.LEAVING)
    assert watched.ends == [worker.LEAVING]
    assert len(log) == 1
    assert f"({reason}); this worker ends" in log[0]


def test_another_one_may_take_its_place(watched: Watched, monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """As when an operator has the router stop the component, and start it anew."""
    watched.component.onLeave(CloseDetails(worker.ORDERLY[0], None))
    other = Watched(monkeypatch)
    assert other.start() is None
    watched.clock.advance(worker.LEAVING)
    assert not (watched.ends or other.ends or log)


def test_nothing_that_the_authorizer_says_may_be_cached(watched: Watched) -> None:
    """Neither of those whom it knows, nor of others."""
    known, unknown = watched.join(1), admitted(2)[0]
    watched.tick()
    for details in known, unknown:
        for uri in "com.example.add2", "com.other":
            outcome: list[Any] = []
            answer = watched.authorize(details, uri, "call", {})
            answer = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(coroutine(answer))
            answer.addBoth(outcome.append)
            assert outcome[0]["cache"] is False


def test_who_was_ended_is_not_kept_for_long(watched: Watched) -> None:
    """Nor until the next one is ended, which may take months."""
    before = sum(isinstance(one, Live) for one in gc.get_objects())
    for number in range(1, 101):
        watched.join(number, expires=1001.0)
    watched.tick(2.0)
    assert len(watched.killed) == 100
    for number in range(1, 101):
        watched.component._left(number)
    watched.tick(KEPT)
    watched.tick()
    gc.collect()
    assert sum(isinstance(one, Live) for one in gc.get_objects()) == before


def test_who_was_ended_may_nothing(watched: Watched) -> None:
    details = watched.join(1)
    watched.tick()
    del watched.register.people["c1"]
    watched.register.changed = {"person-1"}
    watched.tick()
    assert watched.killed == [(1, REVOKED)]
    watched.register.people["c1"] = admitted(1)[1]  # too late
    watched.register.changed = {"person-1"}
    watched.tick()
    assert not watched.may(details)
