"""The contract of a store that knows TLS client certificates (``Certificates``): whose is one?"""

import functools
import secrets
from typing import Any

from wampauth.claims import KeyClaim, Principal, Refused, TlsClaim
from wampauth.testing.contract.hooks import ALICE, BOB, OTHERWISE, Hooks, look_at, new_key, what
from wampauth.testing.contract.reactor import do


class CertificatesContract(Hooks):
    """The contract of ``Certificates``, as tests; with one more hook."""

    def pin(self, store: Any, *, principal: Principal, fingerprint: str) -> Any:
        """Give a principal, who may be known already, a certificate.

        :param fingerprint: its SHA-256, in 64 hexadecimal digits in lower case.
        :returns: the credential's id.
        """
        raise NotImplementedError

    def _pin(self, principal: Principal = ALICE) -> tuple[str, str]:
        """A new certificate's fingerprint, and its id."""
        fingerprint = secrets.token_hex(32)
        return fingerprint, do(functools.partial(self.pin, self._made, principal=principal, fingerprint=fingerprint))

    def _whose(self, fingerprint: str, **said: Any) -> Principal | None:
        """The principal, or None if the store says no in one way or the other."""
        try:
            found: Principal | None = do(self._store.by_certificate, TlsClaim(fingerprint=fingerprint, **said))
        except Refused:
            return None
        if found is not None:
            look_at(found)
        return found

    def test_a_certificate_is_its_principals(self) -> None:
        (alices, credential), (bobs, other) = self._pin(), self._pin(BOB)
        for fingerprint, principal, identifier in (alices, ALICE, credential), (bobs, BOB, other):
            found = self._whose(fingerprint)
            assert found is not None, "a certificate that is known isn't let in"
            assert what(found) == self._what(principal, identifier), OTHERWISE
            assert what(self._by_ids([identifier])[identifier]) == what(found)

    def test_an_unknown_certificate_admits_nobody(self) -> None:
        self._pin()
        names = {"subject": {"cn": "alice"}, "names": ("DNS:alice",), "authid": "alice", "realm": "realm1"}
        assert self._whose(secrets.token_hex(32), **names) is None, "its names are the authority's word, and no more"

    def test_a_revoked_certificate_admits_nobody(self) -> None:
        (lost, credential), (kept, _) = self._pin(), self._pin()
        self._revoke(credential)
        assert self._whose(lost) is None
        assert self._whose(kept) is not None
        assert self._by_ids([credential]) == {}

    def test_a_key_is_no_certificate(self) -> None:
        """And the other way round, though both are 64 hexadecimal digits."""
        (fingerprint, _), pubkey = self._pin(), new_key()
        self._add(BOB, pubkey=pubkey)
        assert self._whose(pubkey) is None
        assert self._login(KeyClaim(pubkey=fingerprint)) is None
