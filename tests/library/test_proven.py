"""Does the authenticator that gave a challenge hear of a right proof, once, and of nothing else?

The router's own classes check proofs here; what is between them and the guard is left out. (A node of six processes:
test_scaled_methods.py.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError, TransportLost
from autobahn.wamp.types import Accept, HelloDetails, TransportDetails
from nacl.signing import SigningKey
from passwords import PASSWORD, SECRET, Scram, cra_proof
from test_guard import Check, Guarded
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock

from wampauth import Principal, scram
from wampauth.admission import Challenged
from wampauth.testing.wamp import CHALLENGE, pubkey, sign
from wampauth.worker import proven

KEY, OTHER = SigningKey(bytes(32)), SigningKey(b"o" * 32)
METHODS = ("scram", "wampcra", "cryptosign")
ALICE = Principal("alice", "realm1", "frontend", pubkey=pubkey(KEY), secret=SECRET)
PATIENCE = 10.1  # seconds after which no proof is waited for any more
SESSION = 4711


@dataclass
class Way:
    """From a client to a guard with two tokens, and back.

    :ivar told: what the authenticator was told over WAMP.
    :ivar fault: what comes of telling it.
    """

    guard: Guarded
    method: str
    config: dict[str, Any]
    told: list[tuple[Any, ...]] = field(default_factory=list)
    fault: BaseException | None = None
    sessions: Any = field(default_factory=lambda: iter(range(SESSION, SESSION + 1000)))
    _session_id = _realm = _authid = _authrole = None  # of which the router's log would tell

    def call(self, procedure: str, *args: Any) -> "Deferred[Any]":
        """The router's session in the realm of the authenticators."""
        if procedure == self.config["authenticator"]:
            return self.authenticate(*args)
        self.told.append((procedure, *args))
        if isinstance(self.fault, TransportLost):
            raise self.fault
        return fail(self.fault) if self.fault else maybeDeferred(self.guard.admissions.challenged.proven, *args)

    def authenticate(self, *claimed: Any) -> "Deferred[Any]":
        found = ALICE if self.method != "scram" else replace(ALICE, scram=scram.derive(PASSWORD, "ab" * 16, 1, 8192))
        return self.guard.guard.wrap(self.method, Check(found))(*claimed)

    def hello(self) -> "Challenge":
        """Say HELLO, and wait as long as a challenge takes."""
        from crossbar.router import auth

        anything = lambda *_: True  # noqa: E731
        realms = SimpleNamespace(has_realm=anything, has_role=anything, get_service_session=lambda *_: succeed(self))
        wire = TransportDetails(peer=f"tcp4:192.0.2.1:{next(self.sessions)}")
        pending = auth.AUTHMETHOD_MAP[self.method](next(self.sessions), wire, realms, self.config)
        proves = Scram("alice", PASSWORD)
        extra = {"scram": proves.extra, "cryptosign": {"pubkey": pubkey(KEY)}}.get(self.method, {})
        found: list[Any] = []
        maybeDeferred(pending.hello, "realm1", HelloDetails("realm1", [self.method], "alice", authextra=extra)).addBoth(
            found.append
        )
        self.guard.clock.advance(0.25)
        return Challenge(self.method, pending, found[0] if found else None, proves)


@dataclass
class Challenge:
    """What became of a HELLO."""

    method: str
    pending: Any  # the router's object
    sent: Any  # to the client
    scram: Scram

    def proof(self, is_right: bool = True) -> str:
        message = [CHALLENGE, self.method, self.sent.extra]
        if self.method == "cryptosign":
            return sign(KEY if is_right else OTHER, message)
        if not is_right:
            return "A" * 44
        return self.scram.proof(message) if self.method == "scram" else cra_proof(SECRET, message)

    def answer(self, proof: str) -> bool:
        return isinstance(self.pending.authenticate(proof), Accept)


MakeWay = Callable[..., Way]


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeWay:
    from crossbar.router import auth
    from crossbar.router.auth import pending

    from wampauth.worker import proofs

    monkeypatch.setattr(auth, "AUTHMETHOD_MAP", {**auth.AUTHMETHOD_MAP})
    proofs.see_to_proofs()

    def make(method: str, wiring: str) -> Way:
        config = {"type": "dynamic", "authenticator": f"com.example.authenticate.{method}", "authenticator-realm": "x"}
        if wiring == "function":
            config = {"type": "function", "create": "checks.create"}
        settings = {"failures_at_once": 2, "failures_per_second": 0.001, "decoy": ("realm1", "frontend")}
        made = Way(Guarded(tmp_path, **settings), method, config)
        if wiring == "elsewhere":
            monkeypatch.setattr(proven, "HERE", {})
        monkeypatch.setitem(pending._authenticators, "checks.create", made.authenticate)
        return made

    return make


