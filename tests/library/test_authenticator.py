"""How are an author's checks handed to the router? One configuration, two wirings, a beginning and an end."""

import asyncio
import json
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import CloseDetails, ComponentConfig
from autobahn.websocket.protocol import WebSocketProtocol
from conftest import HERE
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.python.failure import Failure

import authenticator as lesson
from wampauth import (
    Authenticator,
    KeyClaim,
    Principal,
    SettingsError,
    StoreError,
    TicketClaim,
    component,
    starting,
    worker,
)
from wampauth import guard as closed
from wampauth.admission import Admissions
from wampauth.later import PAUSE, Later
from wampauth.service import START_TIMEOUT, STOP_TIMEOUT, Service
from wampauth.settings import Settings
from wampauth.store import create
from wampauth.store.principals import Principals
from wampauth.testing.attempt import NoAudit, login
from wampauth.told import Stopped
from wampauth.worker import LEAVING

ALICE = Principal("alice", "realm1", "frontend", {"foo": 23}, credential="c1")
TICKET = TicketClaim(authid="alice", ticket="open-sesame", realm="realm1")
KEY = KeyClaim(pubkey="ab" * 32)


class Tickets:
    """Checks that offer one method, and know one ticket."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        return ALICE if claim.ticket == "open-sesame" else None


def details(method: str = "ticket", ticket: str = "open-sesame") -> dict[str, Any]:
    """What the router says of a client."""
    return {"authmethod": method, "ticket": ticket, "session": 1, "transport": {"peer": "tcp4:192.0.2.1:1"}}


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The realms that are closed here aren't for other tests in this process."""
    monkeypatch.setattr("wampauth.guard.OWN_REALMS", set())


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node directory, in which the audit is written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result(deferred: "Deferred[Any]") -> Any:
    """What a Deferred that has fired holds; raises what it failed with, and AssertionError if it hasn't fired."""
    got: list[Any] = []
    deferred.addBoth(got.append)
    assert got, "it hasn't fired"
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]


# -- the prefix, and what is offered


@pytest.mark.parametrize(
    "prefix", ["", ".", "com.example", "com..example.", "Com.Example.", "com.exa mple.", ".com.", 7]
)
def test_a_prefix_that_no_uri_can_begin_with(prefix: Any) -> None:
    with pytest.raises(ValueError, match=r"ends in a dot"):
        Authenticator(Tickets, prefix=prefix)


def test_a_method_that_nobody_offers_as_a_function() -> None:
    with pytest.raises(ValueError, match="'anonymous' can't be a function: use one of ticket, cryptosign"):
        Authenticator(Tickets, prefix="org.acme.").function("anonymous")


def test_only_what_the_checks_have_is_offered(in_folder: Path) -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    authenticator.configure({})
    assert list(authenticator.service().procedures) == ["ticket"]


def test_checks_without_a_method_stop_the_node(in_folder: Path) -> None:
    authenticator = Authenticator(lambda settings: object(), prefix="org.acme.")
    with pytest.raises(SettingsError, match="object has none of the methods ticket, cryptosign"):
        authenticator.component.check_config(None, {})


def test_a_misspelt_method_is_told(in_folder: Path, logged: list[str]) -> None:
    class Misspelt(Tickets):
        async def crypto_sign(self, claim: KeyClaim) -> Principal | None: ...

    authenticator = Authenticator(Misspelt, prefix="org.acme.")
    authenticator.component.check_config(None, {})
    assert logged == ["Misspelt has a method crypto_sign(): is cryptosign() meant?"]


@pytest.mark.parametrize("checks", [Tickets({}), None, "checks.Checks"])
def test_checks_are_given_as_a_class(checks: Any) -> None:
    with pytest.raises(TypeError, match="give the class of the checks"):
        Authenticator(checks, prefix="org.acme.")


# -- settings


def test_the_checks_get_the_rest_of_extra(in_folder: Path) -> None:
    seen: list[dict[str, Any]] = []

    def checks(settings: dict[str, Any]) -> Tickets:
        seen.append(settings)
        return Tickets(settings)

    authenticator = Authenticator(checks, prefix="org.acme.")
    authenticator.component.check_config(None, {"jwks": 1, "guard": {"deadline": 2}, "cbdir": "."})
    assert seen == [{"jwks": 1}]
    assert authenticator.configuration() == ({"jwks": 1}, Settings(deadline=2))


