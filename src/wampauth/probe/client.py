"""With what does a probe talk? A WAMP client that does as it is told, and no more than the budget allows."""

import hashlib
import json
import secrets
import ssl
import time
from typing import Any, Protocol

from nacl.signing import SigningKey
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from wampauth.probe.answers import Answer, Redactor, read
from wampauth.probe.budget import Budget
from wampauth.testing.wamp import AUTHENTICATE, GOODBYE, HELLO, ROLES, pubkey

PATIENCE = 8.0  # seconds to wait for an answer


class Claims(Protocol):
    """What a client says unless it is told something else, and what it may use."""

    realm: str
    authid: str
    key_realm: str
    key_authid: str
    budget: Budget
    redact: Redactor


class Client:
    """One WebSocket connection that carries WAMP in JSON. A context manager."""

    def __init__(self, target: Claims, connection: ClientConnection) -> None:
        """:param connection: open, and nothing was said over it."""
        self._target, self._connection = target, connection
        self._asked = time.monotonic()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    @property
    def headers(self) -> dict[str, str]:
        """Those of the router's answer to the opening handshake, in small letters."""
        response = self._connection.response
        return {name.lower(): value for name, value in response.headers.raw_items()} if response else {}

    def send(self, *messages: Any) -> None:
        """Send messages one after the other, each a list, or a frame as text or bytes."""
        self._asked = time.monotonic()
        for message in messages:
            self._target.budget.message()
            try:
                self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
            except (ConnectionClosed, OSError):
                return  # whoever reads the answer sees it

    def answer(self, patience: float = PATIENCE) -> Answer:
        """The next message, or what has become of the connection."""
        wait = self._target.budget.patience(patience)
        try:
            raw = self._connection.recv(timeout=wait)
        except TimeoutError:
            self._target.budget.patience(patience)  # if it is over, nobody knows what would have come
            return Answer("nothing", text=f"in {patience:g} s", seconds=patience)
        except ConnectionClosed as end:
            code, reason = (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "without a word")
            return Answer("closed", str(code), self._target.redact(reason), time.monotonic() - self._asked)
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            message = None
        return read(message, time.monotonic() - self._asked, self._target.redact)

    def ask(self, *messages: Any, patience: float = PATIENCE) -> Answer:
        """Send messages, and return the first answer."""
        self.send(*messages)
        return self.answer(patience)

    def hello(self, method: Any, authid: Any = None, realm: Any = ..., extra: Any = None, **details: Any) -> Answer:
        """Say HELLO and return the answer. No realm: the target's."""
        return self.ask(hello(self._target.realm if realm is ... else realm, method, authid, extra, **details))

    def authenticate(self, proof: Any) -> Answer:
        """Answer a CHALLENGE, and return what the router says to that."""
        return self.ask([AUTHENTICATE, proof, {}])

    def ticket(self, ticket: str, authid: Any = ..., **details: Any) -> Answer:
        """Try WAMP-ticket; the last answer."""
        answer = self.hello("ticket", self._target.authid if authid is ... else authid, **details)
        return self.authenticate(ticket) if answer.kind == "CHALLENGE" else answer

    def key(self, shown: SigningKey | str, binding: str | None = None, **details: Any) -> Answer:
        """Say HELLO with a public key, for WAMP-cryptosign; the answer. No authid, realm: those of the target's key."""
        public = shown if isinstance(shown, str) else pubkey(shown)
        claim = {"authid": self._target.key_authid, "realm": self._target.key_realm, **details}
        extra = {"pubkey": public, "channel_binding": binding, **claim.pop("extra", {})}
        return self.hello("cryptosign", extra=extra, **claim)

    def signed(self, key: SigningKey, answer: Answer, binding: str | None = None) -> str:
        """The proof that a CHALLENGE asks for: signature and what is signed, in hexadecimal."""
        challenge = bytes.fromhex(answer.challenge)
        if binding:
            channel = self.channel_id()
            challenge = bytes(byte ^ channel[number % len(channel)] for number, byte in enumerate(challenge))
        return bytes(key.sign(challenge)).hex()

    def channel_id(self) -> bytes:
        """What binds a signature to this TLS connection: the digest of its ``tls-unique``, as Autobahn has it."""
        connection = self._connection.socket
        assert isinstance(connection, ssl.SSLSocket)
        return hashlib.sha256(connection.get_channel_binding("tls-unique") or b"").digest()

    def request(self, kind: int, *rest: Any) -> Answer:
        """Send a CALL, a SUBSCRIBE or the like, and return the answer to it."""
        request = secrets.randbelow(2**31) + 1
        answer = self.ask([kind, request, *rest])
        while answer.message and request not in answer.message[1:3]:
            answer = self.answer()
        return answer

    def leave(self) -> Answer:
        """Say GOODBYE, and return the answer."""
        return self.ask([GOODBYE, {}, "wamp.close.normal"])


def hello(realm: Any, method: Any, authid: Any = None, extra: Any = None, **details: Any) -> list[Any]:
    """A HELLO. What is None or ``...`` is left out."""
    given = {"roles": ROLES, "authmethods": [method], "authid": authid, "authextra": extra, **details}
    return [HELLO, realm, {name: value for name, value in given.items() if value is not None and value is not ...}]
