"""How many proofs does the router take on one challenge?

By itself as many as a client sends, and no authenticator hears of it: thousands of passwords a second could be tried.
Here it takes one. Who wants to try again has to say HELLO again, and that costs.
"""

import hmac
from typing import Any

from autobahn.wamp.types import Accept, Deny
from crossbar.router import auth

SPENT = "no pending authentication"  # as the router says without a challenge


class ScramOnce(auth.PendingAuthScram):  # type: ignore[misc]
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


class CraOnce(auth.PendingAuthWampCra):  # type: ignore[misc]
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


def take_one_a_challenge() -> None:
    """Have the router of this process take one proof a challenge. Safe to call again."""
    auth.AUTHMETHOD_MAP["scram"] = ScramOnce
    auth.AUTHMETHOD_MAP["wampcra"] = CraOnce
