"""The contract of a store that ``Enrols``: does a one-time token register one key, once?"""

import functools
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nacl.signing import SigningKey
from twisted.internet.defer import Deferred, DeferredList

from wampauth.claims import KeyClaim, Principal, TicketClaim
from wampauth.enrolment import FIELD, message
from wampauth.testing.contract.hooks import ALICE, BOB, OTHERWISE, Hooks, what
from wampauth.testing.contract.reactor import do

PREFIX = "com.example."
RIVALS = 8
PARTS = ("prefix", "realm", "authid", "token", "pubkey")  # of what is proven


def enrolling(
    key: SigningKey,
    token: str,
    authid: str = ALICE.authid,
    realm: str = ALICE.realm,
    proven: Mapping[str, str] = MappingProxyType({}),
) -> TicketClaim:
    """What a device claims that wants its key registered.

    :param proven: what its proof says in another way.
    """
    pubkey = bytes(key.verify_key).hex()
    about = {"prefix": PREFIX, "realm": realm, "authid": authid, "token": token, "pubkey": pubkey, **proven}
    shown = {"pubkey": pubkey, "proof": key.sign(message(**about)).signature.hex()}
    return TicketClaim(authid=authid, ticket=token, realm=realm, authextra={FIELD: shown}, prefix=PREFIX)


class EnrolsContract(Hooks):
    """The contract of ``Enrols``, as tests; with one more hook."""

    def add_token(self, store: Any, *, principal: Principal, token: str) -> Any:
        """Give a principal, who may be known already, a one-time token.

        :param token: 43 random characters.
        :returns: its id, as ``revoke`` is asked for it.
        """
        raise NotImplementedError

    def _token(self, principal: Principal = ALICE) -> tuple[str, str]:
        """A new token, and its id."""
        token = secrets.token_urlsafe(32)
        return token, do(functools.partial(self.add_token, self._made, principal=principal, token=token))

    def test_a_token_registers_a_key(self) -> None:
        (token, _), key = self._token(), SigningKey.generate()
        enrolled = self._login(enrolling(key, token))
        assert enrolled is not None, "the token wasn't taken"
        assert what(enrolled)[:-1] == what(self.kept(ALICE))[:-1], OTHERWISE
        assert enrolled.pubkey == bytes(key.verify_key).hex()
        again = self._login(KeyClaim(pubkey=bytes(key.verify_key).hex()))
        assert again is not None, "the key isn't registered"
        assert what(again) == what(enrolled)

    def test_the_session_stands_on_the_key(self) -> None:
        enrolled = self._login(enrolling(SigningKey.generate(), self._token()[0]))
        assert enrolled is not None
        assert enrolled.credential is not None
        found = self._by_ids([enrolled.credential])[enrolled.credential]
        assert (*what(found), found.expires) == (*what(enrolled), enrolled.expires)
        self._revoke(enrolled.credential)
        assert self._by_ids([enrolled.credential]) == {}

    def test_a_token_is_spent(self) -> None:
        token, _ = self._token()
        assert self._login(enrolling(SigningKey.generate(), token)) is not None
        assert self._login(enrolling(SigningKey.generate(), token)) is None

    def test_a_token_is_no_ticket(self) -> None:
        token, _ = self._token()
        for realm in None, ALICE.realm:
            assert self._login(TicketClaim(authid=ALICE.authid, ticket=token, realm=realm)) is None
        assert self._login(enrolling(SigningKey.generate(), token)) is not None, "it was spent"

    def test_a_ticket_is_no_token(self) -> None:
        ticket = secrets.token_urlsafe(32)
        self._add(ALICE, ticket=ticket)
        key = SigningKey.generate()
        assert self._login(enrolling(key, ticket)) is None
        assert self._login(KeyClaim(pubkey=bytes(key.verify_key).hex())) is None

    def test_a_refused_key_leaves_the_token_intact(self) -> None:
        (token, _), key, taken = self._token(), SigningKey.generate(), SigningKey.generate()
        self._add(BOB, pubkey=bytes(taken.verify_key).hex())
        other, _ = self._token(BOB)
        for wrong in (
            enrolling(taken, token),
            enrolling(key, token, authid="bob"),
            enrolling(key, token, realm="devices"),
            enrolling(key, other),
            *(enrolling(key, token, proven={part: "other"}) for part in PARTS),
        ):
            assert self._login(wrong) is None, f"{wrong} was let in"
            assert self._login(KeyClaim(pubkey=bytes(key.verify_key).hex())) is None, "the key is registered"
        assert self._login(enrolling(key, token)) is not None, "the token was spent"

    def test_a_revoked_token_registers_nothing(self) -> None:
        token, identifier = self._token()
        self._revoke(identifier)
        assert self._login(enrolling(SigningKey.generate(), token)) is None

    def test_of_many_at_once_one_succeeds(self) -> None:
        token, _ = self._token()
        keys = [SigningKey.generate() for _ in range(RIVALS)]
        asked = [Deferred.fromCoroutine(self._question(enrolling(key, token))()) for key in keys]
        found = do(lambda: DeferredList(asked, consumeErrors=True))
        assert sum(done and answer is not None for done, answer in found) == 1
        registered = [self._login(KeyClaim(pubkey=bytes(key.verify_key).hex())) for key in keys]
        assert sum(one is not None for one in registered) == 1
