"""How many proofs does the router take on one challenge?

By itself as many as a client sends, and no authenticator hears of it: thousands of passwords a second could be tried.
Here it takes one. Who wants to try again has to say HELLO again, and that costs. Of a proof that was right the
authenticator hears, and gives back what the challenge has cost (``proven.py``).
"""

import hmac
from typing import Any

from autobahn.wamp.types import Accept, Deny
from crossbar.router import auth

from wampauth.worker.proven import Telling

SPENT = "no pending authentication"  # as the router says without a challenge


class ScramOnce(Telling, auth.PendingAuthScram):  # type: ignore[misc]
    """WAMP-SCRAM, with one proof a challenge."""

    _is_spent = False

    def authenticate(self, signature: Any) -> Accept | Deny:
        """Check the proof; whatever is wrong with it is answered in one way."""
        if self._is_spent:
            return Deny(message=SPENT)
        self._is_spent = True
        try:
            return super().authenticate(signature)
        except Exception:  # it isn't of the right length, or no Base64
            return Deny(message="SCRAM authentication failed")


class CraOnce(Telling, auth.PendingAuthWampCra):  # type: ignore[misc]
    """WAMP-CRA, with one proof a challenge. The router's own would log the one that it expected."""

    _is_spent = False

    def authenticate(self, signature: Any) -> Accept | Deny:
        """Check the proof."""
        if self._is_spent:
            return Deny(message=SPENT)
        self._is_spent = True
        if hmac.compare_digest(str(signature).encode(), self._signature.encode()):
            return self._accept()
        self.log.error("WAMP-CRA authentication failed for {authid!r}", authid=self._authid)
        return Deny(message="WAMP-CRA client signature is invalid")


class Cryptosign(Telling, auth.PendingAuthCryptosign):  # type: ignore[misc]
    """WAMP-cryptosign. Nobody guesses a signature: it takes as many as are sent."""


def see_to_proofs() -> None:
    """Have the router of this process take one proof of a password a challenge, and tell of each that is right. Safe to
    call again."""
    auth.AUTHMETHOD_MAP.update(scram=ScramOnce, wampcra=CraOnce, cryptosign=Cryptosign)
