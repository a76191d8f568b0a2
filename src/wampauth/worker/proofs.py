"""How many proofs does the router take on one challenge?

By itself as many as a client sends, and no authenticator hears of it: thousands of passwords a second could be tried.
Here it takes one. Who wants to try again has to say HELLO again, and that costs. Of a proof that was right the
authenticator hears, and gives back what the challenge has cost (``proven.py``). All of the router's classes that ask an
authenticator have one of ours before them, so that their clients hear, too, if it is out of reach (``reach.py``).
"""

import hmac
from typing import Any

from autobahn.wamp.types import Accept, Deny
from crossbar.router import auth

from wampauth.worker.proven import Telling
from wampauth.worker.reach import Reaching

SPENT = "no pending authentication"  # as the router says without a challenge


class ScramOnce(Reaching, Telling, auth.PendingAuthScram):  # type: ignore[misc]
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


class CraOnce(Reaching, Telling, auth.PendingAuthWampCra):  # type: ignore[misc]
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


class Cryptosign(Reaching, Telling, auth.PendingAuthCryptosign):  # type: ignore[misc]
    """WAMP-cryptosign. Nobody guesses a signature: it takes as many as are sent."""


class Ticket(Reaching, auth.PendingAuthTicket):  # type: ignore[misc]
    """WAMP-ticket. What is sent is asked about, each time."""


class Certificate(Reaching, auth.PendingAuthTLS):  # type: ignore[misc]
    """A certificate, which TLS has checked."""


def see_to_proofs() -> None:
    """Have the router of this process take one proof of a password a challenge, tell of each that is right, and answer
    where nobody can be asked. Safe to call again."""
    auth.AUTHMETHOD_MAP.update(ticket=Ticket, cryptosign=Cryptosign, scram=ScramOnce, wampcra=CraOnce, tls=Certificate)
