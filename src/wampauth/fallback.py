"""What is a client told while no authenticator is there? Without this component the router's own answer, which names
the procedure that is missing; with it, that authentication is unavailable.

It runs in the realm of the authenticators, beside the router, and stands in for a procedure from the moment that nobody
has it registered to the moment that somebody does.
"""

from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import RegisterOptions, SessionDetails
from twisted.logger import Logger

from wampauth.guard import METHODS, refuse_all


def fallback_of(prefix: str) -> type[Any]:
    """Make the component's class for the authenticators whose URIs begin with `prefix`."""

    class Fallback(RealmFallback):
        _prefix = prefix

    return Fallback


class RealmFallback(ApplicationSession):
    """Registers what is missing, in the way in which authenticators that take turns do, and gives it back."""

    log = Logger()
    _prefix: str

    async def onJoin(self, details: SessionDetails) -> None:
        self._procedures = [f"{self._prefix}authenticate.{method}" for method in METHODS]
        self._ids: dict[int, str] = {}  # registrations of our procedures
        self._ours: dict[str, Any] = {}  # what we stand in for
        await self.subscribe(self._somebody_came, "wamp.registration.on_register")
        await self.subscribe(self._somebody_went, "wamp.registration.on_unregister")
        await self.subscribe(self._is_gone, "wamp.registration.on_delete")
        for procedure in self._procedures:
            await self._see_to(procedure)

    async def _see_to(self, procedure: str) -> None:
        """Stand in for `procedure` if nobody else has it."""
        found = await self.call("wamp.registration.match", procedure)
        if found is None and procedure not in self._ours:
            self._ours[procedure] = None  # under way
            try:
                options = RegisterOptions(invoke="roundrobin")
                self._ours[procedure] = await self.register(refuse_all(self._prefix), procedure, options=options)
            except ApplicationError as error:  # somebody has been faster
                self.log.debug("{procedure}: {error}", procedure=procedure, error=error)
                self._ours.pop(procedure)
        elif found is not None:
            self._ids[found] = procedure

    async def _somebody_came(self, session: int, registration: int) -> None:
        """An authenticator is there: it needs nobody to stand in for it."""
        details = await self._details(registration)
        procedure = details and details.get("uri")
        if procedure not in self._procedures:
            return
        self._ids[registration] = procedure
        ours = self._ours.get(procedure)
        if session != self._session_id and ours is not None:
            self._ours.pop(procedure)
            await ours.unregister()

    async def _somebody_went(self, session: int, registration: int) -> None:
        """Heard of each authenticator that leaves; the last one's registration is deleted after that."""

    async def _is_gone(self, session: int, registration: int) -> None:
        procedure = self._ids.pop(registration, None)
        if procedure:
            await self._see_to(procedure)

    async def _details(self, registration: int) -> Any:
        try:
            return await self.call("wamp.registration.get", registration)
        except ApplicationError:
            return None
