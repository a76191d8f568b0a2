"""What is a client told while no authenticator is there? Without this component the router's own answer, which names
the procedure that is missing; with it, that authentication is unavailable.

It runs in the realm of the authenticators, beside the router, and stands in for a procedure from the moment that nobody
has it registered to the moment that somebody does.
"""

from collections.abc import Mapping
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import ComponentConfig, RegisterOptions, SessionDetails
from twisted.logger import Logger

from wampauth import names, worker
from wampauth.methods import METHODS
from wampauth.refusals import refuse_all
from wampauth.settings import SettingsError


class Fallback(ApplicationSession):
    """Registers what is missing, in the way in which authenticators that take turns do, and gives it back.

    Its ``extra`` has the ``prefix`` of the authenticators' URIs.
    """

    log = Logger()

    @staticmethod
    def check_config(personality: Any, extra: Mapping[str, Any]) -> None:
        """Called by Crossbar.io before it starts the component; what this raises stops the node, with its text."""
        try:
            names.prefix(extra["prefix"])
        except KeyError:
            raise SettingsError("setting 'prefix' is missing: what do the authenticators' URIs begin with?") from None

    def __init__(self, config: ComponentConfig) -> None:
        """:raises ValueError: for a prefix that no URI can begin with."""
        super().__init__(config)
        worker.begin()
        self._prefix = names.prefix((config.extra or {}).get("prefix"))

    async def onJoin(self, details: SessionDetails) -> None:
        """Stand in for all that nobody has registered yet, and hear of those who do, or go."""
        self._procedures = [f"{self._prefix}authenticate.{method}" for method in METHODS]
        self._ids: dict[int, str] = {}  # registrations of our procedures
        self._ours: dict[str, Any] = {}  # what we stand in for
        await self.subscribe(self._somebody_came, "wamp.registration.on_register")
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

    async def _is_gone(self, session: int, registration: int) -> None:
        procedure = self._ids.pop(registration, None)
        if procedure:
            await self._see_to(procedure)

    async def _details(self, registration: int) -> Any:
        try:
            return await self.call("wamp.registration.get", registration)
        except ApplicationError:
            return None
