"""Where does the router find the procedures that it calls? A component in the realm of the authenticators registers
them, one for each check."""

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Protocol

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import CloseDetails, ComponentConfig, RegisterOptions, SessionDetails
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from wampauth import functions, starting, worker
from wampauth.admission import Challenged
from wampauth.guard import close
from wampauth.nodeconfig import beside
from wampauth.service import Service
from wampauth.told import Stopped, place

ROUTER_WORKER = "crossbar.worker.router.RouterController"  # in the arguments of such a process
PUT_OUT = "the authenticator was put out of its realm ({reason}); this worker ends"
NOT_HEARD = (
    "proofs that are right can't be heard of ({error}): what a challenge has cost comes back with time alone. Let the "
    "authenticators' role register, and the proxies' role call, whatever begins with {prefix}"
)


class Serving(Protocol):
    """What is asked of an ``Authenticator`` here."""

    @property
    def prefix(self) -> str:
        """Of the procedures."""

    def configure(self, extra: Mapping[str, Any] | None) -> None:
        """Take the settings from a component's ``extra``."""

    def service(self) -> Service:
        """The checks behind their guard."""


def component_of(authenticator: Serving) -> type[Any]:
    """Make the component's class for the checks of `authenticator`."""

    class AuthenticatorSession(Registering):
        _authenticator = authenticator
        _registered: ClassVar = {}

        @staticmethod
        def check_config(personality: Any, extra: Mapping[str, Any]) -> None:
            """Called by Crossbar.io before it starts the component; what this raises stops the node, with its text."""
            authenticator.configure(extra)
            authenticator.service()

    return AuthenticatorSession


def own_realms_here() -> set[str]:
    """The authenticators' own realms, by the configurations in this folder, which in a worker is the node directory;
    without those that a `Sessions` watches in one of them, since clients join these."""
    places = beside("principals.db")
    return places.own - places.watched


class Registering(ApplicationSession):
    """Registers the checks as procedures, or leaves: a node whose clients can't log in must not come up."""

    log = Logger()
    _authenticator: Serving
    _registered: ClassVar[dict[str, "Registering"]]  # those of this process that clients can log in with, by realm

    def __init__(self, config: ComponentConfig) -> None:
        """:raises SettingsError: if the settings in the ``extra`` are wrong, or the checks can't work with them."""
        super().__init__(config)
        worker.begin()
        functions.look_at_start()
        self._authenticator.configure(config.extra)
        close({config.realm} | own_realms_here())
        self._service = self._authenticator.service()

    async def onJoin(self, details: SessionDetails) -> None:
        """Start the checks, and register them."""
        await starting.begin(self, self._begin(), "the authenticator can't start")

    async def _begin(self) -> None:
        options = RegisterOptions(invoke="roundrobin") if self._service.settings.shared else None
        await self._service.started(self)
        for method, procedure in self._service.procedures.items():
            name = f"{self._authenticator.prefix}authenticate.{method}"
            await self.register(starting.unless_lost(self, procedure), name, options=options)
        if self._service.challenged is not None:
            await self._hear_of_proofs(self._service.challenged)
        self._registered[self.config.realm] = self

    async def _hear_of_proofs(self, challenged: Challenged) -> None:
        """Of right ones that another process has checked; in this one it is known without."""
        options = RegisterOptions(invoke="last")  # a session before this one, if the router has it still, is dead
        try:
            await self.register(challenged.proven, challenged.procedure, options=options)
        except ApplicationError as error:
            if starting.is_loss(error):
                raise
            if ROUTER_WORKER not in sys.argv:
                self.log.error(NOT_HEARD, error=error.error, prefix=f"{self._authenticator.prefix}authenticate.")

    def onLeave(self, details: CloseDetails) -> None:
        """A container may make a new component. Where nobody does, this worker ends: nobody could log in."""
        realm, tell = self.config.realm, partial(self.log.error, PUT_OUT, reason=details.reason)
        if was_registered := self._registered.get(realm) is self:
            del self._registered[realm]
        if details.reason not in worker.ORDERLY and ROUTER_WORKER in sys.argv:
            tell()
            worker.end()
        elif was_registered:  # else Crossbar.io tells whoever has started it
            worker.end_unless(lambda: realm in self._registered, tell, reactor)
        super().onLeave(details)

    def onUserError(self, fail: Any, msg: str) -> None:
        """Autobahn would log each refusal as a warning with a traceback; the guard has recorded it already. What is no
        refusal is a mistake, ours or of what the checks do with their session. Its text may quote what a client has
        sent, so only its place is told."""
        error = fail.value
        if isinstance(error, CancelledError | Stopped):
            return  # nobody waits for it: who asked is gone, or the node stops; or our start has failed, which is told
        if not (isinstance(error, ApplicationError) and error.error.startswith(self._authenticator.prefix)):
            self.log.error("the guard has failed: {fault}", fault=place(error))
