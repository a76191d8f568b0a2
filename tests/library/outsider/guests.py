"""Who are you? ACME's guests. There is no store: a visitor shows a pass that the reception has signed, and a contractor
a key from a list. Both are let in for a time, and then their sessions end.

The checks need not be coroutines: one answers at once, and the other with a Deferred.
"""

import hmac
import json
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from wampauth import Authenticator, KeyClaim, Principal, SettingsError, TicketClaim


class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._contractors = Path(settings["contractors"])
        self._hours = settings["hours"]
        if not isinstance(self._hours, int | float):
            raise SettingsError("setting 'hours' is for how long a contractor may stay")
        self._key = Path(settings["pass_key"]).read_bytes()

    def ticket(self, claim: TicketClaim) -> Principal | None:
        until, _, _ = claim.ticket.partition(".")
        if not until.isdecimal() or not hmac.compare_digest(claim.ticket, sign_pass(self._key, claim.authid, until)):
            return None
        return Principal(claim.authid, "lobby", "visitor", expires=float(until))

    def cryptosign(self, claim: KeyClaim) -> Deferred[Principal | None]:
        return deferToThread(self._find, claim.pubkey)

    def _find(self, pubkey: str) -> Principal | None:
        authid = json.loads(self._contractors.read_bytes()).get(pubkey)
        extra = {"badge": "yellow"}
        return (
            Principal(authid, "office", "contractor", extra, expires=time.time() + 3600 * self._hours)
            if authid
            else None
        )


def sign_pass(key: bytes, authid: str, until: str) -> str:
    """What the reception hands out.

    :param until: seconds since 1970.
    """
    return f"{until}.{hmac.digest(key, f'{until} {authid}'.encode(), 'sha256').hex()}"


authenticator = Authenticator(Checks, prefix="org.acme.guests.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
create_ticket = authenticator.function("ticket")
create_cryptosign = authenticator.function("cryptosign")
