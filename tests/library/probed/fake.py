"""A WAMP router of a few lines, for what Crossbar.io can't be made strong or weak in. It counts what it gets."""

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR = 1, 2, 3, 4, 5, 6, 8
GRACE = 3.0  # seconds in which one must have joined
FAILURES = 10  # from one address, in the life of the router
SAME = "5a" * 32


def scram(authid: str) -> dict[str, Any]:
    """A challenge, of which the salt stays."""
    salt = base64.b64encode(hashlib.sha256(authid.encode()).digest()[:16]).decode()
    return {"nonce": secrets.token_hex(32), "kdf": "argon2id-13", "salt": salt, "iterations": 3, "memory": 65536}


def wampcra(authid: str) -> dict[str, Any]:
    return {"challenge": json.dumps({"authid": authid, "nonce": secrets.token_hex(16), "authrole": "user"})}


PASSWORDS = {"scram": scram, "wampcra": wampcra}  # which nobody knows


@dataclass
class Fake:
    """A router, strong but for its weaknesses.

    - ``handshake``: it waits for the opening handshake as long as that takes.
    - ``grace``: it waits for HELLO and AUTHENTICATE as long as that takes.
    - ``forged``: it doesn't look at signatures; ``small-order``: it verifies them, with whatever key is shown.
    - ``replayed``: all challenges are the same; ``after-goodbye``: it takes an AUTHENTICATE again.
    - ``second``: it takes whatever comes second on one challenge.
    - ``guesses``: it doesn't count failures; ``scram-proofs``, ``wampcra-proofs``: not those on one challenge.
    - ``scram-time``, ``wampcra-time``: it looks longer for a name that it doesn't know.
    - ``nesting``: nobody is served while it reads a frame of brackets.
    - ``mute``: it answers nothing; ``slow``: it takes 2 s for each answer.
    """

    pubkey: str
    ticket: str
    weaknesses: frozenset[str]
    connections: int = 0
    messages: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # by address
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        client, began = Session(self, connection), time.monotonic()
        with suppress(ConnectionClosed):
            while True:
                patience = None
                if not client.joined and "grace" not in self.weaknesses:
                    patience = max(0.0, began + GRACE - time.monotonic())
                try:
                    frame = connection.recv(timeout=patience)
                except TimeoutError:
                    connection.close(1008, "too late")
                    return
                with self.lock:
                    self.messages += 1
                self._read(client, connection, frame)

    def _read(self, client: "Session", connection: ServerConnection, frame: str | bytes) -> None:
        with self.busy:  # which all connections need
            if "nesting" in self.weaknesses and len(frame) > 5_000 and str(frame).startswith("[["):
                time.sleep(2.0)
        try:
            message = json.loads(frame)
            client.take(message[0], message)
        except ConnectionClosed:
            raise
        except Exception:
            connection.close(1002, "what?")


class Session:
    """What one connection has said so far."""

    def __init__(self, router: Fake, connection: ServerConnection) -> None:
        self.router, self.connection = router, connection
        self.joined = False
        self.method, self.pubkey, self.challenge, self.proofs = "", "", "", 0

    def say(self, *message: Any) -> None:
        if "mute" in self.router.weaknesses:
            return
        if "slow" in self.router.weaknesses:
            time.sleep(2.0)
        self.connection.send(json.dumps(message))

    def take(self, kind: int, message: list[Any]) -> None:
        if kind == HELLO and not self.joined:
            self.hello(message[2])
        elif kind == AUTHENTICATE and not self.joined:
            self.authenticate(message[1])
        elif kind == GOODBYE and self.joined:
            self.joined = False
            self.say(GOODBYE, {}, "wamp.close.goodbye_and_out")
            if "after-goodbye" not in self.router.weaknesses:
                self.method = ""
        elif self.joined:
            self.say(ERROR, kind, message[1], {}, "wamp.error.not_authorized")
        else:
            raise ValueError

    def hello(self, details: dict[str, Any]) -> None:
        self.method, self.proofs = (details.get("authmethods") or [""])[0], 0
        if self.method == "ticket":
            self.say(CHALLENGE, "ticket", {})
        elif self.method == "cryptosign":
            self.pubkey = details["authextra"]["pubkey"]
            if self.pubkey != self.router.pubkey and "small-order" not in self.router.weaknesses:
                self.no("org.fake.no")
                return
            self.challenge = SAME if "replayed" in self.router.weaknesses else secrets.token_hex(32)
            self.say(CHALLENGE, "cryptosign", {"challenge": self.challenge})
        elif self.method in PASSWORDS:
            if details["authid"] != "alice" and f"{self.method}-time" in self.router.weaknesses:
                time.sleep(0.02)
            self.say(CHALLENGE, self.method, PASSWORDS[self.method](details["authid"]))
        else:
            self.no("wamp.error.no_auth_method")

    def no(self, uri: str) -> None:
        self.method = ""
        self.say(ABORT, {"message": "no"}, uri)

    def authenticate(self, proof: str) -> None:
        address = str(self.connection.remote_address[0])
        self.proofs += 1
        if f"{self.method}-proofs" in self.router.weaknesses:
            self.say(ABORT, {"message": "no"}, "org.fake.no")
            return
        if self.router.failures[address] >= FAILURES and "guesses" not in self.router.weaknesses:
            self.no("org.fake.too_many")
            return
        right = "second" in self.router.weaknesses and self.proofs > 1
        if self.method == "ticket":
            right = right or proof == self.router.ticket
        elif self.method == "cryptosign":
            right = right or self.verifies(proof)
        if not right:
            self.router.failures[address] += 1
            self.no("org.fake.no")
            return
        self.joined = True
        self.say(WELCOME, 1, {"realm": "realm1", "authid": "alice", "authrole": "user"})

    def verifies(self, proof: str) -> bool:
        """OpenSSL takes keys of small order, other than libsodium."""
        if "forged" in self.router.weaknesses:
            return True
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.pubkey))
        try:
            key.verify(bytes.fromhex(proof[:128]), bytes.fromhex(self.challenge))
        except (InvalidSignature, ValueError):
            return False
        return proof[128:] == self.challenge


@contextmanager
def running(pubkey: str, ticket: str, *weaknesses: str) -> Iterator[tuple[Fake, int]]:
    """A router on a free port, and that port."""
    fake = Fake(pubkey, ticket, frozenset(weaknesses))
    listening = socket.create_server(("127.0.0.1", 0))
    patience = None if "handshake" in weaknesses else GRACE
    server = serve(
        fake.handle,
        sock=listening,
        subprotocols=[Subprotocol("wamp.2.json")],
        open_timeout=patience,
        origins=[None],
        max_size=65536,
        server_header=None,
    )
    accept = server.handler

    def count(sock: socket.socket, address: Any) -> None:
        with fake.lock:
            fake.connections += 1
        accept(sock, address)

    server.handler = count
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield fake, listening.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()
