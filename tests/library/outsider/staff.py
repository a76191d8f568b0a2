"""Who are you? The staff of ACME: tickets and keys are looked up in a store of our own (``own_store.py``)."""

import json
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from wampauth import Authenticator, KeyClaim, Principal, Refused, TicketClaim, open_store


class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self._store = open_store(settings["store"])
        self._suspended = Path(settings["suspended"])
        self._authids: set[str] = set()

    async def start(self, session: Any) -> None:
        """Nobody is let in before this is done."""
        self._authids = set(json.loads(await deferToThread(self._suspended.read_bytes)))

    async def stop(self) -> None:
        Path("stopped").write_text("the staff's checks have stopped")

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        return self._unless_suspended(await self._store.by_ticket(claim))

    async def cryptosign(self, claim: KeyClaim) -> Principal | None:
        return self._unless_suspended(await self._store.by_key(claim))

    def _unless_suspended(self, found: Principal | None) -> Principal | None:
        if found and found.authid in self._authids:
            raise Refused("suspended", authid=found.authid, realm=found.realm, credential=found.credential)
        return found


authenticator = Authenticator(Checks, prefix="org.acme.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions
create_ticket = authenticator.function("ticket")
create_cryptosign = authenticator.function("cryptosign")
