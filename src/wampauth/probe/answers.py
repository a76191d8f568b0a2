"""What did the router say? Its messages in words, without a secret in them, and what two answers have in common."""

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from wampauth.testing import wamp
from wampauth.testing.wamp import ABORT, ERROR, GOODBYE, WELCOME, Message

NAMED = ["WELCOME", "ABORT", "CHALLENGE", "GOODBYE", "ERROR", "RESULT", "PUBLISHED", "SUBSCRIBED", "REGISTERED"]
NAMES: dict[int, str] = {getattr(wamp, name): name for name in NAMED}


@dataclass(frozen=True)
class Answer:
    """One answer of the router.

    :ivar kind: ``WELCOME`` and so on; ``closed`` if the router has hung up, ``nothing`` if nothing came in time.
    :ivar uri: of an ABORT, an ERROR or a GOODBYE; the code of a close.
    :ivar text: what is said besides, to people.
    :ivar seconds: from the question to it.
    """

    kind: str
    uri: str = ""
    text: str = ""
    seconds: float = 0.0
    message: Message = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        said = ": ".join(filter(None, (self.uri, self.text)))
        return f"{self.kind} {said}".rstrip()

    @property
    def details(self) -> dict[str, Any]:
        """The details of a WELCOME."""
        return self.message[2] if self.kind == "WELCOME" else {}

    @property
    def challenge(self) -> str:
        """The challenge of WAMP-cryptosign, in hexadecimal; empty if it isn't one."""
        extra = self.message[2] if self.kind == "CHALLENGE" and len(self.message) > 2 else None
        found = extra.get("challenge") if isinstance(extra, dict) else None
        return found if isinstance(found, str) and re.fullmatch("([0-9a-fA-F]{2})+", found) else ""

    def shape(self, *claimed: str) -> str:
        """The answer without what differs from attempt to attempt: what we claimed, numbers, and references.

        :param claimed: all names in answers that are compared. One may be a word of the text, or a part of one.
        """
        words = "|".join(map(re.escape, sorted(filter(None, claimed), key=len, reverse=True)))
        text = re.sub(rf"(?<!\w)({words})(?!\w)", "CLAIMED", self.text) if words else self.text
        text = re.sub(r"\b(0x)?[0-9a-f]{8,}\b", "REFERENCE", text)
        return f"{self.kind} {self.uri} {re.sub(r'[0-9]+', 'N', text)}".rstrip()


class Redactor:
    """Takes secrets out of texts, in whatever form they may come back.

    :ivar found: the last text that had one in it, without it.
    """

    def __init__(self, secrets: Iterable[str | bytes]) -> None:
        """:param secrets: tickets as text, keys as bytes."""
        self.found = ""
        self._forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        redacted = text
        for form in self._forms:
            redacted = redacted.replace(form, "***")
        if redacted != text:
            self.found = redacted
        return redacted


def _forms(secret: str | bytes) -> set[str]:
    """How a secret may look in a text."""
    raw = secret if isinstance(secret, bytes) else secret.encode(errors="surrogatepass")
    forms = {raw.hex(), raw.hex().upper(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    if isinstance(secret, str):
        forms |= {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], ascii(secret)[1:-1]}
        forms |= {quote(raw), quote_plus(raw)}
    return forms - {""}


def read(message: Any, seconds: float, redact: Redactor) -> Answer:
    """What a message says."""
    shown = redact(json.dumps(message, ensure_ascii=False))
    kind = message[0] if isinstance(message, list) and message else None
    if not isinstance(kind, int) or kind not in NAMES or (kind == WELCOME and not _is_welcome(message)):
        return Answer("other", text=shown, seconds=seconds)
    uri, text = "", ""
    if kind in (ABORT, GOODBYE):
        uri, text = str(message[2]) if len(message) > 2 else "", _text(message[1] if len(message) > 1 else None)
    elif kind == ERROR:
        uri, text = str(message[4]) if len(message) > 4 else "", " ".join(map(str, _list(message[5:6])))
    return Answer(NAMES[kind], redact(uri), redact(text), seconds, message)


def _is_welcome(message: Message) -> bool:
    return len(message) > 2 and isinstance(message[1], int) and isinstance(message[2], dict)


def _text(details: Any) -> str:
    return str(details.get("message") or "") if isinstance(details, dict) else ""


def _list(found: Message) -> Message:
    return found[0] if found and isinstance(found[0], list) else []
