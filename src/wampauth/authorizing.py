"""What is the router told that asks before each call, publish, subscribe and register?

That a session which has to go may do nothing more, and of others what the rules of their role say (``permissions.py``).
"""

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from wampauth.live import Live
from wampauth.permissions import DENIED, Decision, Permissions
from wampauth.watch import Watch

MOST_WAITING = 100  # questions about one session that wait for it to be looked at; its client can wait, too


class Authorizer:
    """Decides for the sessions of one realm."""

    log = Logger()

    def __init__(self, permissions: Permissions, watch: Watch, adopt: Callable[[int], Awaitable[Live | None]]) -> None:
        """:param adopt: finds a session that we have yet to hear of."""
        self._permissions, self._watch, self._adopt = permissions, watch, adopt
        self._newcomers: dict[int, list[Deferred[Live | None]]] = {}  # sessions that are looked at: who waits for it

    def authorize(
        self, details: dict[str, Any], uri: str, action: str, options: dict[str, Any]
    ) -> "Decision | Deferred[Decision]":
        """The router's question: may this session do `action` (call, publish, subscribe or register) on `uri`?"""
        live = self._watch.live.get(details["session"])
        if live and self._watch.may(live):
            return self._decide(details, uri, action, options)
        if live and (live.ended or not self._watch.can_tell()):
            return dict(DENIED)
        if len(self._newcomers.get(details["session"], ())) >= MOST_WAITING:
            return dict(DENIED)
        decided = self._look_at(details["session"])
        return decided.addCallback(lambda live: self._decide(details, uri, action, options) if live else dict(DENIED))

    def _look_at(self, session: int) -> "Deferred[Live | None]":
        """The session if it may stay. One look answers all that its client has sent meanwhile."""
        answer: Deferred[Live | None] = Deferred()
        waiting = self._newcomers.setdefault(session, [])
        waiting.append(answer)
        if len(waiting) == 1:
            Deferred.fromCoroutine(self._find(session)).addBoth(self._tell_the_waiting, session)
        return answer

    async def _find(self, session: int) -> Live | None:
        """A session may act before it was looked at, or before we have even heard that it joined. Then we ask the
        router for it: if it has left, nobody will tell us again."""
        live = self._watch.live.get(session) or await self._adopt(session)
        if live is None or not self._watch.can_tell():
            return None
        await self._watch.look_at(live)
        return live if self._watch.may(live) and self._watch.live.get(session) is live else None

    def _tell_the_waiting(self, found: Any, session: int) -> None:
        if isinstance(found, Failure):
            self.log.error("a session can't be looked at, and is denied: {error}", error=found.value)
            found = None
        for answer in self._newcomers.pop(session):
            answer.callback(found)

    def _decide(self, details: dict[str, Any], uri: str, action: str, options: dict[str, Any]) -> Decision:
        return self._permissions.decide(details["authrole"], uri, action, options)
