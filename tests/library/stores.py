"""What do the tests of the store have in common? Claims, verifiers, and a reactor in a thread to ask from."""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from nacl.pwhash import argon2id
from nacl.signing import SigningKey
from twisted.internet.defer import maybeDeferred
from twisted.internet.selectreactor import SelectReactor

from wampauth.claims import KeyClaim, Origin, TicketClaim

PATIENCE = 30.0  # seconds
CHOSEN, OTHER_CHOSEN, NEVER = "secret123", "correct horse", secrets.token_hex()
VERIFIERS = {  # as cheap as can be: what is asked here isn't the price
    ticket: argon2id.str(ticket.encode(), argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN).decode()
    for ticket in (CHOSEN, OTHER_CHOSEN, NEVER)
}
KEY, OTHER_KEY = (bytes(SigningKey(seed * 32).verify_key).hex() for seed in (b"1", b"2"))
TICKET = secrets.token_urlsafe(32)

only_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


def by_key(pubkey: str = KEY, address: str = "192.0.2.1") -> KeyClaim:
    return KeyClaim(pubkey=pubkey, origin=Origin(address=address))


def by_ticket(ticket: str = TICKET, authid: str = "alice", address: str = "192.0.2.1") -> TicketClaim:
    return TicketClaim(authid=authid, ticket=ticket, origin=Origin(address=address))


class Loop:
    """A reactor in a thread of its own, and a way to ask it something from here."""

    def __init__(self) -> None:
        self.reactor = SelectReactor()
        self._thread = threading.Thread(target=self.reactor.run, args=(False,))
        self._thread.start()

    def start(self, question: Callable[..., Any], *args: Any) -> "Future[Any]":
        """Ask in the reactor's thread; what is returned has the answer once it is there."""
        answer: Future[Any] = Future()

        def ask() -> None:
            deferred = maybeDeferred(question, *args)
            deferred.addCallbacks(answer.set_result, lambda failure: answer.set_exception(failure.value))

        self.reactor.callFromThread(ask)
        return answer

    def ask(self, question: Callable[..., Any], *args: Any) -> Any:
        """Ask, and wait for the answer."""
        return self.start(question, *args).result(PATIENCE)

    def stop(self) -> None:
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
