"""How is a session ended?

The router's own way is to send GOODBYE, and a client that ignores it stays. Beside the router more can be done.
"""

from contextlib import suppress
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError, TransportLost
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from wampauth.worker.goodbye import CUT, cut

AT_ONCE = 100  # subscriptions and registrations that are taken away before others have their turn
GRACE = 0.4  # seconds in which a client may answer GOODBYE
MESSAGES = {"kicked": "an operator has ended the session", "too_many_sessions": "there are too many sessions"}
MESSAGE = "the credential no longer counts"


class Ending:
    """Ends sessions of a realm, by means of a component in it."""

    log = Logger()

    def __init__(self, component: ApplicationSession, clock: Any, for_good: bool) -> None:
        """
        :param component: which may call the router's procedures.
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        :param for_good: see that clients which ignore GOODBYE hear nothing more. It only helps where an authorizer
            lets them say nothing more.
        """
        self._component, self._clock, self._for_good = component, clock, for_good

    def end(self, session: int, reason: str) -> None:
        """Begin to end a session; `reason` is the URI that its client is told."""
        Deferred.fromCoroutine(self._put_out(session, reason)).addErrback(self._failed)

    async def attempt(self, procedure: str, *args: Any, **kwargs: Any) -> Any:
        """Call the router about a session that may have left, or been told, already; then the answer is None."""
        try:
            return await self._component.call(procedure, *args, **kwargs)
        except ApplicationError as error:
            self.log.debug("{procedure}: {error}", procedure=procedure, error=error)

    async def _put_out(self, session: int, reason: str) -> None:
        """Say GOODBYE, and then take away what an impolite client would go on hearing from."""
        await self.attempt(
            "wamp.session.kill", session, reason=reason, message=MESSAGES.get(reason.rpartition(".")[2], MESSAGE)
        )
        if self._for_good:
            for kind, action in ("subscription", "remove_subscriber"), ("registration", "remove_callee"):
                held = await self.attempt(f"wamp.{kind}.list", session) or {}
                for number, identifier in enumerate((one for ids in held.values() for one in ids), 1):
                    if number % AT_ONCE == 0:
                        await deferLater(self._clock, 0)
                    await self.attempt(f"wamp.{kind}.{action}", identifier, session, reason=reason)
            await deferLater(self._clock, GRACE, self._hang_up, session)

    def _hang_up(self, session: int) -> None:
        """Close the connection of a client that was told to leave and stays: else it would go on exchanging results of
        calls that are under way. The router has no procedure for it, but beside the router we can reach it."""
        router = getattr(self._component._transport, "_router", None)
        found = router and router._session_id_to_session.get(session)
        if found and found._transport:
            connection = found._transport
            with suppress(TransportLost):  # the client has closed it, and may go on not reading
                connection.close()
            self._clock.callLater(CUT, cut, connection)

    def _failed(self, failure: Any) -> None:
        self.log.error("a session that was to end couldn't be put out: {error}", error=failure.value)
