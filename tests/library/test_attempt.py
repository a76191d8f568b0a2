"""Does ``login`` leave nothing behind? Trial fails a test after which the reactor still has something to do."""

from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from wampauth import KeyClaim, Principal, TicketClaim
from wampauth.claims import Claim, CraClaim, ScramClaim, TlsClaim
from wampauth.scram import unknown
from wampauth.testing import login

PUBKEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032, section 7.1, test 1
SETTINGS = {"guard": {"decoy": ["realm1", "frontend"]}}
CLAIMS: dict[str, Claim] = {
    "ticket": TicketClaim(authid="alice", ticket="open-sesame"),
    "cryptosign": KeyClaim(pubkey=PUBKEY),
    "scram": ScramClaim(authid="alice", authextra={"nonce": "bm9uY2U="}),
    "wampcra": CraClaim(authid="alice"),
    "tls": TlsClaim(fingerprint="ab" * 32),
}
ALICE = Principal("alice", "realm1", "frontend", scram=unknown("ab" * 16), secret="open-sesame")


def fails() -> Any:
    raise RuntimeError("the directory is down")


ANSWERS = {"yes": lambda: ALICE, "no": lambda: None, "exception": fails, "deadline": lambda: Deferred()}


class Checks:
    """Answer each question in one way."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[str] = []

    def ticket(self, claim: Claim) -> Any:
        self.seen.append("asked")
        return self.answer()

    cryptosign = scram = wampcra = tls = ticket


class WithPool(Checks):
    """Need something that is opened before, and closed after."""

    def __init__(self, answer: Any, starting: Any = None, stopping: Any = None) -> None:
        super().__init__(answer)
        self.starting, self.stopping = starting or succeed(None), stopping or succeed(None)

    def start(self, session: Any) -> Any:
        self.seen.append("started")
        return self.starting

    def stop(self) -> Any:
        self.seen.append("stopped")
        return self.stopping


def ended(clock: Clock, checks: Checks, claim: Claim) -> Any:
    """What came of it, at the moment at which that is known."""
    results: list[Any] = []
    login(lambda _: checks, SETTINGS, claim, clock).addBoth(results.append)
    for _ in range(40):
        if not results:
            clock.advance(0.25)
    assert results, "it hasn't ended"
    return results[0]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("method", CLAIMS)
def test_nothing_is_left_to_be_done(method: str, answer: str) -> None:
    clock = Clock()
    found = ended(clock, Checks(ANSWERS[answer]), CLAIMS[method])
    assert clock.getDelayedCalls() == []
    if answer == "yes":
        assert found.authid == "alice"
    else:
        found.trap(ApplicationError)
        is_challenged = answer == "no" and method in ("scram", "wampcra")  # but can't prove anything
        assert (found.value.error == "wamp.error.not_authorized") == is_challenged


def test_nor_of_what_is_refused_before_it_is_checked() -> None:
    clock = Clock()
    ended(clock, Checks(ANSWERS["yes"]), TicketClaim(authid="al ice", ticket="open-sesame")).trap(ApplicationError)
    assert clock.getDelayedCalls() == []


def test_one_login_counts_nothing_against_another() -> None:
    clock = Clock()
    for _ in range(12):
        assert ended(clock, Checks(ANSWERS["yes"]), CLAIMS["ticket"]).authid == "alice"


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_was_started_is_stopped_before_the_result_is_there(answer: str) -> None:
    clock, stopping = Clock(), Deferred[None]()
    checks = WithPool(ANSWERS[answer], stopping=stopping)
    results: list[Any] = []
    login(lambda _: checks, SETTINGS, CLAIMS["ticket"], clock).addBoth(results.append)
    while "stopped" not in checks.seen and clock.getDelayedCalls():
        clock.advance(0.25)
    assert (checks.seen, results) == (["started", "asked", "stopped"], [])
    stopping.callback(None)
    assert results
    assert clock.getDelayedCalls() == []


def test_what_never_stops_is_not_waited_for() -> None:
    checks, results = WithPool(ANSWERS["yes"], stopping=Deferred()), list[Any]()
    login(lambda _: checks, SETTINGS, CLAIMS["ticket"]).addBoth(results.append)
    assert results[0].authid == "alice"


def test_what_starts_too_late_begins_nothing() -> None:
    """Not even the answers to operators, though there is a store."""
    clock, starting = Clock(), Deferred[None]()
    checks = WithPool(ANSWERS["yes"], starting=starting)
    ended(clock, checks, CLAIMS["ticket"]).trap(ApplicationError)
    starting.callback(None)
    assert checks.seen == ["started"]
    assert clock.getDelayedCalls() == []
