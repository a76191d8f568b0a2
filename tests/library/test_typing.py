"""Does a type checker accept what an author writes, and say so if it is wrong? By the installed library alone: this
repository's own settings for mypy don't count."""

import os
import subprocess
import sys
from typing import Protocol

import pytest

IMPORTS = """
from collections.abc import Awaitable, Collection, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed

from wampauth import (
    Answer, Authenticator, Changes, Check, KeyClaim, OpenStore, Origin, Principal, Refused, SettingsError, Store,
    StoreError, TicketClaim, open_store,
)

ALICE = Principal("alice", "realm1", "frontend", {"foo": 23}, credential="c1", expires=2_000_000_000)
"""

PLAIN = """
class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.who = ALICE if settings.get("alice") else None

    def ticket(self, claim: TicketClaim) -> Principal | None:
        if claim.origin is not None and not claim.origin.is_secure:
            raise Refused("no TLS", authid=claim.authid, realm=claim.realm)
        return self.who

    def cryptosign(self, claim: KeyClaim) -> Principal:
        return ALICE

    def start(self, session: Any) -> None: ...

    def stop(self) -> None: ...


class MyStore:
    def by_ticket(self, claim: TicketClaim) -> Principal | None:
        return ALICE

    def by_key(self, claim: KeyClaim) -> Principal:
        return ALICE

    def by_ids(self, credentials: Collection[str]) -> dict[str, Principal]:
        return dict.fromkeys(credentials, ALICE)

    def changes(self, since: int | None) -> tuple[int, list[str] | None]:
        return 1, None if since is None else ["alice"]
"""

COROUTINES = """
class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.store = open_store(settings["store"])

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        return await self.store.by_ticket(claim)

    async def cryptosign(self, claim: KeyClaim) -> Principal | None:
        return await self.store.by_key(claim)

    async def start(self, session: Any) -> None: ...

    async def stop(self) -> None: ...


class MyStore:
    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        return ALICE

    async def by_key(self, claim: KeyClaim) -> Principal | None:
        raise Refused("revoked", credential="c1")

    async def by_ids(self, credentials: Collection[str]) -> Mapping[str, Principal]:
        return {}

    async def changes(self, since: str | None) -> Changes:
        return "here", {"alice"} if since else None
"""

DEFERREDS = """
class Checks:
    def __init__(self, settings: Mapping[str, Any]) -> None:
        pass

    def ticket(self, claim: TicketClaim) -> Deferred[Principal | None]:
        return succeed(None)

    def cryptosign(self, claim: KeyClaim) -> Deferred[Principal]:
        return succeed(ALICE)

    def start(self, session: Any) -> Deferred[None]:
        return succeed(None)


class MyStore:
    def by_ticket(self, claim: TicketClaim) -> Deferred[Principal | None]:
        return succeed(None)

    def by_key(self, claim: KeyClaim) -> Deferred[Principal]:
        return succeed(ALICE)

    def by_ids(self, credentials: Collection[str]) -> Deferred[dict[str, Principal]]:
        return succeed({})

    def changes(self, since: Any) -> Deferred[Changes]:
        return succeed((None, None))
"""

USED = """
authenticator = Authenticator(Checks, prefix="org.acme.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
create_ticket = authenticator.function("ticket")
ticket: Check[TicketClaim] = Checks({}).ticket
cryptosign: Check[KeyClaim] = Checks({}).cryptosign
answer: Answer = ticket(TicketClaim(authid="alice", ticket="x", origin=Origin(address="127.0.0.1")))
store: Store = MyStore()
opened: OpenStore = OpenStore(MyStore())
again: Store = opened
"""

CONTRACT = """
from pathlib import Path
from wampauth.testing import Node, RawClient, StoreContract, login

class TestMyStore(StoreContract):
    def make(self, tmp_path: Path) -> MyStore:
        return MyStore()

    async def add(self, store: MyStore, *, principal: Principal, ticket: str | None, pubkey: str | None) -> str:
        return "c1"

    def revoke(self, store: MyStore, credential: str) -> Deferred[None]:
        return succeed(None)

def test_login() -> None:
    found: Deferred[Principal] = login(Checks, {}, TicketClaim(authid="alice", ticket="x"))
    with Node(Path(".crossbar")), RawClient("ws://localhost:8080/ws") as client:
        assert client.login_ticket("alice", "x")
"""