@pytest.mark.parametrize("guard", [{"nosuch": 1}, {"deadline": "5"}, {"deadline": 0}, {"store": "x"}, []])
def test_settings_that_stop_the_node(guard: Any) -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    with pytest.raises(SettingsError, match="guard" if not guard else next(iter(guard))):
        authenticator.component.check_config(None, {"guard": guard})


def test_a_setting_that_the_checks_miss_is_named(in_folder: Path) -> None:
    authenticator = Authenticator(lesson.Checks, prefix="org.acme.")
    with pytest.raises(SettingsError, match="the checks miss 'store': is that a setting"):
        authenticator.component.check_config(None, {})


def test_what_else_they_look_up_is_not(in_folder: Path) -> None:
    authenticator = Authenticator(lambda settings: {"alice": 1}["open-sesame"], prefix="org.acme.")
    with pytest.raises(Stopped) as stopped:
        authenticator.component.check_config(None, {})
    assert re.fullmatch(r"the checks can't be made: KeyError \(test_authenticator\.py:\d+\)", str(stopped.value))


@pytest.mark.parametrize("error", [ValueError, OSError, SystemExit, asyncio.CancelledError, SyntaxError, ImportError])
def test_what_the_checks_raise_is_told_without_its_text(in_folder: Path, error: type[BaseException]) -> None:
    """The router would log it, and end with what would end a process."""

    def fails(settings: Any) -> Any:
        raise error("open-sesame")

    with pytest.raises(Stopped, match=error.__name__) as stopped:
        Authenticator(fails, prefix="org.acme.").component.check_config(None, {})
    assert "open-sesame" not in Failure(stopped.value).getTraceback()

    class Begins(Tickets):
        start = staticmethod(fails)

    session = Authenticator(Begins, prefix="org.acme.").component(ComponentConfig("realm-auth", {}))
    with pytest.raises(Stopped, match=error.__name__) as stopped:
        result(Deferred.fromCoroutine(session.onJoin(None)))
    assert "open-sesame" not in Failure(stopped.value).getTraceback()


@pytest.mark.parametrize("checks", [lambda: None, lambda settings, store: None, type("Bare", (), {})])
def test_checks_that_cannot_be_called_with_the_settings(in_folder: Path, checks: Any) -> None:
    with pytest.raises(SettingsError, match=r"the checks can't be made with the settings: .* arguments?\b"):
        Authenticator(checks, prefix="org.acme.").component.check_config(None, {})


def test_an_answer_that_nobody_can_be_told_is_no_fault() -> None:
    """The node stops: Autobahn would fail over it."""
    told: list[Any] = []
    for transport in object(), None, SimpleNamespace(state=WebSocketProtocol.STATE_CLOSED):
        session = SimpleNamespace(_transport=transport)
        starting.unless_lost(session, lambda: succeed(5))().addBoth(told.append)
        starting.unless_lost(session, lambda: fail(ValueError("no")))().addBoth(told.append)
    assert (len(told), told[0]) == (2, 5)


def test_a_missing_store_stops_the_node(in_folder: Path) -> None:
    authenticator = Authenticator(lesson.Checks, prefix="org.acme.")
    with pytest.raises(StoreError, match="there is no store"):
        authenticator.component.check_config(None, {"store": str(in_folder / "nosuch.db")})


def test_one_authenticator_has_one_configuration(in_folder: Path) -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    authenticator.component.check_config(None, {"a": 1, "guard": {"deadline": 2}})
    authenticator.component.check_config(None, {"a": 1, "guard": {"deadline": 2}})  # the same again
    authenticator.configure({"a": 1}, whole=False)  # a part of it
    authenticator.configure({}, whole=False)
    for other in {"a": 2}, {"b": 1}, {"a": 1, "guard": {"require_tls": True}}:
        with pytest.raises(SettingsError, match="one Authenticator has one configuration"):
            authenticator.component.check_config(None, other)


