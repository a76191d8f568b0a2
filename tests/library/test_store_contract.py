"""Do the stores that are shipped, and the example's own, keep the contract; and would one that doesn't be found out?"""

import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from examples import own_store
from wampauth import Changes, KeyClaim, Principal, Refused, ScramClaim, StoreError, TicketClaim, TlsClaim, scram
from wampauth import store as stores
from wampauth.store import (
    Connection,
    connect,
    create,
    enrolling,
    moving,
    reading,
    showing,
    ticket_digest,
    writing,
)
from wampauth.store.principals import Principals
from wampauth.testing import CertificatesContract, EnrolsContract, ReachingContract, ScramContract, StoreContract

pytest_plugins = ["postgres"]


class TestShipped(StoreContract, EnrolsContract, ReachingContract, ScramContract, CertificatesContract):
    """A store of each engine in turn."""

    @pytest.fixture(autouse=True)
    def _where(self, store_url: str) -> None:
        self.url = store_url

    def make(self, tmp_path: Path) -> Principals:
        create(self.url)
        return stores._principals(self.url)

    def add(self, store: Principals, *, principal: Principal, ticket: str | None, pubkey: str | None) -> str:
        with closing(connect(self.url)) as connection:
            kind, verifier = ("key", pubkey) if ticket is None else ("ticket", ticket_digest(ticket))
            known(connection, principal)
            return writing.add_credential(connection, principal.authid, {"kind": kind, "verifier": verifier})

    def add_token(self, store: Principals, *, principal: Principal, token: str) -> str:
        with closing(connect(self.url)) as connection:
            known(connection, principal)
            return enrolling.invite(connection, [{"authid": principal.authid}], [token], {})[0]

    def set_password(self, store: Principals, *, principal: Principal, password: str) -> str:
        with closing(connect(self.url)) as connection:
            known(connection, principal)
            verifier = scram.derive(password, reading.scram_salt(connection, principal.authid))
            return writing.set_password(connection, principal.authid, verifier, {})

    def pin(self, store: Principals, *, principal: Principal, fingerprint: str) -> str:
        with closing(connect(self.url)) as connection:
            known(connection, principal)
            return writing.add_credential(connection, principal.authid, {"kind": "cert", "verifier": fingerprint})

    def revoke(self, store: Principals, credential: str) -> None:
        with closing(connect(self.url)) as connection:
            for known in list(moving.export(connection)):
                if credential in [one["id"] for one in known["credentials"]]:
                    writing.revoke(connection, known["authid"], credential)

    def close(self, store: Principals) -> None:
        store.close()


def known(connection: Connection, principal: Principal) -> None:
    """Add the principal, unless it is there."""
    if principal.authid not in [one["authid"] for one in showing.principals(connection)]:
        names = ("authid", "realm", "role", "extra")
        writing.add(connection, {name: getattr(principal, name) for name in names})


class TestOwn(StoreContract):
    """The one of ``examples/own_store.py``."""

    def make(self, tmp_path: Path) -> own_store.Store:
        self.file = tmp_path / "principals.json"
        self.file.write_text("[]")
        return own_store.Store(str(self.file))

    def add(self, store: own_store.Store, *, principal: Principal, ticket: str | None, pubkey: str | None) -> str:
        known: dict[str, Any] = {"id": secrets.token_hex(8), "authid": principal.authid, "realm": principal.realm}
        known |= {"role": principal.role, "extra": principal.extra}
        known |= {"ticket": hashlib.sha256(ticket.encode()).hexdigest()} if ticket else {"pubkey": pubkey}
        self.file.write_text(json.dumps([*json.loads(self.file.read_text()), known]))
        return str(known["id"])

    def revoke(self, store: own_store.Store, credential: str) -> None:
        left = [one for one in json.loads(self.file.read_text()) if one["id"] != credential]
        self.file.write_text(json.dumps(left))


