"""What can a man in the middle do? He has a certificate that the client believes in, and passes its login on.

The relay takes a client's TLS connection, opens its own to the node, and carries HELLO, CHALLENGE and AUTHENTICATE
across. If the node lets it in, it acts in the client's name.
"""

import json
import ssl
import threading
from typing import Any

from websockets.sync.server import ServerConnection, serve

from wampauth.probe.turns import TurnTaking
from wampauth.testing.wamp import CALL, CHALLENGE, WELCOME, Message, RawClient


class Relay:
    """Listens on a free port of the loopback interface. A context manager."""

    def __init__(self, certificate: ssl.SSLContext, node: str, trust: ssl.SSLContext, strip: bool) -> None:
        """
        :param certificate: what it shows to the client.
        :param node: the URL of the node.
        :param trust: what it believes in itself.
        :param strip: take the client's wish for channel binding out of its HELLO.
        """
        self._node, self._trust, self._strip = node, trust, strip
        certificate.sslsocket_class = TurnTaking
        options: dict[str, Any] = {"ssl": certificate, "subprotocols": ["wamp.2.json"], "close_timeout": 1}
        self._server = serve(self._pass_on, "127.0.0.1", 0, **options)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.verdict: Message = []  # what the node said to the relay in the end
        self.loot: Message = []  # the answer to a call that the relay made in the client's name

    @property
    def url(self) -> str:
        return f"wss://localhost:{self._server.socket.getsockname()[1]}/ws"

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def _pass_on(self, client: ServerConnection) -> None:
        with RawClient(self._node, ssl=self._trust) as upstream:
            self.verdict = []
            upstream.send(*self._tampered(json.loads(client.recv())))
            challenge = upstream.receive()
            client.send(json.dumps(challenge))
            if challenge[0] != CHALLENGE:
                self.verdict = challenge
                return
            upstream.send_raw(client.recv())
            verdict = upstream.receive()
            if verdict[0] == WELCOME:
                self.loot = upstream.request(CALL, {}, "com.example.add2", [2, 3])
            self.verdict = verdict
            client.send(json.dumps(verdict))

    def _tampered(self, hello: Message) -> Message:
        extra: dict[str, Any] = hello[2].get("authextra", {})
        if self._strip:
            extra.pop("channel_binding", None)
        return hello
