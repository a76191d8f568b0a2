"""What is there once in a process? An author's checks, with their settings and their guard, from start to stop."""

import sys
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wampauth.admission import Admissions
from wampauth.answering import of as answering_of
from wampauth.audit import Audit, open_audit
from wampauth.calling import Start, TooLate, awaited, called, within
from wampauth.guard import Guard
from wampauth.methods import METHODS
from wampauth.refusals import Procedure
from wampauth.settings import Settings, SettingsError, require_private
from wampauth.store import StoreError, open_store
from wampauth.store.verifying import forget_tickets
from wampauth.told import sentence, stopped

START_TIMEOUT = 30.0  # seconds
STOP_TIMEOUT = 3.0  # seconds
NO_DECOY = (
    "setting 'decoy' under 'guard' is missing: a realm and a role of this node, such as [\"realm1\", \"frontend\"], as "
    "whom unknown people are challenged"
)


class Missing(SettingsError, KeyError):
    """The checks have asked for a setting that isn't there."""

    __str__ = Exception.__str__


class Given(dict[str, Any]):
    """The settings of the checks. Which of them is missing may be told, and of no other table what was looked up."""

    def __missing__(self, name: object) -> Any:
        raise Missing(f"the checks miss {name!r}: is that a setting in the component's extra?")


class Current:
    """The session that checks call others in: of the component that there is now. A container makes a new one when its
    router was away, and what they have kept would be of no use any more."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def _follow(self, session: Any) -> None:
        """Another component has joined; it takes the place of one that is lost."""
        if not self._session.is_attached():
            self._session = session


def _require_private(files: Iterable[str]) -> None:
    """:raises SettingsError: if one isn't there, or is for others, too."""
    for file in files:
        try:
            require_private(file)
        except OSError as error:
            raise SettingsError(f"setting 'private_files': {file}: {error.strerror}") from None


def expose(guard: Settings) -> None:
    """Let Prometheus ask this process, if the settings say so.

    :raises SettingsError: if the port can't be opened.
    """
    if guard.metrics:
        from wampauth.metrics import serve  # which needs prometheus_client

        serve(guard.metrics)


def _made(checks: Callable[[dict[str, Any]], object], settings: dict[str, Any]) -> Any:
    try:
        return checks(Given(settings))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whoever made us logs its text
        if isinstance(error, TypeError) and error.__traceback__ and not error.__traceback__.tb_next:
            raise SettingsError(f"the checks can't be made with the settings: {error}") from None  # Python says it
        raise stopped(error, "the checks can't be made") from None