def test_two_authenticators_keep_to_their_own(in_folder: Path) -> None:
    one, other = (Authenticator(Tickets, prefix=prefix) for prefix in ("org.acme.", "org.acme.other."))
    one.configure({"guard": {"failures_at_once": 1, "refusal_delay": 0}})
    other.configure({"guard": {"refusal_delay": 0}})
    assert one.service() is not other.service()
    assert one.admissions().read("realm1", _session(other)) is None
    assert other.admissions().read("realm1", _session(other)) is not None


def _session(authenticator: Authenticator) -> dict[str, Any]:
    """What the router says of a session that was admitted."""
    told = result(authenticator.service().procedures["ticket"]("realm1", "alice", details()))
    return {"authid": told["authid"], "authrole": told["role"], "authextra": told["extra"]}


def test_without_a_component_there_are_no_settings() -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    for ask in authenticator.configuration, authenticator.admissions, authenticator.service:
        with pytest.raises(SettingsError, match="no component of this Authenticator has brought settings"):
            ask()


# -- the function wiring


def test_a_function_has_the_settings_and_the_guard_of_the_component(in_folder: Path) -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    authenticator.component.check_config(None, {"a": 1})
    assert authenticator.function("ticket")({}, None) is authenticator.service().procedures["ticket"]


@pytest.mark.parametrize(("most", "asked"), [(None, []), (9, ["alice"])])
def test_only_of_who_may_have_so_many_sessions_they_are_counted(
    in_folder: Path, most: int | None, asked: list[str]
) -> None:
    """A principal may have so many that it takes its time."""

    class Some(Tickets):
        async def ticket(self, claim: TicketClaim) -> Principal | None:
            return replace(ALICE, max_sessions=most)

    def count(authid: str) -> int:
        counted.append(authid)
        return 8

    authenticator, counted = Authenticator(Some, prefix="org.acme."), list[str]()
    authenticator.configure({})
    authenticator.admissions().counts["realm1"] = count
    own = {**details(), "transport": {"peer": f"tcp4:192.0.2.2:{most or 1}"}}  # one connection may try so often
    assert result(authenticator.function("ticket")({}, None)("realm1", "alice", own))["authid"] == "alice"
    assert counted == asked


