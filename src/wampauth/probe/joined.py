"""What may somebody do who has joined? More than the application needs: the meta API, patterns, other names."""

import secrets
from collections.abc import Iterator
from typing import Any

from wampauth.probe.answers import Answer
from wampauth.probe.report import CANT_TELL, Found, verdict
from wampauth.probe.target import Target
from wampauth.testing.wamp import CALL, PUBLISH, REGISTER, SUBSCRIBE

NAMES = ("meta-read", "meta-kill", "any-uri", "prefix-all", "prefix-topic", "forward-for")
LOOKS = ("wamp.session.list", "wamp.session.count", "wamp.registration.list", "wamp.subscription.list")
EVENTS = ("wamp.session.on_join", "wamp.session.on_leave")
EVERYTHING = (("prefix", "wamp."), ("prefix", "com."), ("prefix", ""), ("wildcard", ".."), ("wildcard", "com.."))
NOT_ALLOWED = ("wamp.error.not_authorized", "wamp.error.authorization_failed")
FORGED = {"session": 1, "authid": "probe-somebody", "authrole": "trusted"}


def run(target: Target) -> Iterator[Found]:
    """The rows about the joined role. Each begins on a connection of its own, since the router may hang up."""
    with target.joined() as (_, honest):
        pass
    if honest.kind != "WELCOME":
        yield from (Found(name, CANT_TELL, f"the honest login: {honest}") for name in NAMES)
        return
    yield _meta_read(target)
    yield _meta_kill(target)
    yield _any_uri(target)
    yield _prefix_all(target)
    if target.topic:
        yield _prefix_topic(target, target.topic)
    if target.procedure:
        yield _forward_for(target, target.procedure)


def is_allowed(answer: Answer) -> bool:
    """Whether the router didn't refuse it, whatever came of it then."""
    return answer.kind in ("RESULT", "SUBSCRIBED", "REGISTERED", "PUBLISHED") or (
        answer.kind == "ERROR" and answer.uri not in NOT_ALLOWED and answer.uri != "wamp.error.invalid_uri"
    )


def _meta_read(target: Target) -> Found:
    with target.joined() as (client, joined):
        answers = {name: client.request(CALL, {}, name) for name in LOOKS}
        answers["wamp.session.get"] = client.request(CALL, {}, "wamp.session.get", [joined.message[1]])
        answers |= {name: client.request(SUBSCRIBE, {}, name) for name in EVENTS}
    return _found("meta-read", answers)


def _meta_kill(target: Target) -> Found:
    """Sessions and authids that nobody has: nobody is ended."""
    nobody = "probe-" + secrets.token_hex(8)
    arguments = {"wamp.session.kill": 1 + secrets.randbelow(2**52), "wamp.session.kill_by_authid": nobody}
    arguments["wamp.session.kill_by_authrole"] = nobody
    with target.joined() as (client, _):
        answers = {name: client.request(CALL, {}, name, [argument]) for name, argument in arguments.items()}
    return _found("meta-kill", answers)


def _any_uri(target: Target) -> Found:
    uri = "probe." + secrets.token_hex(8)
    requests: dict[str, tuple[int, dict[str, Any], str]] = {
        "CALL": (CALL, {}, uri),
        "SUBSCRIBE": (SUBSCRIBE, {}, uri),
        "REGISTER": (REGISTER, {}, uri),
    }
    with target.joined() as (client, _):
        answers = {name: client.request(*request) for name, request in requests.items()}
        answers["PUBLISH"] = client.request(PUBLISH, {"acknowledge": True}, uri)
    return _found("any-uri", answers)


def _prefix_all(target: Target) -> Found:
    answers = {}
    for match, pattern in EVERYTHING:
        with target.joined() as (client, _):
            answers[f"{match} {pattern!r}"] = client.request(SUBSCRIBE, {"match": match}, pattern)
    return _found("prefix-all", answers)


def _prefix_topic(target: Target, topic: str) -> Found:
    with target.joined() as (client, _):
        by_name = client.request(SUBSCRIBE, {}, topic)
        by_prefix = client.request(SUBSCRIBE, {"match": "prefix"}, topic)
    if not is_allowed(by_name):
        return Found("prefix-topic", CANT_TELL, f"the topic may not be heard by name either: {by_name}")
    return Found("prefix-topic", verdict(is_allowed(by_prefix), by_prefix), str(by_prefix))


def _forward_for(target: Target, procedure: str) -> Found:
    with target.joined() as (client, _):
        plain = client.request(CALL, {}, procedure)
        forged = client.request(CALL, {"forward_for": [FORGED]}, procedure)
    if not is_allowed(plain):
        return Found("forward-for", CANT_TELL, f"the procedure may not be called without it either: {plain}")
    return Found("forward-for", verdict(is_allowed(forged), forged), str(forged))


def _found(name: str, answers: dict[str, Answer]) -> Found:
    """Falls if one is allowed."""
    allowed = [request for request, answer in answers.items() if is_allowed(answer)]
    last = list(answers.values())[-1]
    return Found(name, verdict(bool(allowed), last), f"allowed: {', '.join(allowed)}" if allowed else str(last))
