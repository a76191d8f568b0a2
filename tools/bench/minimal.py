"""What is the least that such a component can do? A dict, and nothing around it: the yardstick of the benchmark.

No store, no throttle, no audit, no deadline, no check of what comes in. Not to be copied: here to be compared with.
"""

from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, SessionDetails

Answer = dict[str, Any]


class Checks:
    """The same two questions, answered from the dicts in the configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._tickets: dict[str, Any] = config["tickets"]  # by authid
        self._keys: dict[str, Any] = config["keys"]  # by public key

    def ticket(self, realm: str, authid: str, details: dict[str, Any]) -> Answer:
        known = self._tickets.get(authid)
        if known is None or known["ticket"] != details["ticket"]:
            raise ApplicationError("com.example.invalid_ticket", "invalid ticket")
        return copy(known)

    def cryptosign(self, realm: str, authid: str, details: dict[str, Any]) -> Answer:
        known = self._keys.get(details["authextra"]["pubkey"])
        if known is None:
            raise ApplicationError("com.example.no_such_user", "no such key")
        return copy(known)


def copy(known: Answer) -> Answer:
    """The router writes into the extra that it is given."""
    return {**known["answer"], "extra": dict(known["answer"]["extra"])}


class Authenticator(ApplicationSession):
    """The smallest dynamic authenticator."""

    async def onJoin(self, details: SessionDetails) -> None:
        checks = Checks(self.config.extra)
        for method in "ticket", "cryptosign":
            await self.register(getattr(checks, method), f"com.example.authenticate.{method}")


class Authorizer(ApplicationSession):
    """The smallest dynamic authorizer that decides by session: so its answers mustn't be cached either."""

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self._allowed = {tuple(rule) for rule in self.config.extra["allowed"]}
        self._ended: dict[int, bool] = {}

    async def onJoin(self, details: SessionDetails) -> None:
        await self.register(self.authorize, "com.example.authorize")

    def authorize(self, details: dict[str, Any], uri: str, action: str, options: Any) -> Answer:
        allowed = details["session"] not in self._ended and (uri, action) in self._allowed
        return {"allow": allowed, "disclose": False, "cache": False}


class Watcher(ApplicationSession):
    """Hears who joins and leaves, as any component must that is to end sessions. The router works for it with each."""

    async def onJoin(self, details: SessionDetails) -> None:
        for topic in "wamp.session.on_join", "wamp.session.on_leave":
            await self.subscribe(lambda *_: None, topic)