def refused(procedure: Any, **changes: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as error:
        result(procedure("realm1", "alice", {**details(), **changes}))
    return error.value


def test_a_function_without_a_component_is_unavailable_and_the_log_says_why(logged: list[str]) -> None:
    procedure = Authenticator(Tickets, prefix="org.acme.").function("ticket")({}, None)
    error = refused(procedure)
    assert (error.error, error.args) == (
        "org.acme.unavailable",
        ("authentication is unavailable - try again later",),
    )
    (line,) = logged
    assert "the function authenticator for ticket can't work: no component of this Authenticator" in line


def test_a_function_that_brings_settings_beside_a_component_is_unavailable(in_folder: Path, logged: list[str]) -> None:
    """The router keeps function authenticators by the name of their factory: another transport would get the same."""
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    authenticator.component.check_config(None, {"a": 1})
    assert refused(authenticator.function("ticket")({"a": 1}, None)).error == "org.acme.unavailable"
    assert 'takes no "config" here: one Authenticator has one configuration' in logged[-1]


def test_a_function_in_a_router_worker_brings_no_settings(monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    monkeypatch.setattr("sys.argv", ["crossbar", "_exec_worker", "--klass", component.ROUTER_WORKER])
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    assert refused(authenticator.function("ticket")({"a": 1}, None)).error == "org.acme.unavailable"
    assert 'takes no "config" here' in logged[-1]


def test_a_proxy_worker_has_no_components_so_the_function_brings_the_settings(in_folder: Path) -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    procedure = authenticator.function("ticket")({"a": 1, "guard": {"refusal_delay": 0}}, None)
    assert result(procedure("realm1", "alice", details()))["role"] == "frontend"
    assert authenticator.configuration()[0] == {"a": 1}


OWN = {"a": 1, "guard": {"require_tls": True}}


def test_each_function_in_a_proxy_worker_brings_the_same_settings(in_folder: Path, logged: list[str]) -> None:
    """Else it would be a matter of who comes first with which ones all are served."""

    class Both(Tickets):
        cryptosign = Tickets.ticket

    for other in {}, {"a": 1}, {**OWN, "guard": {}}, {**OWN, "b": 1}:
        authenticator = Authenticator(Both, prefix="org.acme.")
        authenticator.function("ticket")(OWN, None)
        assert authenticator.function("cryptosign")(dict(OWN), None) is authenticator.service().procedures["cryptosign"]
        assert logged == []
        assert refused(authenticator.function("cryptosign")(other, None)).error == "org.acme.unavailable"
        assert "for cryptosign can't work: its \"config\" isn't the one of the function before it: one" in logged.pop()
        assert authenticator.configuration()[1].require_tls


def test_a_function_in_a_proxy_worker_knows_the_authenticators_realm(in_folder: Path) -> None:
    """By the configuration, since no component is there to join it: nobody is let in there."""
    auth = {"ticket": {"type": "dynamic", "authenticator-realm": "realm1"}}
    (in_folder / "config.json").write_text(json.dumps({"version": 2, "workers": [{"transports": [{"auth": auth}]}]}))
    Authenticator(Tickets, prefix="org.acme.").function("ticket")({"a": 1}, None)
    assert {"realm1"} == closed.OWN_REALMS


def test_a_function_that_the_checks_lack_is_unavailable(in_folder: Path, logged: list[str]) -> None:
    authenticator = Authenticator(Tickets, prefix="org.acme.")
    authenticator.configure({})
    assert refused(authenticator.function("cryptosign")({}, None)).error == "org.acme.unavailable"
    assert "Tickets has no method cryptosign()" in logged[-1]


def test_a_function_that_could_not_work_tries_again(in_folder: Path, logged: list[str]) -> None:
    """The router keeps what the factory has returned: a server that was away when it was asked first was away for
    ever."""
    authenticator, clock = Authenticator(lesson.Checks, prefix="org.acme."), Clock()
    make = partial(authenticator._procedure, "ticket", {"store": "late.db", "guard": {"refusal_delay": 0}})
    procedure = Later(make, "ticket", "org.acme.", clock).procedure()
    for _ in range(3):
        assert refused(procedure).error == "org.acme.unavailable"
        clock.advance(PAUSE)
    (line,) = logged
    assert "the function authenticator for ticket can't work: there is no store at late.db" in line
    assert refused(procedure).error == "org.acme.unavailable"
    create("late.db")
    clock.advance(PAUSE - 1)  # not at each login
    assert refused(procedure).args[0].endswith("try again later")
    clock.advance(1)
    assert procedure.__self__._tried() is authenticator.service().procedures["ticket"]  # type: ignore[attr-defined]


def test_what_the_checks_do_to_their_settings_is_nobody_elses(in_folder: Path) -> None:
    """Such as to take a password out, once it is read."""

    class Takes(Tickets):
        def __init__(self, settings: dict[str, Any]) -> None:
            self.password = settings["ldap"].pop("password")

    authenticator = Authenticator(Takes, prefix="org.acme.")
    for _ in range(2):
        authenticator.component.check_config(None, {"ldap": {"password": "open-sesame"}})


# -- from start to stop


class Starts(Tickets):
    """Checks that need something before they can work."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.starts: list[Any] = []
        self.outcomes: list[Any] = []
        self.stops = 0

    def start(self, session: Any) -> Any:
        self.starts.append(session)
        return self.outcomes.pop(0) if self.outcomes else None

    def stop(self) -> Any:
        self.stops += 1
        return Deferred()  # it never ends


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def triggers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is to be done before the reactor ends."""
    found: list[Any] = []
    monkeypatch.setattr(reactor, "addSystemEventTrigger", lambda *args: found.append(args))
    return found


def service(clock: Clock, checks: Any = Starts, **guard: Any) -> Service:
    settings = Settings(**{"refusal_delay": 0, **guard})
    audit: Any = NoAudit()
    return Service(clock, checks, {}, settings, "org.acme.", Admissions("org.acme.", bytes(32)), audit)


def test_the_checks_start_once_however_many_wait(clock: Clock, triggers: list[Any]) -> None:
    starting: Deferred[None] = Deferred()
    one = service(clock)
    one._checks.outcomes = [starting]
    waiting = [one.started(SimpleNamespace(realm="realm-auth")), one.started()]
    assert [session.realm for session in one._checks.starts] == ["realm-auth"]
    starting.callback(None)
    for each in waiting:
        assert result(each) is None
    assert result(one.started()) is None
    assert len(one._checks.starts) == 1


def test_checks_that_call_others_go_on_in_the_session_of_a_new_component(clock: Clock, triggers: list[Any]) -> None:
    """As a container makes one, when its router was away."""

    class Calls(Starts):
        async def ticket(self, claim: TicketClaim) -> Principal:
            return await self.starts[0].call("org.acme.ask", claim.authid)  # type: ignore[no-any-return]

    def component(answer: Any, is_here: bool) -> Any:
        return SimpleNamespace(call=lambda *_: answer, is_attached=lambda: is_here)

    one = service(clock, Calls)
    result(one.started(component(fail(TransportLost()), is_here=False)))
    refused = one.procedures["ticket"]("realm1", "alice", details())
    clock.advance(0)
    with pytest.raises(ApplicationError, match=r"org\.acme\.unavailable"):
        result(refused)
    result(one.started(component(succeed(Principal("alice", "realm1", "frontend")), is_here=True)))
    result(one.started(component(succeed(None), is_here=True)))  # in another realm: the one before it isn't lost
    assert result(one.procedures["ticket"]("realm1", "alice", details()))["authid"] == "alice"
    assert len(one._checks.starts) == 1


def test_a_login_waits_for_the_start_within_its_deadline(clock: Clock, triggers: list[Any]) -> None:
    starting: Deferred[None] = Deferred()
    one = service(clock)
    one._checks.outcomes = [starting]
    one.begin()
    early, late = (one.procedures["ticket"]("realm1", "alice", details() | _from(port)) for port in (1, 2))
    clock.advance(5)
    with pytest.raises(ApplicationError, match=r"org\.acme\.unavailable"):
        result(early)
    third = one.procedures["ticket"]("realm1", "alice", details() | _from(3))
    starting.callback(None)
    assert result(third)["authid"] == "alice"
    late.addErrback(lambda _: None)


def _from(port: int) -> dict[str, Any]:
    return {"transport": {"peer": f"tcp4:192.0.2.1:{port}"}}


def test_a_start_that_fails_is_tried_again_by_the_next_login(clock: Clock, triggers: list[Any]) -> None:
    one = service(clock)
    one._checks.outcomes = [fail(OSError("the key set is away")), succeed(None)]
    one.begin()
    assert len(one._checks.starts) == 1
    assert result(one.procedures["ticket"]("realm1", "alice", details()))["authid"] == "alice"
    assert len(one._checks.starts) == 2


def test_a_start_that_never_ends_is_a_failure(clock: Clock, triggers: list[Any]) -> None:
    one = service(clock)
    one._checks.outcomes = [Deferred()]
    waiting = one.started()
    clock.advance(START_TIMEOUT)
    with pytest.raises(TimeoutError, match=r"Starts.start\(\) wasn't done after 30 seconds"):
        result(waiting)
    assert triggers == []  # nor is it stopped then


def test_those_who_give_up_are_not_kept(clock: Clock, triggers: list[Any]) -> None:
    one = service(clock)
    one._checks.outcomes = [Deferred()]
    one.begin()
    for number in range(100):
        one.procedures["ticket"]("realm1", "alice", details() | _from(number)).addErrback(lambda _: None)
    clock.pump([1] * 20)  # longer than the turn of the last and its deadline
    assert len(one._start._waiting) == 1  # the one who began it


def test_stop_is_called_after_a_start_that_succeeded_and_does_not_keep_the_node(
    clock: Clock, triggers: list[Any], logged: list[str]
) -> None:
    one = service(clock)
    one.begin()
    ((phase, event, stop),) = triggers
    assert (phase, event) == ("before", "shutdown")
    stopping = stop()
    assert one._checks.stops == 1
    clock.advance(STOP_TIMEOUT)
    assert result(stopping) is None
    assert "Starts.stop()" in logged[-1]


class Stops(Tickets):
    def stop(self) -> None:
        self.stopped = True


def test_checks_that_need_no_start_are_stopped_too(clock: Clock, triggers: list[Any]) -> None:
    one = service(clock, Stops)
    one.begin()
    ((*_, stop),) = triggers
    result(stop())
    assert one._checks.stopped


# -- a login without a router, as an author tests it


@pytest.mark.parametrize("settings", [{}, {"guard": {"deadline": 1}}, {"jwks": 1}])
def test_a_login_without_a_router(settings: dict[str, Any]) -> None:
    found = result(login(Tickets, settings, TICKET))
    assert found == Principal("alice", "realm1", "frontend", {"foo": 23}, None, "c1", None)


@pytest.mark.parametrize(
    ("claim", "uri"),
    [
        (TicketClaim(authid="alice", ticket="wrong"), "com.example.invalid_ticket"),
        (TicketClaim(authid="alice", ticket="open-sesame", realm="devices"), "com.example.invalid_ticket"),
        (TicketClaim(authid="al ice", ticket="open-sesame"), "com.example.malformed"),
    ],
)
def test_a_login_that_is_refused_without_a_router(claim: TicketClaim, uri: str) -> None:
    with pytest.raises(ApplicationError) as error:
        result(login(Tickets, {}, claim))
    assert error.value.error == uri


def test_a_login_by_a_method_that_is_not_offered() -> None:
    with pytest.raises(SettingsError, match=r"no method cryptosign"):
        login(Tickets, {}, KEY)


def test_a_login_on_a_clock_that_the_test_turns(clock: Clock) -> None:
    refused: list[Any] = []
    login(Tickets, {}, TicketClaim(authid="alice", ticket="wrong"), clock).addErrback(refused.append)
    assert refused == []
    clock.advance(0.25)
    assert refused[0].value.error == "com.example.invalid_ticket"


def test_a_check_that_hangs_is_unavailable_without_a_router() -> None:
    class Hangs:
        def __init__(self, settings: dict[str, Any]) -> None: ...

        def cryptosign(self, claim: KeyClaim) -> "Deferred[Principal | None]":
            return Deferred()

    with pytest.raises(ApplicationError, match=r"com\.example\.unavailable"):
        result(login(Hangs, {}, KEY))


def test_a_check_that_waits_for_nothing_runs_anywhere() -> None:
    assert asyncio.run(Tickets({}).ticket(TICKET)) == ALICE


def test_no_secret_shows_in_a_claim() -> None:
    claim = TicketClaim(authid="alice", ticket="open-sesame", authextra={"token": "hidden"})
    assert "open-sesame" not in repr(claim)
    assert "hidden" not in repr(claim)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ApplicationError("org.acme.invalid_ticket", "no"), []),
        (CancelledError(), []),  # who asked is gone
        (Stopped("the authenticator can't start"), []),  # the line before tells
        (
            ApplicationError("wamp.error.no_such_procedure", "open-sesame"),
            ["the guard has failed: ApplicationError (test"],
        ),
        (ValueError("open-sesame"), ["the guard has failed: ValueError (test_authenticator.py:"]),
    ],
)
def test_what_is_no_refusal_is_told_without_its_text(
    in_folder: Path, logged: list[str], error: Exception, told: list[str]
) -> None:
    """Autobahn asks the component about what its procedures raise."""
    session = Authenticator(Tickets, prefix="org.acme.").component(ComponentConfig("realm-auth", {}))
    del logged[:]
    try:
        raise error
    except Exception:
        session.onUserError(Failure(), "while invoking a procedure")
    assert len(logged) == len(told)
    assert all(line.startswith(start) for line, start in zip(logged, told, strict=True))
    assert "open-sesame" not in "".join(logged)