class InMemory:
    """As short as a store can be; it answers at once."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Principal, str | None, str | None]] = {}
        self.revoked: list[str] = []

    def by_ticket(self, claim: TicketClaim) -> Any:
        return self.find(lambda who, ticket, _: (who.authid, ticket) == (claim.authid, claim.ticket))

    def by_key(self, claim: KeyClaim) -> Any:
        return self.find(lambda _, __, pubkey: pubkey == claim.pubkey)

    def by_ids(self, credentials: Collection[str]) -> Any:
        revoked = [self.known[one][0].credential for one in self.revoked]
        return {one: self.known[one][0] for one in credentials if one in self.known and one not in revoked}

    def changes(self, since: Any) -> Any:
        names = [self.known[one][0].authid for one in self.revoked[since or 0 :]]
        return len(self.revoked), names if since is not None else None

    def find(self, fits: Callable[[Principal, str | None, str | None], bool]) -> Principal | None:
        for known in self.known.values():
            if fits(*known):
                if known[0].credential in self.revoked:
                    raise Refused("revoked", authid=known[0].authid)
                return known[0]
        return None


class OnceMore(InMemory):
    """The same with Deferreds."""

    def by_ticket(self, claim: TicketClaim) -> "Deferred[Principal | None]":
        return succeed(None).addCallback(lambda _: InMemory.by_ticket(self, claim))

    def by_key(self, claim: KeyClaim) -> "Deferred[Principal | None]":
        return succeed(None).addCallback(lambda _: InMemory.by_key(self, claim))

    def by_ids(self, credentials: Collection[str]) -> "Deferred[dict[str, Principal]]":
        return succeed(InMemory.by_ids(self, credentials))

    def changes(self, since: int | None) -> "Deferred[Changes]":
        return succeed(InMemory.changes(self, since))


class TestPlain(StoreContract):
    """A store that answers at once, and the hooks, too."""

    store: Callable[[], Any] = InMemory

    def make(self, tmp_path: Path) -> Any:
        return type(self).store()

    def add(self, store: InMemory, *, principal: Principal, ticket: str | None, pubkey: str | None) -> Any:
        credential = secrets.token_hex(8)
        store.known[credential] = replace(principal, credential=credential), ticket, pubkey
        return credential

    def revoke(self, store: InMemory, credential: str) -> Any:
        store.revoked.append(credential)


class Wrapping(InMemory):
    """The same with coroutines, which make an error of their own out of whatever happens to them."""

    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        try:
            await deferLater(reactor, 0.0, lambda: None)
        except Exception:
            raise StoreError("the directory is down") from None
        found: Principal | None = InMemory.by_ticket(self, claim)
        return found


class TestWrapping(TestPlain):
    """A store that says in its own words that a question was given up."""

    store = Wrapping


class TestDeferred(TestPlain):
    """A store that answers with Deferreds, and so do the hooks. It has one realm, and no place for an extra."""

    store = OnceMore

    def make(self, tmp_path: Path) -> Any:
        return succeed(OnceMore())

    def add(self, store: InMemory, *, principal: Principal, ticket: str | None, pubkey: str | None) -> Any:
        return succeed(super().add(store, principal=self.kept(principal), ticket=ticket, pubkey=pubkey))

    def kept(self, principal: Principal) -> Principal:
        return replace(principal, realm="plant", extra={})

    def revoke(self, store: InMemory, credential: str) -> Any:
        return succeed(super().revoke(store, credential))


# Who doesn't keep it is found out.


class Lenient(InMemory):
    def by_ticket(self, claim: TicketClaim) -> Any:
        return self.find(lambda who, ticket, _: who.authid == claim.authid and ticket is not None)


class Mixed(InMemory):
    def by_ticket(self, claim: TicketClaim) -> Any:
        return self.find(lambda _, ticket, __: ticket == claim.ticket)


class Forgetful(InMemory):
    def find(self, fits: Callable[[Principal, str | None, str | None], bool]) -> Principal | None:
        return next((known[0] for known in self.known.values() if fits(*known)), None)


class Unwatched(InMemory):
    def by_ids(self, credentials: Collection[str]) -> Any:
        return {one: self.known[one][0] for one in credentials if one in self.known}


class Silent(InMemory):
    def changes(self, since: Any) -> Any:
        return None, ()


class Nameless(InMemory):
    def by_key(self, claim: KeyClaim) -> Any:
        found = super().by_key(claim)
        return found and replace(found, credential=None)


class Nonsense(InMemory):
    def by_ids(self, credentials: Collection[str]) -> Any:
        return list(super().by_ids(credentials))


class Single(InMemory):
    def changes(self, since: Any) -> Any:
        return super().changes(since)[0]


def test_the_contracts_asserts_show_what_they_have_compared() -> None:
    parts = [module for name, module in sys.modules.items() if name.startswith("wampauth.testing.contract.")]
    assert parts
    for part in parts:
        assert part.__spec__ is not None
        assert isinstance(part.__spec__.loader, AssertionRewritingHook)


class Enrolling(InMemory):
    """The same, with tokens and passwords; it is what follows that doesn't keep the contract."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, Principal] = {}
        self.passwords: dict[str, tuple[Principal, str]] = {}
        self.pinned: dict[str, Principal] = {}

    def spend(self, token: str) -> Principal | None:
        return self.tokens.pop(token, None)

    def enrol(self, claim: TicketClaim, pubkey: str) -> Any:
        who = self.tokens.get(claim.ticket)
        if who is None or (who.authid, who.realm) != (claim.authid, claim.realm) or self.is_taken(pubkey):
            return None
        assert who.credential is not None
        if who.credential in self.revoked or self.spend(claim.ticket) is None:
            return None
        self.known[who.credential] = who, None, pubkey
        return who

    def is_taken(self, pubkey: str) -> bool:
        return pubkey in [key for _, _, key in self.known.values()]

    def by_certificate(self, claim: TlsClaim) -> Any:
        who = self.pinned.get(claim.fingerprint)
        if who is not None and who.credential in self.revoked:
            raise Refused("revoked", authid=who.authid)
        return who

    def salt(self, authid: str) -> str:
        return scram.salt_of(authid, b"this store's own")

    def by_scram(self, claim: ScramClaim) -> Any:
        salt = self.salt(claim.authid)
        who, password = self.passwords.get(claim.authid, (None, ""))
        if who is None or who.credential in self.revoked:
            raise Refused("no password", decoy=scram.unknown(salt))
        return replace(who, scram=scram.derive(password, salt))


