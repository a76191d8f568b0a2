"""What if a function authenticator can't work when it is first asked? The router keeps what its factory returns for as
long as the process lives: so it tries again by itself, for what is away may come back, such as a database server.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wampauth.refusals import Admitted, Procedure, refuse_all
from wampauth.told import sentence

PAUSE = 30.0  # seconds from a failure to the next try, which may keep the reactor for as long as a connection takes


class Later:
    """Makes a procedure, at once or later."""

    log = Logger()

    def __init__(self, make: Callable[[], Procedure], method: str, prefix: str, clock: Any) -> None:
        """
        :param make: raises an exception if it can't be made now.
        :param prefix: of the URI that clients are refused with until then.
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        """
        self._make, self._method, self._clock = make, method, clock
        self._refuse = refuse_all(prefix)
        self._made: Procedure | None = None
        self._failed_at: float | None = None  # seconds on the clock
        self._told = ""  # of the last failure

    def procedure(self) -> Procedure:
        """The one that was made, or one that refuses, and tries again when it is asked."""
        return self._tried() or self._ask

    def _ask(self, realm: Any, authid: Any, details: Any) -> "Deferred[Admitted]":
        return (self._tried() or self._refuse)(realm, authid, details)

    def _tried(self) -> Procedure | None:
        if self._made is None and (self._failed_at is None or self._clock.seconds() >= self._failed_at + PAUSE):
            try:
                self._made = self._make()
            except Exception as error:  # the router would tell a stranger "Internal server error", at each login anew
                self._failed_at = self._clock.seconds()
                self._tell(sentence(error))
        return self._made

    def _tell(self, why: str) -> None:
        """Tell the log, once of each reason."""
        if why != self._told:
            self._told = why
            self.log.error("the function authenticator for {method} can't work: {why}", method=self._method, why=why)
