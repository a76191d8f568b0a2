"""An authorizer that looks at how a topic is matched, and at who is said to call. Plain Crossbar.io."""

from typing import Any

from autobahn.twisted.wamp import ApplicationSession

TOPIC, PROCEDURE = "org.probed.topic", "org.probed.procedure"


class Authorizer(ApplicationSession):  # type: ignore[misc]
    """Also has a procedure to call."""

    async def onJoin(self, details: Any) -> None:
        await self.register(self.authorize, "org.probed.authorize")
        await self.register(lambda *_: "called", PROCEDURE)

    def authorize(self, session: Any, uri: str, action: str, options: Any) -> bool:
        if (options or {}).get("forward_for") or (options or {}).get("match", "exact") != "exact":
            return False
        return (uri, action) in ((TOPIC, "subscribe"), (PROCEDURE, "call"))
