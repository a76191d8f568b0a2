"""Which of the sessions in a realm has our authenticator let in, and as whom? They are known by their mark."""

from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from wampauth import claims
from wampauth.admission import Admissions, is_marked, is_proxied
from wampauth.claims import Principal
from wampauth.live import Live
from wampauth.settings import Settings

WATCHED: set[tuple[str, Admissions]] = set()  # in this process: in which realm, and whose sessions
NO_STORE = (
    "sessions in {realm} stand on credentials, but there is no setting 'store' to ask whether these still count: "
    "they end when their time is up, and not before"
)
NOT_OURS = (
    "a session in {realm} has a mark that nobody here knows, and is left alone. It may be forged; if it isn't: "
    "authenticators and Sessions in different processes need the same file as 'admission_key', and each Authenticator "
    "needs `sessions` of its own"
)
ELSEWHERE = (
    "a session in {realm} was let in by the Authenticator with the prefix {prefix}, and nobody ends it: "
    "add a component with the `sessions` of that Authenticator to this realm, too"
)


class Recognition:
    """Knows again whom one ``Authenticator`` has let in."""

    log = Logger()

    def __init__(self, realm: str, admissions: Admissions, guard: Settings, has_store: bool) -> None:
        """:param has_store: whether there is one to ask what a credential counts now."""
        self._realm = realm
        self._admissions = admissions
        self._guard = guard
        self._has_store = has_store
        self._told: set[str] = set()
        WATCHED.add((realm, admissions))

    def live(self, details: Mapping[str, Any]) -> Live | None:
        """The session that `details` describe; None if our authenticator hasn't let it in.

        :param details: as ``wamp.session.on_join`` and ``wamp.session.get`` tell them.
        """
        principal = self._admissions.read(self._realm, details)
        if principal is None:
            self._tell_of_marks(details)
            return None
        self._tell_of_credentials(principal)
        return self._described(principal, details)

    def _described(self, principal: Principal, details: Mapping[str, Any]) -> Live:
        """The session of `principal`, with what the router knows of its client; through a proxy, all but the method."""
        method = None if is_proxied(details) else details.get("authmethod")
        origin = claims.origin(details, self._guard.trusted_proxies)
        latest = self._admissions.latest(details)
        return Live(
            details["session"], principal, origin.address, principal.expires, method, origin.is_secure, latest=latest
        )

    def _tell_of_credentials(self, principal: Principal) -> None:
        if principal.credential is not None and not self._has_store:
            self._tell(NO_STORE)

    def _tell_of_marks(self, details: Mapping[str, Any]) -> None:
        if not is_marked(details):
            return
        knowing = {realm: other for realm, other in WATCHED if other.read(self._realm, details)}
        if not knowing:
            self._tell(NOT_OURS)
        elif self._realm not in knowing:
            self._tell(ELSEWHERE, prefix=next(iter(knowing.values())).prefix)

    def _tell(self, what: str, **more: str) -> None:
        """Once, or a stranger who forges marks could fill the log."""
        if what not in self._told:
            self._told.add(what)
            self.log.error(what, realm=self._realm, **more)
