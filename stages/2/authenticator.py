"""Stage 2: the same two questions, behind the guard."""

from pathlib import Path
from typing import Any

from wampauth import Authenticator, KeyClaim, Principal, TicketClaim

PUBKEY = Path(__file__).parents[2].joinpath(".keys", "client01.key.pub").read_text().strip()
TICKETS = {("client1", "secret123"): Principal("client1", "realm1", "frontend")}
KEYS = {PUBKEY: Principal("client01@example.com", "devices", "device", {"foo": 23})}


class Checks:
    """The two questions."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """:param settings: the component's ``extra``."""

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        """WAMP-ticket: the client has sent its secret, and we decide."""
        return TICKETS.get((claim.authid, claim.ticket))

    async def cryptosign(self, claim: KeyClaim) -> Principal | None:
        """WAMP-cryptosign: the client has shown a public key. The router checks the signature with our answer."""
        return KEYS.get(claim.pubkey)


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
