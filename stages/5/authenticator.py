"""Stages 4 and 5: sessions end. Who is revoked has to go, also somebody who doesn't want to."""

from typing import Any

from wampauth import Authenticator, KeyClaim, Principal, TicketClaim, open_store


class Checks:
    """The two questions."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """:param settings: the component's ``extra``."""
        self.store = open_store(settings["store"])

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        """WAMP-ticket: the client has sent its secret, and we decide."""
        return await self.store.by_ticket(claim)

    async def cryptosign(self, claim: KeyClaim) -> Principal | None:
        """WAMP-cryptosign: the client has shown a public key. The router checks the signature with our answer."""
        return await self.store.by_key(claim)


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
