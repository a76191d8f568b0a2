"""Is what a client says of itself believed? The true credential, and claims that aren't the principal's."""

from collections.abc import Iterator
from typing import Any

from wampauth.probe.answers import Answer
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, NOT_APPLICABLE, Found, verdict, worst
from wampauth.probe.target import Target
from wampauth.probe.timing import made_up

NOWHERE = "probe-elsewhere"
GOD = "trusted"
NAMES = ("claimed-realm", "claimed-authid", "claimed-role")


def run(target: Target) -> Iterator[Found]:
    """The rows ``claimed-realm``, ``claimed-authid`` and ``claimed-role``: with the ticket and with the key. The
    worse of both counts."""
    credentials = [name for name in ("ticket", "key") if getattr(target, name)]
    for found in zip(*(_claims(target, credential) for credential in credentials), strict=True):
        yield worst(found)


def _claims(target: Target, credential: str) -> Iterator[Found]:
    honest = _login(target, credential)
    if honest.kind != "WELCOME":
        yield from (Found(name, CANT_TELL, f"the honest login with the {credential}: {honest}") for name in NAMES)
        return
    authid, somebody = str(honest.details.get("authid")), made_up(target.authid)
    yield _judge("claimed-realm", _login(target, credential, realm=NOWHERE), NOWHERE, "realm")
    answer = _login(target, credential, authid=somebody)
    other = answer.kind == "WELCOME" and answer.details.get("authid") != authid
    yield Found("claimed-authid", verdict(other, answer), _words(answer))
    wanted = {"role": GOD, "authrole": GOD, "roles": [GOD]}
    yield _judge("claimed-role", _login(target, credential, authrole=GOD, extra=wanted), GOD, "authrole")


def _login(target: Target, credential: str, **claims: Any) -> Answer:
    """Log in with the true credential, claiming something."""
    with target.connect(target.source()) as client:
        if credential == "ticket":
            return client.ticket(target.ticket or "", **claims)
        return target.join_with_key(client, **claims)


def _judge(name: str, answer: Answer, claimed: str, field: str) -> Found:
    """Falls if the claim was taken: we join so, or the router looks for what we claimed. To join as the principal, as
    if nothing had been claimed, is fine."""
    taken = answer.kind == "WELCOME" and answer.details.get(field) == claimed
    sought = answer.kind == "ABORT" and answer.uri in ("wamp.error.no_such_realm", "wamp.error.no_such_role")
    if sought and claimed in answer.text:
        return Found(name, FALLS, f"the router looked for what was only claimed: {answer}")
    return Found(name, verdict(taken, answer), _words(answer))


def _words(answer: Answer) -> str:
    if answer.kind != "WELCOME":
        return str(answer)
    return "WELCOME in {realm} as {authid}, {authrole}".format_map({"realm": "?", "authid": "?", **answer.details})


def anonymous(target: Target) -> Iterator[Found]:
    """The row ``anonymous``."""
    sayings: tuple[dict[str, Any], ...] = ({}, {"authmethods": ...}, {"authmethods": []})
    for details in sayings:
        with target.connect(target.source()) as client:
            answer = client.hello("anonymous", **details)
        if answer.kind == "WELCOME":
            yield Found("anonymous", FALLS, _words(answer))
            return
    yield Found("anonymous", verdict(False, answer), str(answer))


def clear_ticket(target: Target) -> Iterator[Found]:
    """The row ``clear-ticket``."""
    if target.address.is_secure:
        yield Found("clear-ticket", HOLDS, "TLS, with a certificate that we trust")
    elif target.address.is_loopback:
        yield Found("clear-ticket", NOT_APPLICABLE, "it stays on this machine")
    else:
        with target.connect() as client:
            answer = client.hello("ticket", target.authid)
        yield Found("clear-ticket", verdict(answer.kind == "CHALLENGE", answer), f"{answer}, without TLS")
