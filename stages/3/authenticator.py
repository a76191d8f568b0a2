"""Stage 3: a store. People come and go without a restart, and no ticket is kept in clear."""

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