# -- the authenticators' own realm


def test_the_realm_of_a_component_is_closed_in_both_wirings(in_folder: Path) -> None:
    """The function, which the router calls beside the component, knows it from there."""
    made = Authenticator(Tickets, prefix="com.example.")
    made.component(ComponentConfig(realm=ALICE.realm, extra={"guard": {"refusal_delay": 0}}))
    for procedure in made.function("ticket")({}, None), made.service().procedures["ticket"]:
        asked = procedure("realm1", "alice", details())
        reactor.runUntilCurrent()  # type: ignore[attr-defined]
        with pytest.raises(ApplicationError, match="invalid ticket for principal alice") as no:
            result(asked)
        assert no.value.error == "com.example.invalid_ticket"


def test_a_trial_offers_what_the_checks_have_and_writes_no_audit(in_folder: Path) -> None:
    made = Authenticator(Tickets, prefix="com.example.")
    made.configure({"guard": {"audit": "tried.jsonl"}})
    assert made.try_out() == ["ticket"]
    assert list(in_folder.iterdir()) == []


class Keys(Tickets):
    """Checks that challenge, too."""

    async def cryptosign(self, claim: KeyClaim) -> Principal | None: ...


@pytest.mark.parametrize("checks", [Tickets, Keys])
@pytest.mark.parametrize("worker", ["crossbar.worker.container.ContainerController", component.ROUTER_WORKER])
@pytest.mark.parametrize("may", [True, False])
def test_who_challenges_hears_of_right_proofs(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str], checks: Any, worker: str, may: bool
) -> None:
    """If it may not, it works all the same; the log says so where nothing else could tell it."""
    monkeypatch.setattr("sys.argv", ["crossbar", worker])
    made = Authenticator(checks, prefix="org.acme.")
    made.configure({})
    session = made.component(ComponentConfig("realm-auth", {}))
    registered: list[tuple[Any, str]] = []

    async def register(endpoint: Any, procedure: str, options: Any) -> None:
        if ".proven." in procedure and not may:
            raise ApplicationError("wamp.error.not_authorized")
        registered.append((endpoint, procedure))

    monkeypatch.setattr(session, "register", register)
    result(Deferred.fromCoroutine(session.onJoin(None)))
    methods = ["ticket"] if checks is Tickets else ["ticket", "cryptosign"]
    challenged = made.admissions().challenged
    hears = [(challenged.proven, challenged.procedure)] if checks is Keys and may else []
    assert [procedure.rpartition(".")[2] for _, procedure in registered[: len(methods)]] == methods
    assert registered[len(methods) :] == hears
    is_told = checks is Keys and not may and worker != component.ROUTER_WORKER
    assert ["whatever begins with org.acme.authenticate." in line for line in logged] == [True] * is_told


