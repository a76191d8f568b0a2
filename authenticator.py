"""Who are you? The router asks this file, for each client that wants to join.

A login comes here from the router (``.crossbar/config.json`` says how), passes the guard (``guard.py``), is looked up
in the store (``principals.py``), and goes back as the principal's realm, authid, role and extra. The two checks below
are all there is to it; the rest of the file hands them to the router in its two ways, ``dynamic`` and ``function``.
"""

import functools
from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import ComponentConfig, RegisterOptions, SessionDetails
from twisted.internet import reactor
from twisted.logger import Logger

from audit import open_audit
from claims import Claim, Origin
from database import is_url
from guard import Answer, Guard, Procedure, Refusal, Refused
from principals import ACTIVE, Credential, Principals, open_principals
from settings import Settings, require_private


class Checks:
    """The two questions. Each returns the principal, or raises :class:`guard.Refused` with the reason."""

    def __init__(self, principals: Principals, settings: Settings) -> None:
        self._principals = principals
        self._settings = settings

    async def ticket(self, claim: Claim, origin: Origin) -> Answer:
        """WAMP-ticket: the client has sent its secret, and we decide."""
        require_safe_transport(self._settings, claim, origin)
        return principal(admit(claim, await self._principals.by_ticket(claim.authid or "", claim.ticket)))

    async def cryptosign(self, claim: Claim, origin: Origin) -> Answer:
        """WAMP-cryptosign: the client has shown a public key, and proven nothing yet. The router will have it sign a
        challenge, and check the signature with the key in our answer: so that is the stored one."""
        require_safe_transport(self._settings, claim, origin)
        credential = admit(claim, await self._principals.by_key(claim.pubkey))
        return {**principal(credential), "pubkey": credential.verifier}


def require_safe_transport(settings: Settings, claim: Claim, origin: Origin) -> None:
    """Where the settings ask for it: no secret in clear, and no signature that a man in the middle could pass on.

    :raises guard.Refusal: that tells an honest client what to change.
    """
    if settings.plain_from and origin.locality in settings.plain_from:
        return
    if settings.require_tls and not origin.is_secure:
        text = "this door needs TLS - connect with wss://, and replace a ticket that has been sent in clear"
        raise Refusal("refused", "no TLS", "com.example.tls_required", text)
    if settings.require_channel_binding and claim.method == "cryptosign" and claim.channel_binding is None:
        text = "this door needs channel binding - set channel_binding to tls-unique, and sign the challenge with it"
        raise Refusal("refused", "no channel binding", "com.example.channel_binding_required", text)


def admit(claim: Claim, credential: Credential | None) -> Credential:
    """Pin the client to what the store says. A claim may leave realm and authid open, but not contradict the store.

    :raises Refused: with the true reason, which the guard keeps from the client.
    """
    if credential is None:
        raise Refused("no such credential")
    found = {"authid": credential.authid, "realm": credential.realm, "credential": credential.id}
    if credential.state != ACTIVE:
        raise Refused(credential.state, **found)
    if claim.realm not in (None, credential.realm):
        raise Refused("claims another realm", **found)
    if claim.authid not in (None, credential.authid):
        raise Refused("claims another authid", **found)
    return credential


def principal(credential: Credential) -> Answer:
    """The answer to the router: everything is from the store. The client finds `extra` in its authextra."""
    return {
        "realm": credential.realm,
        "authid": credential.authid,
        "role": credential.role,
        "extra": {**credential.extra, "credential": credential.id},
    }


@functools.cache
def open_door(settings: Settings) -> dict[str, Procedure]:
    """The guarded checks by method. In one process, the same settings give the same door, with one throttle.

    :raises database.StoreError: if the store can't be opened.
    :raises settings.SettingsError: if others can read the store or another private file.
    :raises OSError: if the audit file or a private file can't be opened.
    """
    checks = Checks(open_principals(settings.database), settings)
    for file in settings.private_files if is_url(settings.database) else (settings.database, *settings.private_files):
        require_private(file)
    guard = Guard(reactor, settings, open_audit(settings.audit))
    return {"ticket": guard.wrap("ticket", checks.ticket), "cryptosign": guard.wrap("cryptosign", checks.cryptosign)}


class Authenticator(ApplicationSession):
    """The ``dynamic`` way: a component that registers the checks as procedures, which the router calls."""

    log = Logger()
    PREFIX = "com.example.authenticate."

    @staticmethod
    def check_config(personality: Any, extra: dict[str, Any]) -> None:
        """Called by Crossbar.io before it starts the component; what this raises stops the node, with its text."""
        open_door(Settings.from_config(extra))

    def __init__(self, config: ComponentConfig) -> None:
        super().__init__(config)
        self._settings = Settings.from_config(config.extra)
        self._door = open_door(self._settings)

    async def onJoin(self, details: SessionDetails) -> None:
        """Register, or leave: a node whose door has no keeper must not come up."""
        options = RegisterOptions(invoke="roundrobin") if self._settings.shared else None
        try:
            for method, procedure in self._door.items():
                await self.register(procedure, self.PREFIX + method, options=options)
        except Exception as error:
            self.log.error("the authenticator can't register its procedures: {error}", error=error)
            self.leave()
            raise

    def onUserError(self, fail: Any, msg: str) -> None:
        """Autobahn would log each refusal as a warning with a traceback; the guard has recorded it already."""


def create_ticket(config: dict[str, Any], controller: Any) -> Procedure:
    """The ``function`` way, for WAMP-ticket: the router calls what this returns, without a detour over WAMP."""
    return open_door(Settings.from_config(config))["ticket"]


def create_cryptosign(config: dict[str, Any], controller: Any) -> Procedure:
    """The ``function`` way, for WAMP-cryptosign."""
    return open_door(Settings.from_config(config))["cryptosign"]