WRONG = {  # what is written, and of what the type checker speaks then
    "a check that answers with text": (
        "def check(claim: TicketClaim) -> str:\n    return ''\nticket: Check[TicketClaim] = check",
        "Callable[[TicketClaim], str]",
    ),
    "a coroutine that answers with text": (
        "async def check(claim: TicketClaim) -> str:\n    return ''\nticket: Check[TicketClaim] = check",
        "Coroutine[Any, Any, str]",
    ),
    "a Deferred of a flag": (
        "def check(claim: KeyClaim) -> Deferred[bool]:\n    return succeed(True)\nkey: Check[KeyClaim] = check",
        "Deferred[bool]",
    ),
    "a check for keys in place of one for tickets": (
        "async def check(claim: KeyClaim) -> Principal:\n    return ALICE\nticket: Check[TicketClaim] = check",
        "Callable[[KeyClaim]",
    ),
    "a check of two arguments": (
        "def check(realm: str, authid: str) -> Principal:\n    return ALICE\nticket: Check[TicketClaim] = check",
        "Check[TicketClaim]",
    ),
    "a store without changes": (
        "class Short:\n    by_ticket, by_key, by_ids = MyStore.by_ticket, MyStore.by_key, MyStore.by_ids\n"
        "store: Store = Short()",
        '"Short" is missing following "Store" protocol member',
    ),
    "a store without changes, opened": ("OpenStore(ALICE)", 'incompatible type "Principal"; expected "Store"'),
    "changes that are no tuple": (
        "class Single(MyStore):\n"
        "    async def changes(self, since: Any) -> set[str]:  # type: ignore[override]\n        return set()\n"
        "store: Store = Single()",
        "Coroutine[Any, Any, set[str]]",
    ),
    "by_ids with a list": (
        "class Listing(MyStore):\n"
        "    async def by_ids(self, credentials: Collection[str]) -> list[Principal]:  # type: ignore[override]\n"
        "        return []\nstore: Store = Listing()",
        "Coroutine[Any, Any, list[Principal]]",
    ),
    "extra that is text": ('Principal("alice", "realm1", "frontend", "c1")', 'incompatible type "str"'),
    "a principal without a role": ('Principal("alice", "realm1")', 'Missing positional argument "role"'),
    "a principal that is changed": ('ALICE.role = "admin"', 'Property "role" defined in "Principal" is read-only'),
    "a claim by position": ('TicketClaim("alice", "secret")', "Too many positional arguments"),
    "an authenticator without a prefix": ("Authenticator(Checks)", 'Missing named argument "prefix"'),
    "checks that are made already": ('Authenticator(Checks({}), prefix="org.acme.")', 'incompatible type "Checks"'),
    "the store's answer isn't awaited": (
        'def check(claim: TicketClaim) -> Principal | None:\n    return open_store("x").by_ticket(claim)',
        "Coroutine[Any, Any, Principal | None]",
    ),
}


class Mypy(Protocol):
    def __call__(self, source: str) -> str:
        """What mypy has to say of it; empty if nothing."""


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> Mypy:
    folder = tmp_path_factory.mktemp("author")
    environment = {name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={sys.executable}"]

    def check(source: str) -> str:
        (folder / "authors.py").write_text(source)
        options = ["--no-error-summary", "--hide-error-context", "authors.py"]
        done = subprocess.run(
            [*command, *options], check=False, capture_output=True, text=True, cwd=folder, env=environment, timeout=300
        )
        assert not done.stderr, done.stderr
        return done.stdout

    return check


@pytest.mark.parametrize("way", [PLAIN, COROUTINES, DEFERREDS], ids=["plain", "coroutines", "Deferreds"])
def test_checks_and_a_store_are_accepted(mypy: Mypy, way: str) -> None:
    assert mypy(IMPORTS + way + USED + CONTRACT) == ""


def test_the_answers_of_an_open_store_are_known(mypy: Mypy) -> None:
    source = 'async def ask(claim: TicketClaim) -> None:\n    reveal_type(await open_store("x").by_ticket(claim))'
    assert "wampauth.claims.Principal | None" in mypy(IMPORTS + source)


@pytest.mark.parametrize(("source", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_rejected(mypy: Mypy, source: str, told: str) -> None:
    found = mypy(IMPORTS + COROUTINES + source)
    assert told in found
    assert found.count("error:") == 1