WIRINGS = pytest.mark.parametrize("wiring", ["elsewhere", "dynamic", "function"])
BY_CHALLENGE = pytest.mark.parametrize("method", METHODS)


@WIRINGS
@BY_CHALLENGE
def test_who_has_proven_it_pays_nothing(way: MakeWay, method: str, wiring: str) -> None:
    there = way(method, wiring)
    for _ in range(5):  # though there are two tokens
        challenge = there.hello()
        assert challenge.answer(challenge.proof())
        assert len(there.guard.admissions.challenged) == 0
    assert len(there.told) == (5 if wiring == "elsewhere" else 0)  # in one process, it costs no call


@WIRINGS
@BY_CHALLENGE
def test_who_has_not_runs_out(way: MakeWay, method: str, wiring: str) -> None:
    """He says nothing, guesses, or repeats a proof that was right once."""
    there = way(method, wiring)
    first = there.hello()
    proof = first.proof()
    assert first.answer(proof)
    there.hello()
    challenge = there.hello()
    assert not challenge.answer(challenge.proof(is_right=False))
    assert not challenge.answer(proof)
    there.guard.clock.advance(PATIENCE)
    assert len(there.told) == (1 if wiring == "elsewhere" else 0)
    assert "too many failed attempts" in there.hello().sent.message


@WIRINGS
@BY_CHALLENGE
def test_one_challenge_is_told_of_once(way: MakeWay, method: str, wiring: str) -> None:
    """However often its proof is sent, and though another challenge is under way."""
    there = way(method, wiring)
    challenge, other = there.hello(), there.hello()
    proof = challenge.proof()
    for _ in range(3):
        challenge.answer(proof)
    assert len(there.told) <= 1
    assert len(there.guard.admissions.challenged) == 1
    assert other.answer(other.proof())


@BY_CHALLENGE
def test_no_client_sees_how_it_is_told(way: MakeWay, method: str) -> None:
    there = way(method, "elsewhere")
    challenge = there.hello()
    accepted = challenge.pending.authenticate(challenge.proof())
    ((procedure, _, receipt),) = there.told
    for shown in challenge.sent.extra, accepted.authextra, accepted:
        assert not any(secret in str(shown) for secret in (procedure, receipt, proven.FIELD))


@BY_CHALLENGE
@pytest.mark.parametrize("fault", [ApplicationError("wamp.error.not_authorized"), TransportLost()])
def test_who_cannot_tell_lets_in_all_the_same(way: MakeWay, method: str, fault: BaseException) -> None:
    there = way(method, "elsewhere")
    there.fault = fault
    challenge = there.hello()
    assert challenge.answer(challenge.proof())
    assert len(there.told) == 1


@pytest.mark.parametrize("given", [None, "text", {"procedure": "x"}, [], ["com.example.one"], [1, 2]])
def test_what_another_authenticator_answers_is_its_own_business(given: Any) -> None:
    def call(*_: Any) -> Any:
        pytest.fail("nobody asked for that")

    proven._tell(given, 1, SimpleNamespace(call=call))


# -- forged


def test_without_its_receipt_nothing_is_proven() -> None:
    """Neither does it help to know the session, nor to have the receipt of another one."""
    challenged, clock = Challenged("org.acme."), Clock()
    settled: list[tuple[int, bool]] = []

    def told(session: int, is_proven: bool) -> None:
        settled.append((session, is_proven))

    receipts = {one: challenged.wait_for(one, clock, partial(told, one)) for one in (1, 2)}
    for forged in None, "", "0" * 32, receipts[2], receipts[1][:-1], receipts[1].encode(), "é" * 32, [receipts[1]], 1:
        challenged.proven(1, forged)
    others: list[Any] = [3, None, "1", [1], {}]
    for other in others:
        challenged.proven(other, receipts[1])
    assert settled == []
    challenged.proven(1, receipts[1])
    challenged.proven(1, receipts[1])
    challenged.joined(1)
    assert settled == [(1, True)]
    clock.advance(PATIENCE)
    challenged.proven(2, receipts[2])  # too late
    assert settled == [(1, True), (2, False)]


def test_where_it_is_told_cannot_be_guessed_and_is_forgotten_with_the_authenticator() -> None:
    one, other = Challenged("org.acme."), Challenged("org.acme.")
    procedure = one.procedure
    assert procedure.startswith("org.acme.authenticate.proven.")
    assert procedure != other.procedure
    assert proven.HERE[procedure] is one
    del one
    assert procedure not in proven.HERE
