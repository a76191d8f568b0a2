"""Who are you? A component in JavaScript decides (checks.mjs), behind the guard, which stays in Python.

The answer of the component is null for a no, or an object with ``authid``, ``realm`` and ``role``. Whatever else comes
of the call isn't an answer: the component isn't there, hangs, dies, throws, or says something that nobody can use. Then
the client is told to come back later.
"""

import time
from typing import Any

from wampauth import Authenticator, Principal, SettingsError, TicketClaim

PROCEDURE = "com.example.users.ticket"  # what the component registers
LONGEST_STAY = 3600  # seconds: then the client has to log in anew


class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.session: Any = None

    async def start(self, session: Any) -> None:
        """:param session: ours, in the realm of the authenticators; None where checks are called as functions."""
        if session is None:
            raise SettingsError('these checks call a component: use transports of type "dynamic"')
        self.session = session

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        user = await self.session.call(PROCEDURE, claim.authid, claim.ticket)
        if user is None:
            return None
        return Principal(user["authid"], user["realm"], user["role"], expires=time.time() + LONGEST_STAY)


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
