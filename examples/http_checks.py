"""Who may join? A user service of your own decides, over HTTP.

It is sent ``{"authid": ..., "ticket": ...}`` by POST. A yes is 200 and a JSON object with ``authid``, ``realm`` and
``role``, and perhaps ``extra`` and ``expires``. A no is 401, 403 or 404. Whatever else it says is neither, and the
client is told to come back later. In the configuration: ``extra: {service: "https://users.example.com/login"}``.
"""

import time
from typing import Any

from wampauth import Authenticator, Principal, Refused, TicketClaim
from wampauth.http import JsonService

NO = (401, 403, 404)
LONGEST_STAY = 3600  # seconds, where the service doesn't say: then the client has to log in anew


class Checks:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.users = JsonService(settings["service"])

    async def ticket(self, claim: TicketClaim) -> Principal | None:
        reply = await self.users.post({"authid": claim.authid, "ticket": claim.ticket})
        if reply.code in NO:
            raise Refused(f"the user service says {reply.code}")
        user = reply.content()
        expires = time.time() + LONGEST_STAY if user.get("expires") is None else user["expires"]  # null is no end
        return Principal(user["authid"], user["realm"], user["role"], user.get("extra", {}), expires=expires)

    async def stop(self) -> None:
        await self.users.close()


authenticator = Authenticator(Checks, prefix="com.example.")
AuthenticatorSession = authenticator.component
Sessions = authenticator.sessions  # ends sessions at `expires`
