"""Does a store of your own keep what is asked of one? A class for pytest, to be subclassed with four hooks::

    class TestMyStore(StoreContract):
        def make(self, tmp_path): ...
        def add(self, store, *, principal, ticket, pubkey): ...
        def revoke(self, store, credential): ...
        def close(self, store): ...

Each hook, as each method of the store, may be a coroutine function, return a Deferred, or do its work at once. All are
called in the thread of Twisted's reactor, which runs until the tests are over. Fixtures of your own may be ``autouse``.
"""

import functools
import math
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread
from twisted.python.reflect import namedModule

from wampauth.claims import Claim, KeyClaim, Principal, Refused, TicketClaim
from wampauth.store import OpenStore

PATIENCE = 30.0  # seconds for whatever is asked
AT_ONCE = 50
MANY = 2000
ALICE = Principal("alice", "realm1", "frontend", {"number": 23, "list": [None, 1.5, "größe"]})
BOB = Principal("bob", "devices", "device")


class StoreContract:
    """The contract of a ``Store``, as tests."""

    # -- what the subclass says

    def make(self, tmp_path: Path) -> Any:
        """A new store, with nobody in it.

        :param tmp_path: an empty folder.
        """
        raise NotImplementedError

    def add(self, store: Any, *, principal: Principal, ticket: str | None, pubkey: str | None) -> Any:
        """Give a principal, who may be known already, a credential: a ticket, or else a public key.

        :param principal: authid, realm, role and extra.
        :param ticket: 43 random characters.
        :param pubkey: 64 hexadecimal digits in lower case.
        :returns: the credential's id, as ``by_ids`` is asked for it.
        """
        raise NotImplementedError

    def revoke(self, store: Any, credential: str) -> Any:
        """Withdraw the credential with that id, from now on."""
        raise NotImplementedError

    def close(self, store: Any) -> Any:
        """Clean up; the store isn't used any more."""

    # -- how it is asked

    @pytest.fixture(autouse=True)
    def _remember(self, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        self._node, self._tmp_path = request.node, tmp_path

    @functools.cached_property
    def _made(self) -> Any:
        """Made in the test, and closed right after it: what fixtures of the subclass provide is there all the while."""
        made = do(self.make, self._tmp_path)
        self._node.addfinalizer(lambda: do(self.close, made))
        return made

    @functools.cached_property
    def _store(self) -> OpenStore:
        return OpenStore(self._made)

    def _add(self, principal: Principal, ticket: str | None = None, pubkey: str | None = None) -> str:
        credential = do(functools.partial(self.add, self._made, principal=principal, ticket=ticket, pubkey=pubkey))
        assert isinstance(credential, str), "add() must return the credential's id"
        return credential

    def _revoke(self, credential: str) -> None:
        do(self.revoke, self._made, credential)

    def _question(self, claim: Claim) -> Callable[[], Any]:
        """What a login asks; to be called in the reactor's thread."""
        if isinstance(claim, TicketClaim):
            return functools.partial(self._store.by_ticket, claim)
        return functools.partial(self._store.by_key, claim)

    def _login(self, claim: Claim) -> Principal | None:
        """The principal, or None if the store says no in one way or the other."""
        try:
            found: Principal | None = do(self._question(claim))
        except Refused:
            return None
        if found is not None:
            look_at(found)
        return found

    def _by_ids(self, credentials: Collection[str]) -> Mapping[str, Principal]:
        found: Mapping[str, Principal] = do(self._store.by_ids, credentials)
        for principal in found.values():
            look_at(principal)
        return found

    def _changes(self, since: Any) -> tuple[Any, Collection[str] | None]:
        return do(self._store.changes, since)  # type: ignore[no-any-return]

    # -- logins

    def test_a_ticket_admits_whose_it_is(self) -> None:
        ticket, other = new_ticket(), new_ticket()
        credential = self._add(ALICE, ticket=ticket)
        self._add(BOB, ticket=other)
        found = self._login(TicketClaim(authid="alice", ticket=ticket))
        assert found is not None, "the right ticket wasn't let in"
        assert what(found) == (*what(ALICE)[:-1], credential)
        assert ticket not in repr(found), "the ticket shows in the principal"

    def test_a_key_admits_whose_it_is(self) -> None:
        pubkey, other = new_key(), new_key()
        credential = self._add(ALICE, pubkey=pubkey)
        self._add(BOB, pubkey=other)
        for authid in None, "alice":
            found = self._login(KeyClaim(pubkey=pubkey, authid=authid))
            assert found is not None, "the right key wasn't let in"
            assert what(found) == (*what(ALICE)[:-1], credential)
            assert found.pubkey in (None, pubkey), "the answer has another key"

    def test_a_wrong_ticket_admits_nobody(self) -> None:
        ticket = new_ticket()
        self._add(ALICE, ticket=ticket)
        for wrong in new_ticket(), "", ticket[:-1], ticket + "x", ticket.swapcase(), "x" * 1024, "größe 😀":
            assert self._login(TicketClaim(authid="alice", ticket=wrong)) is None, f"{wrong!r} was let in"

    def test_nobody_is_admitted_with_somebody_elses_ticket(self) -> None:
        ticket = new_ticket()
        self._add(ALICE, ticket=ticket)
        self._add(BOB, ticket=new_ticket())
        for authid in "bob", "nobody", "Alice", "alice' OR 1=1 --":
            assert self._login(TicketClaim(authid=authid, ticket=ticket)) is None, f"{authid} was let in"

    def test_an_unknown_key_admits_nobody(self) -> None:
        self._add(ALICE, pubkey=new_key())
        assert self._login(KeyClaim(pubkey=new_key())) is None
        assert self._login(KeyClaim(pubkey=new_key(), authid="alice")) is None

    def test_a_key_is_no_ticket(self) -> None:
        pubkey = new_key()
        self._add(ALICE, pubkey=pubkey)
        assert self._login(TicketClaim(authid="alice", ticket=pubkey)) is None

    def test_an_empty_store_admits_nobody(self) -> None:
        assert self._login(TicketClaim(authid="alice", ticket=new_ticket())) is None
        assert self._login(KeyClaim(pubkey=new_key())) is None

    def test_what_is_added_counts_at_once(self) -> None:
        claim = TicketClaim(authid="alice", ticket=new_ticket())
        assert self._login(claim) is None
        self._add(ALICE, ticket=claim.ticket)
        assert self._login(claim) is not None

    def test_a_revoked_ticket_admits_nobody(self) -> None:
        claim = TicketClaim(authid="alice", ticket=new_ticket())
        credential = self._add(ALICE, ticket=claim.ticket)
        assert self._login(claim) is not None
        self._revoke(credential)
        assert self._login(claim) is None

    def test_a_revoked_key_admits_nobody(self) -> None:
        claim = KeyClaim(pubkey=new_key())
        credential = self._add(ALICE, pubkey=claim.pubkey)
        assert self._login(claim) is not None
        self._revoke(credential)
        assert self._login(claim) is None

    def test_two_credentials_count_on_their_own(self) -> None:
        tickets = [TicketClaim(authid="alice", ticket=new_ticket()) for _ in range(2)]
        key = KeyClaim(pubkey=new_key())
        first, second = (self._add(ALICE, ticket=claim.ticket) for claim in tickets)
        third = self._add(ALICE, pubkey=key.pubkey)
        assert len({first, second, third}) == 3, "each credential has an id of its own"
        self._revoke(first)
        assert self._login(tickets[0]) is None
        assert [found and found.credential for found in (self._login(tickets[1]), self._login(key))] == [second, third]
        assert set(self._by_ids({first, second, third})) == {second, third}

    def test_many_at_once_are_not_mixed_up(self) -> None:
        claims: list[Claim] = []
        for number in range(AT_ONCE):
            principal = Principal(f"person{number}", "realm1", "frontend")
            claim: Claim = TicketClaim(authid=principal.authid, ticket=new_ticket())
            if number % 2:
                claim = KeyClaim(pubkey=new_key(), authid=principal.authid)
            self._add(principal, getattr(claim, "ticket", None), getattr(claim, "pubkey", None))
            claims.append(claim)
        questions = [self._question(claim) for claim in claims]
        found = do(lambda: gatherResults([Deferred.fromCoroutine(question()) for question in questions]))
        assert [principal and principal.authid for principal in found] == [claim.authid for claim in claims]

    def test_a_question_that_is_given_up_does_no_harm(self) -> None:
        claim = TicketClaim(authid="alice", ticket=new_ticket())
        self._add(ALICE, ticket=claim.ticket)
        ask = self._question(claim)

        def give_up() -> "Deferred[Any]":
            question = Deferred.fromCoroutine(ask())
            question.addErrback(lambda no: no.trap(CancelledError))
            question.cancel()
            return question

        do(give_up)
        assert self._login(claim) is not None

    # -- live sessions

    def test_by_ids_has_those_that_count(self) -> None:
        alice, bob = self._add(ALICE, ticket=new_ticket()), self._add(BOB, pubkey=new_key())
        everybody = {alice: (*what(ALICE)[:-1], alice), bob: (*what(BOB)[:-1], bob)}
        for asked in [alice, bob], (bob, alice), {alice, bob}, frozenset({alice, bob}), dict.fromkeys((alice, bob)):
            assert {one: what(principal) for one, principal in self._by_ids(asked).items()} == everybody
        assert {one: what(principal) for one, principal in self._by_ids({bob}).items()} == {bob: everybody[bob]}

    def test_by_ids_agrees_with_the_login(self) -> None:
        """Otherwise a session would be ended as soon as it is looked at."""
        ticket, pubkey = new_ticket(), new_key()
        self._add(ALICE, ticket=ticket)
        self._add(BOB, pubkey=pubkey)
        for found in self._login(TicketClaim(authid="alice", ticket=ticket)), self._login(KeyClaim(pubkey=pubkey)):
            assert found is not None
            assert found.credential is not None
            again = self._by_ids([found.credential])[found.credential]
            assert (*what(again), again.expires) == (*what(found), found.expires)

    def test_by_ids_has_nothing_of_the_unknown(self) -> None:
        assert self._by_ids([]) == self._by_ids(set()) == {}
        assert self._by_ids(["nobody's", "", "x" * 128, "' OR 1=1 --"]) == {}

    def test_by_ids_may_be_asked_for_many(self) -> None:
        alice = self._add(ALICE, ticket=new_ticket())
        assert set(self._by_ids({alice, *(secrets.token_hex(8) for _ in range(MANY))})) == {alice}

    def test_by_ids_has_lost_what_is_revoked(self) -> None:
        alice, bob = self._add(ALICE, ticket=new_ticket()), self._add(BOB, pubkey=new_key())
        self._revoke(alice)
        assert set(self._by_ids({alice, bob})) == {bob}
        self._revoke(bob)
        assert self._by_ids({alice, bob}) == {}

    def test_changes_begin_anywhere(self) -> None:
        point, _ = self._changes(None)
        self._changes(point)
        self._add(ALICE, ticket=new_ticket())
        self._changes(None)

    def test_changes_name_whose_credential_was_revoked(self) -> None:
        credentials = {
            "alice": self._add(ALICE, ticket=new_ticket()),
            "bob": self._add(BOB, pubkey=new_key()),
        }
        start, _ = self._changes(None)
        point = start
        for authid, credential in credentials.items():
            self._revoke(credential)
            point, changed = self._changes(point)
            assert changed is None or authid in changed, f"{authid} isn't named"
        _, changed = self._changes(start)  # somebody else may be further behind
        assert changed is None or {"alice", "bob"} <= set(changed)


def what(principal: Principal) -> tuple[Any, ...]:
    """What a session keeps of a principal."""
    return principal.authid, principal.realm, principal.role, dict(principal.extra), principal.credential


def look_at(principal: Principal) -> None:
    """See that each field is of the right type."""
    for value in principal.authid, principal.realm, principal.role, principal.credential:
        assert isinstance(value, str), "authid, realm, role and credential are text"
    assert isinstance(principal.extra, Mapping), "extra is a mapping"
    expires: Any = principal.expires
    if expires is not None:
        assert type(expires) in (int, float), "expires is a number of seconds"
        assert math.isfinite(expires), "expires is a number of seconds"


def new_ticket() -> str:
    return secrets.token_urlsafe(32)


def new_key() -> str:
    return bytes(SigningKey.generate().verify_key).hex()


def do(work: Callable[..., Any], *args: Any) -> Any:
    """What `work` returns, or what is awaited then, in the reactor's thread.

    :raises twisted.internet.defer.TimeoutError: if that takes too long.
    """
    reactor = running_reactor()

    async def awaited() -> Any:
        answer = work(*args)
        return await answer if isawaitable(answer) else answer

    return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(awaited()).addTimeout(PATIENCE, reactor))


@functools.cache
def running_reactor() -> Any:
    """Twisted's reactor, running in a thread. It can't be started twice, so it runs until the tests are over."""
    reactor: Any = namedModule("twisted.internet.reactor")
    if reactor.running:
        raise RuntimeError("the reactor is running already: StoreContract runs it in a thread of its own")
    thread = threading.Thread(target=reactor.run, args=(False,), name="reactor", daemon=True)

    def end() -> None:
        threading.main_thread().join()
        reactor.callFromThread(reactor.stop)  # what was started in it is stopped with it
        thread.join(PATIENCE)

    thread.start()
    threading.Thread(target=end, name="end of the reactor").start()
    return reactor