class Service:
    """The guarded procedures of an ``Authenticator``.

    :ivar challenged: who has yet to prove who it is; None if no method challenges.
    """

    log = Logger()

    def __init__(
        self,
        clock: Any,
        checks: Callable[[dict[str, Any]], object],
        settings: dict[str, Any],
        guard: Settings,
        prefix: str,
        admissions: Admissions,
        audit: Audit | None = None,
    ) -> None:
        """
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        :param audit: None: the one that the settings name.
        :raises SettingsError: if the checks can't work with their settings, or offer no method; for a private file that
            isn't there, or isn't private.
        :raises Stopped: for what else they raise, without its text.
        :raises OSError: if the audit file can't be opened.
        """
        self.settings = guard
        if not guard.remember_tickets:
            forget_tickets()
        self._clock = clock
        _require_private(guard.private_files)
        self._checks = _made(checks, settings)
        self._name = type(self._checks).__name__
        self._where = settings.get("store")
        self._guard = Guard(clock, guard, audit or open_audit(guard.audit), prefix, admissions)
        self.procedures = {method: self._guard.wrap(method, self._once_started(method)) for method in self._offered()}
        self.challenged = None if all(METHODS[one].is_proven for one in self.procedures) else admissions.challenged
        self._start = Start()
        self._session: Current | None = None  # of the authenticators' realm; None: there was none yet

    def _offered(self) -> list[str]:
        """The methods that the checks have.

        :raises SettingsError: if they have none, or what one needs isn't set.
        """
        offered = [method for method in METHODS if callable(getattr(self._checks, method, None))]
        if not offered:
            raise SettingsError(f"{self._name} has none of the methods {', '.join(METHODS)}")
        if any(METHODS[method].has_decoys for method in offered):
            self._see_to_decoys(self.settings)
        self._warn_of_misspelt_methods(offered)
        return offered

    def _see_to_decoys(self, guard: Settings) -> None:
        """Nobody can log in unless strangers can be challenged like everybody else, and guess once at each."""
        if not guard.decoy:
            raise SettingsError(NO_DECOY)
        if "crossbar.router.auth" in sys.modules:  # in a node
            from wampauth.worker.proofs import see_to_proofs

            see_to_proofs()

    def _warn_of_misspelt_methods(self, offered: Collection[str]) -> None:
        """A method that is called otherwise isn't offered, and nobody would notice before the first login."""
        missing = METHODS.keys() - set(offered)
        for name in vars(type(self._checks)):
            if name not in METHODS and (meant := get_close_matches(name, missing, n=1, cutoff=0.85)):
                self.log.error(
                    "{name} has a method {method}(): is {meant}() meant?", name=self._name, method=name, meant=meant[0]
                )

    def procedure(self, method: str) -> Procedure:
        """The procedure that the router calls for `method`.

        :raises SettingsError: if the checks don't offer it.
        """
        if method not in self.procedures:
            raise SettingsError(f"{self._name} has no method {method}()")
        return self.procedures[method]

    def begin(self) -> None:
        """Start the checks, with nobody waiting for it; the log is told if that fails."""
        self.started().addErrback(
            lambda failure: self.log.error("the checks can't start: {e}", e=sentence(failure.value))
        )

    def started(self, session: Any = None) -> "Deferred[None]":
        """Wait until the checks have started. They start once, however many wait; after a failure, the next one who
        asks has them try again.

        :param session: that of the authenticators' realm, for checks that call others; None in the function wiring.
        """
        shown = None if session is None else self._current(session)
        return self._start.wait(lambda: self._begin(shown))

    def _begin(self, session: Any) -> "Deferred[None]":
        start = getattr(self._checks, "start", None) or (lambda session: None)
        late = TooLate(f"{self._name}.start() wasn't done after {START_TIMEOUT:g} seconds")
        started = within(called(start, session), START_TIMEOUT, self._clock, late)
        return started.addCallback(lambda _: self._goes_on())

    def _current(self, session: Any) -> "Current":
        if self._session is None:
            self._session = Current(session)
        else:
            self._session._follow(session)
        return self._session

    def _goes_on(self) -> None:
        """The checks have started, and serve until the node ends."""
        if hasattr(self._checks, "stop"):
            reactor.addSystemEventTrigger("before", "shutdown", self.stop)
        self._answer_operators()

    def _answer_operators(self) -> None:
        """Say who is throttled, to those who ask through the store. The checks have opened it, or it isn't one."""
        with suppress(SettingsError, StoreError, OSError):
            if isinstance(self._where, str) and (answering := answering_of(open_store(self._where), self._clock)):
                answering.add(self._guard.answer)

    def stop(self) -> "Deferred[None]":
        """Let the checks end, but don't keep the node from ending. What has yet to start isn't stopped."""
        has_begun = self._start.is_done or not hasattr(self._checks, "start")
        stop = getattr(self._checks, "stop", None) if has_begun else None
        late = TooLate(f"not done after {STOP_TIMEOUT:g} seconds")
        stopping = within(called(stop or (lambda: None)), STOP_TIMEOUT, self._clock, late)
        return stopping.addErrback(
            lambda failure: self.log.error("{name}.stop(): {e}", name=self._name, e=sentence(failure.value))
        )

    def _once_started(self, method: str) -> Any:
        check = getattr(self._checks, method)
        if not hasattr(self._checks, "start"):
            return check

        async def ask(claim: Any) -> Any:
            if not self._start.is_done:
                await self.started()
            return await awaited(check(claim))

        ask.__qualname__ = getattr(check, "__qualname__", type(check).__name__)
        return ask