CONTAINER = "crossbar.worker.container.ContainerController"
ORDERLY, LOST = "wamp.close.normal", "wamp.close.transport_lost"


@pytest.mark.parametrize(
    ("process", "reason", "comes_back", "ends_after"),
    [
        (component.ROUTER_WORKER, LOST, False, 0.0),
        (component.ROUTER_WORKER, ORDERLY, False, LEAVING),
        (CONTAINER, LOST, False, LEAVING),
        (CONTAINER, ORDERLY, False, LEAVING),
        (CONTAINER, LOST, True, None),
    ],
)
def test_a_worker_whose_authenticator_has_left_ends(
    in_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[str],
    process: str,
    reason: str,
    comes_back: bool,
    ends_after: float | None,
) -> None:
    """Unless it is ending already, or a container has made the component anew: not each does, or can."""
    clock, ended = Clock(), list[float]()
    monkeypatch.setattr("sys.argv", ["crossbar", process])
    monkeypatch.setattr(component, "reactor", clock)
    monkeypatch.setattr(worker, "end", lambda: ended.append(clock.seconds()))
    made = Authenticator(Tickets, prefix="org.acme.")
    made.configure({})

    def come() -> Any:
        session = made.component(ComponentConfig("realm-auth", {}))
        monkeypatch.setattr(session, "register", lambda *_, **__: succeed(None))
        result(Deferred.fromCoroutine(session.onJoin(None)))
        return session

    come().onLeave(CloseDetails(reason))
    if comes_back:
        come()
    clock.advance(LEAVING)
    assert ended == ([] if ends_after is None else [ends_after])
    assert "".join(logged).count("this worker ends") == len(ended)


