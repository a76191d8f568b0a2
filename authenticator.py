"""Who are you? The router asks this file, for each client that wants to join.

Each check gets what the client says of itself, and answers with the principal, or with None: no. The library does the
rest: it validates, throttles, keeps the time, refuses in one way, and writes the audit.
"""

from typing import Any

from wampauth import Authenticator, KeyClaim, Principal, TicketClaim, open_store


class Checks:
    """The two questions."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """:param settings: the component's ``extra`` in ``.crossbar/config.json``."""
        self.store = open_store(settings["store"])

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        """WAMP-ticket: the client has sent its secret, and we decide."""
        return await self.store.by_ticket(claim)

    async def cryptosign(self, claim: KeyClaim) -> Principal | None:
        """WAMP-cryptosign: the client has shown a public key, and proven nothing yet. The router will have it sign a
        challenge, and check the signature with the key in our answer: the stored one."""
        return await self.store.by_key(claim)


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component  # "type": "dynamic" asks this component
Sessions = authenticator.sessions  # ends live sessions: one component in each application realm
create_ticket = authenticator.function("ticket")  # "type": "function" calls what this factory returns
create_cryptosign = authenticator.function("cryptosign")
