"""The store's contract: what do ``by_ids`` and ``changes`` say of sessions that are joined?"""

import secrets

from wampauth.claims import KeyClaim, TicketClaim
from wampauth.testing.contract.hooks import ALICE, BOB, OTHERWISE, Hooks, new_key, new_ticket, what

MANY = 2000


class LiveSessions(Hooks):
    """Sessions that are joined, and that something is taken from."""

    def test_by_ids_has_those_that_count(self) -> None:
        alice, bob = self._add(ALICE, ticket=new_ticket()), self._add(BOB, pubkey=new_key())
        everybody = {alice: self._what(ALICE, alice), bob: self._what(BOB, bob)}
        for asked in [alice, bob], (bob, alice), {alice, bob}, frozenset({alice, bob}), dict.fromkeys((alice, bob)):
            found = {one: what(principal) for one, principal in self._by_ids(asked).items()}
            assert found == everybody, OTHERWISE
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
