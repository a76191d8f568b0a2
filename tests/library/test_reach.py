"""What does a client hear when the router can't reach the authenticator? The router's own classes ask here."""

from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import Challenge, Deny, HelloDetails, TransportDetails
from nacl.signing import SigningKey
from passwords import PASSWORD, Scram
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.error import ConnectError, ConnectionLost

from wampauth.testing.wamp import pubkey
from wampauth.worker.proofs import see_to_proofs
from wampauth.worker.reach import Realms

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


class Proxy:
    """Keeps the first session that it has come by, or a Deferred of it, as Crossbar.io's."""

    def __init__(self, kept: Any) -> None:
        self.kept = {"proxy": kept}
        self._service_sessions = {"realm-auth": self.kept, "realm1": None}

    def get_service_session(self, realm: str, role: str) -> "Deferred[Any]":
        kept = self._service_sessions[realm]
        if kept is not None:
            kept.setdefault(role, "new")
        return succeed(None)


@pytest.mark.parametrize(
    ("kept", "stays"),
    [
        (SimpleNamespace(is_attached=lambda: True), True),
        (SimpleNamespace(is_attached=lambda: False), False),
        (Deferred(), True),
        (succeed(None), False),
        (None, True),
    ],
    ids=["here", "ended", "on its way", "never came", "there is none"],
)
def test_a_proxy_asks_in_another_session_once_one_is_lost(kept: Any, stays: bool) -> None:
    proxy = Proxy(kept)
    for realm in "realm1", "realm-auth":
        Realms(proxy).get_service_session(realm, "proxy")
    assert proxy.kept["proxy"] is (kept if stays else "new")


@pytest.mark.parametrize("method", METHODS)
def test_a_refusal_is_passed_on(method: str) -> None:
    refusal = ApplicationError("org.acme.invalid_ticket", "no")
    answer = hello(method, succeed(Lost(refusal, is_asking=True)))
    assert (answer.reason, answer.message) == ("org.acme.invalid_ticket", "no")
