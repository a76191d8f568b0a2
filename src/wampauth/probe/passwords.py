"""Can a stranger tell who has a password by the challenges of WAMP-SCRAM and WAMP-CRA, for which HELLO shows a name?"""

import base64
import json
import secrets
from typing import Any

from wampauth.probe.answers import Answer
from wampauth.probe.target import Target

METHODS = ("scram", "wampcra")
ANY = ("salt", "nonce")  # differ from one to the other by their nature: their length counts


def offered(target: Target) -> list[str]:
    """The methods of the two by which the principal is challenged."""
    found = []
    for method in METHODS:
        with target.connect(target.source()) as client:
            if hello(client, method, target.authid).kind == "CHALLENGE":
                found.append(method)
    return found


def hello(client: Any, method: str, authid: str) -> Answer:
    """Say HELLO in this name; with a nonce, which SCRAM wants."""
    nonce = base64.b64encode(secrets.token_bytes(16)).decode()
    answer: Answer = client.hello(method, authid, extra={"nonce": nonce} if method == "scram" else None)
    return answer


def no_proof() -> str:
    """As long as one of either method, and nobody's."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def seen(target: Target, method: str, authid: str, other: str) -> tuple[str, Answer]:
    """What a stranger sees in this name, who looks twice and sends a wrong proof, but for what differs by nature.

    :param other: the name with which it is compared.
    """
    challenges = []
    for _ in range(2):
        with target.connect(target.source()) as client:
            challenges.append(hello(client, method, authid))
            denied = client.authenticate(no_proof()) if challenges[-1].kind == "CHALLENGE" else challenges[-1]
    one, again = (_fields(answer, authid) for answer in challenges)
    form = {name: _form(name, value, stays=again.get(name) == value) for name, value in one.items()}
    shapes = [answer.shape(authid, other) for answer in (challenges[0], denied)]
    return json.dumps([*shapes, form], sort_keys=True), challenges[0]


def _fields(answer: Answer, authid: str) -> dict[str, Any]:
    """Of a challenge, with those of the JSON that is in that of WAMP-CRA, and without the name."""
    extra = answer.message[2] if answer.kind == "CHALLENGE" and len(answer.message) > 2 else {}
    fields = dict(extra) if isinstance(extra, dict) else {}
    try:
        inner = json.loads(fields["challenge"])
        fields |= {"challenge": sorted(inner), **{f"challenge.{name}": inner[name] for name in inner}}
    except (KeyError, TypeError, ValueError):
        pass
    return {name: "CLAIMED" if value == authid else value for name, value in fields.items()}


def _form(name: str, value: Any, stays: bool) -> list[Any]:
    size = len(value) if isinstance(value, str) else 0
    return [type(value).__name__, size if stays or name in ANY else 0, value if stays and name not in ANY else stays]
