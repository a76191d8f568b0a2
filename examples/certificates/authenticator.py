"""Who are you? Devices show a TLS client certificate, and people a ticket; the store knows both."""

from typing import Any

from wampauth import Authenticator, Principal, TicketClaim, TlsClaim, open_store


class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.store = open_store(settings["store"])

    async def tls(self, claim: TlsClaim) -> Principal | None:
        """One of our authorities has signed the certificate; whose it is, the store knows by its fingerprint."""
        return await self.store.by_certificate(claim)

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        return await self.store.by_ticket(claim)


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
