"""The contract of a store that keeps passwords (``Scram``): what is a client challenged with, and what does it tell?"""

import functools
import secrets
from dataclasses import replace
from typing import Any

from wampauth import scram
from wampauth.claims import Principal, Refused, ScramClaim, ScramVerifier
from wampauth.testing.contract.hooks import ALICE, BOB, OTHERWISE, Hooks, look_at, what
from wampauth.testing.contract.reactor import do

ALICES = ScramClaim(authid="alice")


class ScramContract(Hooks):
    """The contract of ``Scram``, as tests; with one more hook."""

    def set_password(self, store: Any, *, principal: Principal, password: str) -> Any:
        """Give a principal, who may be known already, a password in place of the one that there is.

        :returns: the id of what it logs in with now.
        """
        raise NotImplementedError

    def _password(self, principal: Principal = ALICE) -> tuple[str, str]:
        """A new password, and its id."""
        password = secrets.token_urlsafe(8)
        hook = functools.partial(self.set_password, self._made, principal=principal, password=password)
        return password, do(hook)

    def _challenge(self, claim: ScramClaim = ALICES) -> ScramVerifier:
        """What the client is challenged with, be it known or not."""
        try:
            found = do(self._store.by_scram, claim)
        except Refused as no:
            assert no.decoy is not None, "a refusal without a decoy tells that there is no such user"
            return no.decoy
        assert found is not None, "None tells that there is no such user"
        assert found.scram is not None, "scram is missing, which the router checks the proof with"
        look_at(found)
        return found.scram  # type: ignore[no-any-return]

    def _shown(self, claim: ScramClaim = ALICES) -> tuple[Any, ...]:
        """What of that a stranger gets to see."""
        challenge = self._challenge(claim)
        return challenge.salt, challenge.iterations, challenge.memory

    def _opens(self, password: str, challenge: ScramVerifier) -> bool:
        return challenge == scram.derive(password, challenge.salt, challenge.iterations, challenge.memory)

    def test_a_password_can_be_proven(self) -> None:
        password, credential = self._password()
        found = do(self._store.by_scram, ALICES)
        assert what(found) == self._what(ALICE, credential), OTHERWISE
        assert self._opens(password, found.scram), "who knows the password can't prove it"
        assert not self._opens(password + "x", found.scram)
        assert found.scram.stored_key not in repr(found), "the key shows in the principal"

    def test_the_session_stands_on_the_password(self) -> None:
        _, credential = self._password()
        found = do(self._store.by_scram, ALICES)
        again = self._by_ids([credential])[credential]
        assert (*what(again), again.expires) == (*what(found), found.expires)
        self._revoke(credential)
        assert self._by_ids([credential]) == {}

    def test_another_password_takes_its_place(self) -> None:
        (old, credential), (new, _) = self._password(), self._password()
        challenge = self._challenge()
        assert self._opens(new, challenge)
        assert not self._opens(old, challenge)
        assert self._by_ids([credential]) == {}

    def test_nobody_has_somebody_elses_password(self) -> None:
        password, _ = self._password()
        others, _ = self._password(BOB)
        assert self._opens(others, self._challenge(ScramClaim(authid="bob")))
        assert not self._opens(password, self._challenge(ScramClaim(authid="bob")))

    def test_a_stranger_is_challenged_like_everybody(self) -> None:
        self._password()
        salt, *price = self._shown()
        other, *others = self._shown(ScramClaim(authid="nobody"))
        assert others == price
        assert len(other) == len(salt)
        assert other != salt
        assert self._shown(ScramClaim(authid="nobody")) == (other, *others), "a second look tells"

    def test_a_challenge_tells_nothing_of_what_happens(self) -> None:
        """Neither that somebody is added, nor that the password is changed or revoked."""
        before = self._shown()
        credential = self._password()[1]
        assert self._shown() == before, "it tells that there is a password now"
        credential = self._password()[1]
        assert self._shown() == before, "it tells that there is another one"
        self._revoke(credential)
        assert self._shown() == before, "it tells that it was revoked"
        assert self._shown(replace(ALICES, realm="elsewhere")) == before

    def test_a_revoked_password_proves_nothing(self) -> None:
        _, credential = self._password()
        self._revoke(credential)
        try:
            found = do(self._store.by_scram, ALICES)
        except Refused:
            return
        raise AssertionError(f"{found} was let in")