class TestEnrolling(TestPlain, EnrolsContract, ScramContract, CertificatesContract):
    """All that a store may do, in memory."""

    store = Enrolling

    def add_token(self, store: Enrolling, *, principal: Principal, token: str) -> Any:
        store.tokens[token] = replace(principal, credential=secrets.token_hex(8))
        return store.tokens[token].credential

    def set_password(self, store: Enrolling, *, principal: Principal, password: str) -> Any:
        if principal.authid in store.passwords:
            store.revoked.append(str(store.passwords[principal.authid][0].credential))
        who = replace(principal, credential=secrets.token_hex(8))
        store.passwords[principal.authid] = who, password
        store.known[str(who.credential)] = who, None, None
        return who.credential

    def pin(self, store: Enrolling, *, principal: Principal, fingerprint: str) -> Any:
        who = store.pinned[fingerprint] = replace(principal, credential=secrets.token_hex(8))
        store.known[str(who.credential)] = who, None, None
        return who.credential


class Generous(Enrolling):
    def spend(self, token: str) -> Principal | None:
        return self.tokens.get(token)


class Hasty(Enrolling):
    def enrol(self, claim: TicketClaim, pubkey: str) -> Any:
        enrolled = super().enrol(claim, pubkey)
        self.spend(claim.ticket)
        return enrolled


