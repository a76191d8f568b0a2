"""A store with somebody in it, of each engine in turn, and a reactor to ask it from.

A module that wants them has ``pytest_plugins = ["postgres", "store_fixtures"]``.
"""

from collections.abc import Iterator
from contextlib import closing

import pytest
from stores import CHOSEN, KEY, NEVER, TICKET, VERIFIERS, Loop

from wampauth import store as stores
from wampauth.store import Connection, connect, create, ticket_digest, tickets, writing
from wampauth.store.principals import Principals


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture
def path(store_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with alice, who has one of each, and bob, who has nothing; of each engine in turn."""
    monkeypatch.setattr(tickets, "decoy", lambda: VERIFIERS[NEVER])
    path = store_url
    create(path)
    with closing(connect(path)) as store:
        for authid in "alice", "bob":
            writing.add(store, {"authid": authid, "realm": "realm1", "role": "frontend", "extra": {"of": authid}})
        writing.add_credential(store, "alice", {"kind": "key", "verifier": KEY})
        writing.add_credential(store, "alice", {"kind": "ticket", "verifier": ticket_digest(TICKET)})
        writing.add_credential(store, "alice", {"kind": "chosen", "verifier": VERIFIERS[CHOSEN]})
    return path


@pytest.fixture
def store(path: str) -> Iterator[Connection]:
    """The same store, open for an operator's changes."""
    with closing(connect(path)) as connection:
        yield connection


@pytest.fixture
def known(loop: Loop, path: str) -> Iterator[Principals]:
    """The same store as the node has it."""
    known = stores._principals(path, loop.reactor)
    yield known
    loop.ask(known.close)
    loop.ask(known.close)  # as at the reactor's shutdown