@pytest.mark.parametrize("process", [component.ROUTER_WORKER, CONTAINER])
def test_one_that_never_served_ends_no_worker(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str], process: str
) -> None:
    """It has told why, and whoever has started it hears of that from the router: others may be served here."""
    clock = Clock()
    monkeypatch.setattr("sys.argv", ["crossbar", process])
    monkeypatch.setattr(component, "reactor", clock)
    monkeypatch.setattr(worker, "end", lambda: pytest.fail("the worker is ended"))
    made = Authenticator(Tickets, prefix="org.acme.")
    made.configure({})
    made.component(ComponentConfig("realm-auth", {})).onLeave(CloseDetails(ORDERLY))
    clock.advance(LEAVING)
    assert logged == []


def test_two_components_may_end_their_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are put out at one time; a reactor that is stopped already would complain."""
    clock, left = Clock(), [None]

    def stop() -> None:
        if not left:
            raise ReactorNotRunning
        left.pop()

    turning = SimpleNamespace(running=True, callLater=clock.callLater, stop=stop)
    monkeypatch.setattr("twisted.internet.reactor", turning)
    for _ in range(2):
        worker.end()
    clock.advance(0)
    assert not left


@pytest.mark.parametrize("which", ["component", "sessions"])
@pytest.mark.parametrize("lost", [TransportLost(), ApplicationError("wamp.close.transport_lost")])
def test_a_connection_that_is_lost_at_the_start_is_no_fault(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str], which: str, lost: Exception
) -> None:
    """As when the node is stopped, and a container has just made its component anew: there is nothing left to leave."""
    made = Authenticator(Tickets, prefix="org.acme.")
    made.configure({})
    session = getattr(made, which)(ComponentConfig("realm1", {"guard": {}}))
    session._session_id = 1
    asked: list[Any] = []

    async def ask(*args: Any, **_: Any) -> None:
        asked.append(args)
        raise lost

    for name in "register", "subscribe":
        monkeypatch.setattr(session, name, ask)
    result(Deferred.fromCoroutine(session.onJoin(None)))
    assert asked and logged == []


def test_a_connection_that_is_lost_last_is_no_fault(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    """When the checks are registered already: nobody is told of rights that aren't missing."""
    made = Authenticator(Keys, prefix="org.acme.")
    made.configure({})
    session = made.component(ComponentConfig("realm1", {}))
    asked: list[str] = []

    async def register(_: Any, procedure: str, options: Any) -> None:
        asked.append(procedure)
        if ".proven." in procedure:
            raise ApplicationError("wamp.close.transport_lost")

    monkeypatch.setattr(session, "register", register)
    result(Deferred.fromCoroutine(session.onJoin(None)))
    assert len(asked) == 3 and logged == []


