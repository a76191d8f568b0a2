"""How does the router come to ask an author's checks? The two lines that hand them over, in its two ways.

``dynamic``: a component (``component.py``) registers each check as a procedure, which the router calls. ``function``:
the router calls what a factory returns, without a detour over WAMP. Both lead through the one guard that there is in a
process.
"""

import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

from twisted.internet import reactor

from wampauth import names, worker
from wampauth.admission import Admissions, load_key
from wampauth.component import ROUTER_WORKER, component_of, own_realms_here
from wampauth.guard import close
from wampauth.later import Later
from wampauth.methods import METHODS
from wampauth.refusals import Procedure
from wampauth.service import Service, expose
from wampauth.sessions import sessions_of
from wampauth.settings import Settings, SettingsError, split

ONE = "one Authenticator has one configuration in a process: write another Authenticator for another one"
NO_COMPONENT = "no component of this Authenticator has brought settings in this worker: list its `component` first"
NOT_THE_SAME = 'its "config" isn\'t the one of the function before it: ' + ONE
NO_FUNCTION = (
    'the router has no transports of type "function" for the method {}: write "type": "dynamic" there, '
    "and name the procedure that the component registers"
)


class Authenticator:
    """An author's checks, behind the guard, as the router can ask them.

    An author uses :attr:`component`, :attr:`sessions` and :meth:`function`; the other methods are for these.

    :ivar component: the class to name in a component of type ``class``, in the realm of the authenticators.
    :ivar sessions: the class to name in a component in each application realm; it ends live sessions.
    """

    component: type[Any]
    sessions: type[Any]

    def __init__(self, checks: Callable[[dict[str, Any]], object], *, prefix: str) -> None:
        """
        :param checks: makes the checks: mostly a class, called with the component's ``extra`` less the sections
            ``guard``, ``roles`` and ``connections``. A method that it lacks isn't offered: ``ticket(claim)``,
            ``cryptosign(claim)``; optional are ``start(session)`` and ``stop()``.
        :param prefix: of all URIs: procedures, refusals and the reasons for which sessions end. Ends in a dot.
        :raises ValueError: for a prefix that no URI can begin with.
        :raises TypeError: if the checks can't be called.
        """
        if not callable(checks):
            raise TypeError("give the class of the checks, not one of its objects: a component makes that")
        self.prefix = names.prefix(prefix)
        self._checks = checks
        self._settings: dict[str, Any] | None = None  # of the checks, with the section "guard"
        self._by_functions: dict[str, Any] | None = None  # what they have brought, instead of a component
        self._admissions: Admissions | None = None
        self._service: Service | None = None
        self.component = component_of(self)
        self.sessions = sessions_of(self)

    def function(self, method: str) -> Callable[[dict[str, Any], Any], Procedure]:
        """Make the factory that a transport of type ``function`` names under ``create``.

        :param method: ``ticket``, ``cryptosign``, ``scram`` or ``wampcra``.
        :raises SettingsError: for ``tls``: the router has no such transports for it.
        :raises ValueError: for another method.
        """
        if method in METHODS and not METHODS[method].is_function:
            raise SettingsError(NO_FUNCTION.format(method))
        functions = [name for name, known in METHODS.items() if known.is_function]
        if method not in functions:
            raise ValueError(f"{method!r} can't be a function: use one of {', '.join(functions)}")

        def create(config: dict[str, Any], controller: Any) -> Procedure:
            worker.begin()
            return Later(partial(self._procedure, method, config), method, self.prefix, reactor).procedure()

        create.asks = (self, method)  # type: ignore[attr-defined] # what `wampauth check` knows it by
        return create

    def _procedure(self, method: str, config: Mapping[str, Any]) -> Procedure:
        self.configure_function(config)
        service = self.service()
        procedure = service.procedure(method)
        service.begin()
        return procedure

    def configure(self, extra: Mapping[str, Any] | None, whole: bool = True) -> None:
        """Take the settings from a component's ``extra``. Several components may share them, or each bring a part.

        :param whole: False: if there are none, leave them to another component.
        :raises SettingsError: if they are wrong, differ from what another component has said, or come too late.
        """
        settings, ours = split(extra)
        given = {**settings, "guard": ours["guard"]} if "guard" in ours else settings
        Settings.from_config(given.get("guard", {}))
        known = self._settings or {}
        for name, value in given.items():
            if known.get(name, value) != value or (self._admissions and name not in known):
                raise SettingsError(f"setting {name!r} isn't what the component before this one has said: {ONE}")
        if given or whole:
            self._settings = {**known, **given}

    def configure_function(self, config: Mapping[str, Any]) -> None:
        """Take the settings from the ``config`` of a transport of type ``function``. Only a proxy worker's may bring
        some, since there are no components in it; and as any of them may be used first, each has to bring the same.

        :raises SettingsError: if they are wrong, or none of its business.
        """
        if self._by_functions is not None:
            if config != self._by_functions:
                raise SettingsError(NOT_THE_SAME)
        elif config:
            if ROUTER_WORKER in sys.argv or self._settings is not None:
                raise SettingsError('a transport of type "function" takes no "config" here: ' + ONE)
            self.configure(config)
            close(own_realms_here())  # no component here says so
            self._by_functions = dict(config)

    def configuration(self) -> tuple[dict[str, Any], Settings]:
        """The settings of the checks, and those of the guard.

        :raises SettingsError: if no component has brought any.
        """
        if self._settings is None:
            raise SettingsError(NO_COMPONENT)
        settings, ours = split(deepcopy(self._settings))  # what the checks do to theirs is nobody else's
        return settings, Settings.from_config(ours.get("guard", {}))

    def admissions(self) -> Admissions:
        """What marks the sessions that are admitted here. From the first call on, the settings stand.

        :raises SettingsError: if no component has brought any, or the key can't be read.
        """
        if self._admissions is None:
            _, guard = self.configuration()
            self._admissions = Admissions(self.prefix, load_key(guard.admission_key))
        return self._admissions

    def service(self) -> Service:
        """The checks behind their guard, of which there is one in a process.

        :raises SettingsError: if there are no settings, or the checks can't work with them.
        """
        if self._service is None:
            settings, guard = self.configuration()
            expose(guard)
            self._service = Service(reactor, self._checks, settings, guard, self.prefix, self.admissions())
        return self._service

    def try_out(self) -> list[str]:
        """Make the checks and their guard as for the node, but no audit, and start nothing.

        :returns: the methods that the checks offer.
        :raises Exception: as :meth:`service`, and whatever the checks raise.
        """
        settings, guard = self.configuration()
        audit: Any = object()  # nothing is recorded
        service = Service(reactor, self._checks, settings, guard, self.prefix, self.admissions(), audit)
        return list(service.procedures)
