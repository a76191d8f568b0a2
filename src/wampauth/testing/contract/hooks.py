"""How is a store made, filled and asked in the tests of its contract?"""

import functools
import math
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from wampauth.claims import Claim, KeyClaim, Principal, Refused, TicketClaim
from wampauth.store import OpenStore
from wampauth.testing.contract.reactor import do

ALICE = Principal("alice", "realm1", "frontend", {"number": 23, "list": [None, 1.5, "größe"]})
BOB = Principal("bob", "devices", "device")
OTHERWISE = (
    "it answers otherwise than add() was given: keep realm, role and extra as they are, or say in kept() what you keep"
)


class Hooks:
    """What a subclass says of its store, and what the tests ask it with."""

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

    def kept(self, principal: Principal) -> Principal:
        """What the store answers for a principal that it was given, but for the credential: here, the same. Of one that
        has no place for realms, say, ``dataclasses.replace(principal, realm="plant")``."""
        return principal

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

    def _what(self, principal: Principal, credential: str) -> tuple[Any, ...]:
        """What a session keeps of a principal, by the store's answer, that stands on a credential."""
        return what(replace(self.kept(principal), credential=credential))

    def _revoke(self, credential: str) -> None:
        do(self.revoke, self._made, credential)

    def _question(self, claim: Claim) -> Callable[[], Any]:
        """What a login asks; to be called in the reactor's thread."""
        if isinstance(claim, TicketClaim):
            return functools.partial(self._store.by_ticket, claim)
        assert isinstance(claim, KeyClaim)
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
    """A ticket that nobody has."""
    return secrets.token_urlsafe(32)


def new_key() -> str:
    """A public key that nobody has, in hexadecimal."""
    return bytes(SigningKey.generate().verify_key).hex()