@pytest.mark.parametrize("lost", [TransportLost(), ApplicationError("wamp.close.transport_lost")])
def test_a_connection_of_the_authors_that_is_lost_is_a_fault(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str], lost: Exception
) -> None:
    """A ``start`` may ask another router. Without it the node must not come up with nobody to ask."""

    class Far(Tickets):
        async def start(self, session: Any) -> None:
            raise lost

    made = Authenticator(Far, prefix="org.acme.")
    made.configure({})
    session = made.component(ComponentConfig("realm1", {}))
    left: list[bool] = []
    monkeypatch.setattr(session, "is_attached", lambda: True)
    monkeypatch.setattr(session, "leave", lambda: left.append(True))
    with pytest.raises(Exception, match=r"transport_lost|TransportLost"):
        result(Deferred.fromCoroutine(session.onJoin(None)))
    assert left and "the authenticator can't start" in logged[-1]


# -- the handbook


def test_the_handbook_follows_a_login_in_its_order() -> None:
    """What it names is called, one after the other; but for the store, which isn't asked here."""
    page = (HERE / "docs" / "library.md").read_text()
    table = page.partition("From HELLO to WELCOME")[2].partition("\n\nAnd")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row) if not name.endswith(".py")]
    assert "Principals.by_ticket" in named
    assert callable(Principals.by_ticket)
    called: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        name, file = frame.f_code.co_qualname, frame.f_code.co_filename
        if event == "call" and "wampauth" in file and name in named and name not in called:
            called.append(name)

    sys.setprofile(note)
    try:
        login(Tickets, {}, TICKET)
    finally:
        sys.setprofile(None)
    assert called == [name for name in named if name != "Principals.by_ticket"]
