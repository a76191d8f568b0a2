"""How does a test say what no client library would? By a WAMP client of a few lines that does as it is told."""

import json
import secrets
import ssl
from typing import Any

from nacl.signing import SigningKey
from websockets.sync.client import ClientConnection, connect

from wampauth.testing.tls import OneAtATime

HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE = 1, 2, 3, 4, 5, 6
ERROR, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, EVENT = 8, 16, 17, 32, 33, 36
CALL, RESULT, REGISTER, REGISTERED, INVOCATION, YIELD = 48, 50, 64, 65, 68, 70
ROLES: dict[str, Any] = {"caller": {}, "callee": {}, "publisher": {}, "subscriber": {}}
PATIENCE = 15.0  # seconds to wait for a message; the deadline of the guard is 5

Message = list[Any]


class RawClient:
    """One WebSocket connection that carries WAMP messages in JSON. A context manager."""

    def __init__(self, url: str, **options: Any) -> None:
        """
        :param url: of a WebSocket transport.
        :param options: as ``websockets.sync.client.connect`` takes them.
        :raises OSError: if nobody listens there.
        :raises websockets.exceptions.InvalidHandshake: if the router refuses the opening handshake.
        """
        if isinstance(context := options.get("ssl"), ssl.SSLContext):
            context.sslsocket_class = OneAtATime
        self._connection: ClientConnection = connect(url, subprotocols=["wamp.2.json"], proxy=None, **options)  # type: ignore[list-item]
        self.session: int | None = None

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, in the WebSocket way."""
        self._connection.close()

    def send(self, *message: Any) -> None:
        """Send one message, given as its elements."""
        self._connection.send(json.dumps(message))

    def send_raw(self, data: str | bytes) -> None:
        """Send a text or binary frame as it is."""
        self._connection.send(data)

    def receive(self, timeout: float = PATIENCE) -> Message:
        """The next message. Raises TimeoutError, or ConnectionClosed if the router has hung up."""
        return json.loads(self._connection.recv(timeout=timeout))  # type: ignore[no-any-return]

    def hello(self, realm: str | None, method: str, authid: Any = None, extra: Any = None, **details: Any) -> Message:
        """Say HELLO and return the answer."""
        details = {"roles": ROLES, "authmethods": [method], **details}
        if authid is not None:
            details["authid"] = authid
        if extra is not None:
            details["authextra"] = extra
        self.send(HELLO, realm, details)
        return self._remember(self.receive())

    def authenticate(self, proof: Any) -> Message:
        """Answer a CHALLENGE and return what the router says to that."""
        self.send(AUTHENTICATE, proof, {})
        return self._remember(self.receive())

    def login_ticket(self, authid: Any, ticket: Any, realm: str | None = "realm1") -> Message:
        """Try WAMP-ticket; the last message, WELCOME or ABORT."""
        answer = self.hello(realm, "ticket", authid)
        return self.authenticate(ticket) if answer[0] == CHALLENGE else answer

    def login_key(self, key: SigningKey, realm: str | None = None, authid: str | None = None) -> Message:
        """Try WAMP-cryptosign; the last message, WELCOME or ABORT."""
        answer = self.hello(realm, "cryptosign", authid, {"pubkey": pubkey(key), "channel_binding": None})
        return self.authenticate(sign(key, answer)) if answer[0] == CHALLENGE else answer

    def request(self, kind: int, *rest: Any) -> Message:
        """Send a CALL, PUBLISH, SUBSCRIBE or the like, with a fresh request id, and return the answer to it."""
        request = secrets.randbelow(2**31) + 1
        self.send(kind, request, *rest)
        while True:
            answer = self.receive()
            if request in answer[1:3]:
                return answer

    def _remember(self, answer: Message) -> Message:
        if answer[0] == WELCOME:
            self.session = answer[1]
        return answer


def pubkey(key: SigningKey) -> str:
    """The public half in hexadecimal."""
    return bytes(key.verify_key).hex()


def sign(key: SigningKey, challenge: Message) -> str:
    """The answer to a CHALLENGE without channel binding: signature and message, in hexadecimal."""
    return bytes(key.sign(bytes.fromhex(challenge[2]["challenge"]))).hex()