class Careless(Enrolling):
    def is_taken(self, pubkey: str) -> bool:
        return False


class Talkative(Enrolling):
    def by_scram(self, claim: ScramClaim) -> Any:
        return super().by_scram(claim) if claim.authid in self.passwords else None


class Restless(Enrolling):
    def salt(self, authid: str) -> str:
        return scram.salt_of(authid, b"here") if authid in self.passwords else secrets.token_hex(16)


class Changing(Enrolling):
    def salt(self, authid: str) -> str:
        return scram.salt_of(authid, self.passwords.get(authid, ("", ""))[1].encode())


class Trusting(Enrolling):
    def by_certificate(self, claim: TlsClaim) -> Any:
        named = [who for who in self.pinned.values() if who.authid == claim.subject.get("cn")]
        return named[0] if named else super().by_certificate(claim)


class Forgiving(Enrolling):
    def by_certificate(self, claim: TlsClaim) -> Any:
        return self.pinned.get(claim.fingerprint)


class Mistaking(Enrolling):
    def by_certificate(self, claim: TlsClaim) -> Any:
        return super().by_certificate(claim) or self.find(lambda _, __, pubkey: pubkey == claim.fingerprint)


BAD: dict[type[InMemory], str] = {
    Lenient: "test_a_wrong_ticket_admits_nobody",
    Mixed: "test_nobody_is_admitted_with_somebody_elses_ticket",
    Forgetful: "test_a_revoked_key_admits_nobody",
    Unwatched: "test_by_ids_has_lost_what_is_revoked",
    Silent: "test_changes_name_whose_credential_was_revoked",
    Nameless: "test_a_key_admits_whose_it_is",
    Nonsense: "test_by_ids_has_nothing_of_the_unknown",
    Single: "test_changes_begin_anywhere",
    Trusting: "test_an_unknown_certificate_admits_nobody",
    Forgiving: "test_a_revoked_certificate_admits_nobody",
    Mistaking: "test_a_key_is_no_certificate",
    Generous: "test_a_token_is_spent",
    Hasty: "test_a_refused_key_leaves_the_token_intact",
    Careless: "test_a_refused_key_leaves_the_token_intact",
    Talkative: "test_a_stranger_is_challenged_like_everybody",
    Restless: "test_a_stranger_is_challenged_like_everybody",
    Changing: "test_a_challenge_tells_nothing_of_what_happens",
}


@pytest.mark.parametrize(("store", "test"), BAD.items(), ids=[bad.__name__ for bad in BAD])
def test_a_store_that_does_not_keep_it_is_found_out(
    store: type[InMemory], test: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    class Contract(TestEnrolling if issubclass(store, Enrolling) else TestPlain):  # type: ignore[misc]
        def make(self, tmp_path: Path) -> Any:
            return store()

    contract = Contract()
    contract._node, contract._tmp_path = request.node, tmp_path
    with pytest.raises((AssertionError, TypeError)):
        getattr(contract, test)()


OUTSIDE = """
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from wampauth.testing import StoreContract

class Known:
    def __init__(self): self.known = {}
    async def start(self): await deferToThread(print, "started")
    async def stop(self): await deferToThread(print, "stopped")
    async def by_ticket(self, claim): return None
    async def by_key(self, claim): return await deferToThread(lambda: None)
    async def by_ids(self, credentials): return {}
    async def changes(self, since): return None, None

class TestEmpty(StoreContract):
    def make(self, tmp_path): return Known()
    def add(self, store, *, principal, ticket, pubkey): return "some"
    def revoke(self, store, credential): return None
"""
TESTS = [
    f"test_mine.py::TestEmpty::test_{name}"
    for name in ("an_empty_store_admits_nobody", "an_unknown_key_admits_nobody", "by_ids_has_nothing_of_the_unknown")
]


def test_the_tests_end_though_the_store_uses_the_reactors_threads(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(OUTSIDE)
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert done.stdout.count("started") == done.stdout.count("stopped") == 3
