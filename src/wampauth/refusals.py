"""What is a client told that is refused? And what is the audit told, for whom the true reason is?"""

import secrets
from collections.abc import Callable
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, fail

from wampauth.claims import Origin
from wampauth.settings import Settings

Admitted = dict[str, Any]  # what the router is told
Procedure = Callable[[Any, Any, Any], "Deferred[Admitted]"]


class Refusal(Exception):
    """A "no" worked out: how the audit calls it and why, and what the client gets to see."""

    at_once = False  # it is given without a delay, and leaves nothing waiting

    def __init__(self, outcome: str, reason: str, error: str, text: str, **audited: str | None) -> None:
        """:param error: the last part of the URI; the authenticator's prefix comes before it."""
        super().__init__(reason)
        self.outcome, self.reason, self.error, self.text, self.audited = outcome, reason, error, text, audited

    @property
    def is_clients(self) -> bool:
        """Whether the client would have to do something else; not so if we have failed, or had no time."""
        return self.outcome != "unavailable" and not self.at_once


def malformed(rule: str) -> Refusal:
    """No client library would send this; `rule` says what was expected."""
    return Refusal("malformed", rule, "malformed", rule)


def throttled(wait: float) -> Refusal:
    """Too many failures; there is a token again in `wait` seconds."""
    text = f"too many failed attempts - try again in {int(wait) + 1} seconds"
    return Refusal("throttled", "out of tokens", "too_many_attempts", text)


def crowded(reason: str, wait: float) -> Refusal:
    """There is no turn for it in time, for too many came before it; in `wait` seconds there may be."""
    text = f"too many attempts at once - try again in {int(wait) + 1} seconds"
    return Refusal("throttled", reason, "too_many_attempts", text)


def unavailable(reason: str) -> Refusal:
    """Our fault. The client gets a reference that log and audit have too, and nothing else of the `reason`."""
    reference = secrets.token_hex(4)
    text = f"authentication is unavailable - try again later (reference {reference})"
    return Refusal("unavailable", reason, "unavailable", text, reference=reference)


def too_much(no: Refusal) -> Refusal:
    """What is too much must not leave anything waiting."""
    no.at_once = True
    return no


def require_safe_transport(settings: Settings, method: str, origin: Origin) -> None:
    """Where the settings ask for it: no secret in clear, and no signature that a man in the middle could pass on.

    :raises Refusal: that tells an honest client what to change.
    """
    if settings.plain_from and origin.locality in settings.plain_from:
        return
    if settings.require_tls and not origin.is_secure:
        text = "this transport needs TLS - connect with wss://, and replace a ticket that has been sent in clear"
        raise Refusal("refused", "no TLS", "tls_required", text)
    if settings.require_channel_binding and method == "cryptosign" and origin.channel_binding is None:
        text = (
            "this transport needs channel binding - set channel_binding to tls-unique, and sign the challenge with it"
        )
        raise Refusal("refused", "no channel binding", "channel_binding_required", text)


def refuse_all(prefix: str) -> Procedure:
    """The procedure of an authenticator that can't work: the client is told to come back, and the log has said why."""

    def authenticate(realm: Any, authid: Any, details: Any) -> "Deferred[Admitted]":
        return fail(ApplicationError(prefix + "unavailable", "authentication is unavailable - try again later"))

    return authenticate
