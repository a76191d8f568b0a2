"""Stage 1: the two checks as anybody would first write them. A component, two procedures, and two dictionaries."""

from pathlib import Path
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import SessionDetails

PUBKEY = Path(__file__).parents[2].joinpath(".keys", "client01.key.pub").read_text().strip()
TICKETS = {"client1": "secret123"}
KEYS = {PUBKEY: {"authid": "client01@example.com", "realm": "devices", "role": "device", "extra": {"foo": 23}}}


class AuthenticatorSession(ApplicationSession):
    """The router calls what is registered here."""

    async def onJoin(self, details: SessionDetails) -> None:
        await self.register(self.ticket, "com.example.authenticate.ticket")
        await self.register(self.cryptosign, "com.example.authenticate.cryptosign")

    def ticket(self, realm: str, authid: str, details: dict[str, Any]) -> dict[str, Any]:
        """WAMP-ticket: the client has sent its secret, and we decide."""
        if authid not in TICKETS:
            raise ApplicationError("com.example.no_such_user", f"no principal {authid}")
        if details["ticket"] != TICKETS[authid]:
            message = f"could not authenticate session - invalid ticket for principal {authid}"
            raise ApplicationError("com.example.invalid_ticket", message)
        return {"realm": realm, "authid": authid, "role": "frontend", "extra": {}}

    def cryptosign(self, realm: str, authid: str, details: dict[str, Any]) -> dict[str, Any]:
        """WAMP-cryptosign: the client has shown a public key. The router checks the signature with our answer."""
        pubkey = details["authextra"]["pubkey"]
        if pubkey not in KEYS:
            message = f"no principal with matching public key 0x{pubkey}"
            raise ApplicationError("com.example.no_such_user", message)
        return {**KEYS[pubkey], "pubkey": pubkey}
