"""What does a client hear when the router can't reach the authenticator? The router's own classes ask here."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import Challenge, Deny, HelloDetails, TransportDetails
from nacl.signing import SigningKey
from passwords import PASSWORD, Scram
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.python.failure import Failure

from wampauth.testing.wamp import pubkey
from wampauth.worker.once import Kept
from wampauth.worker.proofs import see_to_proofs

METHODS = ("ticket", "cryptosign", "scram", "wampcra", "tls")
EXTRA = {"cryptosign": {"pubkey": pubkey(SigningKey(bytes(32)))}, "scram": Scram("alice", PASSWORD).extra}


class Lost:
    """The router's session in the realm of the authenticators: its connection is gone, or goes while it asks."""

    _session_id = _realm = _authid = _authrole = None  # of which the router's log would tell

    def __init__(self, fault: Exception, is_asking: bool = False) -> None:
        self.fault, self.is_asking = fault, is_asking

    def call(self, *_: Any) -> "Deferred[Any]":
        if self.is_asking:
            return fail(self.fault)
        raise self.fault


def hello(method: str, session: "Deferred[Any]") -> Any:
    """What a HELLO comes to, or for a ticket the AUTHENTICATE after it."""
    from crossbar.router import auth

    see_to_proofs()
    realms = SimpleNamespace(
        has_realm=lambda *_: True, has_role=lambda *_: True, get_service_session=lambda *_: session
    )
    config = {"type": "dynamic", "authenticator": "org.acme.authenticate", "authenticator-realm": "realm-auth"}
    wire = TransportDetails(peer="tcp4:192.0.2.1:1", peer_cert={"sha1": "00"})
    pending = auth.AUTHMETHOD_MAP[method](1, wire, realms, {**config, "authenticator-role": "authenticator"})
    details = HelloDetails("realm1", [method], "alice", authextra=EXTRA.get(method, {}))
    found: list[Any] = []
    maybeDeferred(pending.hello, "realm1", details).addBoth(found.append)
    if isinstance(found[0], Challenge):
        maybeDeferred(pending.authenticate, "secret").addBoth(found.append)
    return found[-1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "session",
    [
        lambda: succeed(Lost(TransportLost())),
        lambda: succeed(Lost(TransportLost(), is_asking=True)),
        lambda: succeed(Lost(ConnectionLost(), is_asking=True)),
        lambda: fail(ConnectError()),
        lambda: fail(TransportLost()),
        lambda: fail(ApplicationError("wamp.error.no_such_role")),
        lambda: fail(ValueError("secret")),
    ],
    ids=["gone", "goes", "breaks", "not there", "not there any more", "not let in", "broken"],
)
def test_its_client_is_told_to_try_again(method: str, session: Any) -> None:
    answer = hello(method, session())
    assert isinstance(answer, Deny)
    assert answer.reason == ApplicationError.CANCELED, answer
    assert answer.message == "the authenticator is out of reach: try again"


def test_a_proxy_keeps_its_session_until_it_is_lost() -> None:
    """All who ask while it is made wait for the same one. If it couldn't be made, the next one has it tried again."""
    kept, making, found = Kept(), list[Deferred[Any]](), list[Any]()

    def ask() -> None:
        kept.get(make).addCallback(found.append)

    def make() -> "Deferred[Any]":
        making.append(Deferred())
        return making[-1]

    session = SimpleNamespace(is_attached=lambda: True)
    for number, made in enumerate([ConnectError(), session], start=1):
        ask()
        ask()
        assert len(making) == number
        making[-1].callback(Failure(made) if made is not session else made)
    ask()
    assert found == [None, None, session, session, session]
    session.is_attached = lambda: False
    ask()
    assert len(making) == 3


CONNECTING = """
import sys
from types import SimpleNamespace
from twisted.internet import reactor
from crossbar.worker import proxy
from wampauth.worker.once import connect_once

connect_once()
endpoint = {"type": "unix", "path": sys.argv[1]}
transport = {"type": "rawsocket", "serializer": "cbor", "url": "rs://localhost", "endpoint": endpoint}
made = proxy.make_service_session(
    reactor, SimpleNamespace(cbdir=".", node_id="node"), {"transport": transport}, "realm-auth", "proxy"
)
made.addErrback(lambda failure: print(failure.value)).addBoth(lambda _: reactor.stop())
reactor.run()
"""


def test_a_proxy_that_cannot_connect_keeps_nobody_waiting(tmp_path: Path) -> None:
    """By itself it would try again for some minutes."""
    command = [sys.executable, "-c", CONNECTING, str(tmp_path / "nobody.sock")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "backend session disconnected without ever having joined before\n", done.stderr
    assert "Traceback" not in done.stderr and "Unhandled" not in done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_a_refusal_is_passed_on(method: str) -> None:
    refusal = ApplicationError("org.acme.invalid_ticket", "no")
    answer = hello(method, succeed(Lost(refusal, is_asking=True)))
    assert (answer.reason, answer.message) == ("org.acme.invalid_ticket", "no")
