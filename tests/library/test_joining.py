"""What does a proxy do for a client that says too much, or hangs up, while its session is made at the router? And what
does it tell one whose session can't be made, or is lost? (Against a real proxy: test_strangers_scaled.py.)
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp import message
from autobahn.wamp.auth import create_authenticator
from autobahn.wamp.types import Accept, Deny
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectError
from twisted.logger import globalLogPublisher

from wampauth.worker import goodbye, joining, welcomed

AGAIN = [(message.Abort, "wamp.error.canceled")]
CHANGED = ("frontend_accepted", "onMessage", "onClose")


class Wire:
    """A transport that only keeps what is sent. A client's has no settings."""

    transport_details, factory, peer = None, SimpleNamespace(_config={}), "tcp4:192.0.2.1:1"

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.is_open = True

    def send(self, told: Any) -> None:
        self.sent.append(told)

    def isOpen(self) -> bool:
        return self.is_open

    def close(self) -> None:
        self.is_open = False

    abort = close


class At:
    """A client at a proxy whose proof was right, and how the proxy comes to the router."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from crossbar.worker import proxy

        for name in CHANGED:
            monkeypatch.setattr(proxy.ProxyFrontendSession, name, getattr(proxy.ProxyFrontendSession, name))
        for name in "onMessage", "onClose":
            monkeypatch.setattr(proxy.ProxyBackendSession, name, getattr(proxy.ProxyBackendSession, name))
        monkeypatch.setattr(proxy.ProxyController, "map_backend", proxy.ProxyController.map_backend)
        monkeypatch.setattr(proxy, "make_backend_connection", self._connect)
        monkeypatch.setattr(proxy, "_read_node_key", lambda *_, **__: {"hex": "00"})
        goodbye.pass_on()
        joining.keep_to_one()
        self.connecting: list[Deferred[Any]] = []
        self.sessions: dict[Any, Any] = {}
        self.controller = SimpleNamespace(
            _backends_by_frontend=self.sessions,
            _reactor=None,
            _cbdir="",
            node_id="",
            log=proxy.log,
            get_backend_config=lambda *_: {},
            _routes={},
        )
        self.controller.map_backend = lambda *args: proxy.ProxyController.map_backend(self.controller, *args)
        self.controller.unmap_backend = lambda *args: proxy.ProxyController.unmap_backend(self.controller, *args)
        self.client = proxy.ProxyFrontendSession(SimpleNamespace(worker=self.controller, _node_id="", _worker_id=""))
        self.wire, self.within = Wire(), Wire()
        self.client.onOpen(self.wire)
        self.make = proxy.ProxyBackendSession

    def _connect(self, *_: Any) -> "Deferred[Any]":
        self.connecting.append(Deferred())
        return self.connecting[-1]

    def proves(self) -> "Deferred[Any]":
        return self.client.frontend_accepted(Accept("realm1", "alice", "frontend", authextra={"a": 1}))

    def connects(self) -> Any:
        """The proxy's connection to the router is there."""
        session = self.make()
        session.add_authenticator(create_authenticator("anonymous-proxy", authextra={}))
        self.within._proxy_other_side = self.client  # type: ignore[attr-defined]
        session.onOpen(self.within)
        self.connecting[-1].callback(session)
        return session

    @property
    def told(self) -> list[tuple[type, str]]:
        return [(type(one), one.reason) for one in self.wire.sent]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    return At(monkeypatch)


def test_one_proof_lets_in_once(at: At) -> None:
    """Others that were being checked at the same time let nobody in."""
    for _ in range(3):
        at.proves()
    assert len(at.connecting) == 1


@pytest.mark.parametrize("said", [message.Authenticate("x"), message.Goodbye("a.b"), message.Abort("a.b")])
def test_who_is_let_in_waits_for_welcome(at: At, said: Any) -> None:
    at.proves()
    at.client.onMessage(said)
    assert not at.wire.is_open


def test_who_hangs_up_before_the_router_is_reached(at: At) -> None:
    at.proves()
    at.client.onClose(False)
    at.connects()
    assert (at.sessions, at.within.is_open) == ({}, False)


def test_who_hangs_up_before_its_session_is_there(at: At) -> None:
    at.proves()
    session = at.connects()
    assert [type(one) for one in at.within.sent] == [message.Hello]
    assert at.sessions == {at.client: session}
    at.client.onClose(False)
    assert (at.sessions, at.within.is_open) == ({}, False)


def refused(at: At) -> None:
    at.connecting[0].errback(ConnectError("inside"))


def lost(at: At) -> None:
    at.connects().onClose(False)


def aborted(at: At) -> None:
    session = at.connects()
    session.onMessage(message.Abort("wamp.error.no_such_role", "inside"))
    session.onClose(True)


@pytest.mark.parametrize(
    ("how", "told"),
    [(refused, AGAIN), (lost, AGAIN), (aborted, [(message.Abort, "wamp.error.no_such_role")])],
    ids=["refused", "lost", "aborted"],
)
def test_who_cannot_have_a_session_is_told_and_may_try_again(at: At, how: Callable[[At], None], told: Any) -> None:
    seen: list[Any] = []
    globalLogPublisher.addObserver(seen.append)
    try:
        at.proves()
        how(at)
    finally:
        globalLogPublisher.removeObserver(seen.append)
    assert (at.told, at.sessions) == (told, {})
    assert "inside" not in repr(at.wire.sent[0])
    assert not [one for one in seen if "log_failure" in one]
    at.proves()
    assert len(at.connecting) == 2


def test_who_loses_the_router_is_told_and_hangs_up(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a reason that has an Autobahn client come back."""
    at.proves()
    session = at.connects()
    session._session_id, at.client._session_id, at.client._backend_session = 1, 1, session
    monkeypatch.setattr("twisted.internet.reactor.callLater", lambda *_: SimpleNamespace(active=lambda: False))
    session.onClose(False)
    assert (at.told, at.sessions) == ([(message.Goodbye, "wamp.close.transport_lost")], {})
    at.client.onMessage(message.Goodbye("wamp.close.goodbye_and_out"))
    assert not at.wire.is_open


def test_what_breaks_the_protocol_closes_the_connection(at: At) -> None:
    at.client.onMessage(message.Published(1, 1))
    assert not at.wire.is_open


def test_a_proof_of_nothing_is_answered(at: At) -> None:
    at.client.onMessage(message.Authenticate("x"))
    assert at.told == [(message.Abort, "wamp.error.authentication_failed")]
    assert at.wire.sent[0].message == "no pending authentication"  # as by the router


def test_the_router_itself_lets_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though two authenticators that are asked at a time both say yes. With a second session the router forgets whose
    the first is, and keeps it."""
    from crossbar.router.session import RouterSession

    yes, no = Accept("realm1", "alice", "frontend"), Deny()
    answers = [yes, yes, no] * 2
    for name in "onHello", "onAuthenticate":
        monkeypatch.setattr(RouterSession, name, lambda *_: succeed(answers.pop()))
    welcomed.let_in_once()
    session = RouterSession.__new__(RouterSession)
    for ask in session.onHello, session.onAuthenticate:
        found: list[Any] = []
        for pending in None, 1, None:  # the id that a session will have
            session._pending_session_id = pending
            ask("realm1", None).addCallback(found.append)
        assert found == [no, yes, None]
