"""The store's contract: whom do ``by_ticket`` and ``by_key`` let in?"""

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from wampauth.claims import Claim, KeyClaim, Principal, TicketClaim
from wampauth.testing.contract.hooks import ALICE, BOB, OTHERWISE, Hooks, new_key, new_ticket, what
from wampauth.testing.contract.reactor import do

AT_ONCE = 50


class Logins(Hooks):
    """Logins with a ticket or a key."""

    def test_a_ticket_admits_whose_it_is(self) -> None:
        ticket, other = new_ticket(), new_ticket()
        credential = self._add(ALICE, ticket=ticket)
        self._add(BOB, ticket=other)
        found = self._login(TicketClaim(authid="alice", ticket=ticket))
        assert found is not None, "the right ticket wasn't let in"
        assert what(found) == self._what(ALICE, credential), OTHERWISE
        assert ticket not in repr(found), "the ticket shows in the principal"

    def test_a_key_admits_whose_it_is(self) -> None:
        pubkey, other = new_key(), new_key()
        credential = self._add(ALICE, pubkey=pubkey)
        self._add(BOB, pubkey=other)
        for authid in None, "alice":
            found = self._login(KeyClaim(pubkey=pubkey, authid=authid))
            assert found is not None, "the right key wasn't let in"
            assert what(found) == self._what(ALICE, credential), OTHERWISE
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
            question.addErrback(lambda no: None)  # what it makes of that is its own affair
            question.cancel()
            return question

        do(give_up)
        assert self._login(claim) is not None
