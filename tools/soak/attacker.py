"""Who attacks? What a stranger may know of a node, and what he has got so far."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey
from wires import DUMP, Way, Wire, ways

from wampauth.testing.wamp import (
    AUTHENTICATE,
    CHALLENGE,
    HELLO,
    ROLES,
    WELCOME,
    pubkey,
)

SHARED = "127.0.0.1"  # an honest client's address, too
ELSEWHERE = [f"127.0.0.{number}" for number in range(2, 9)]


@dataclass(frozen=True)
class Target:
    """The node, as a stranger may know it.

    :ivar seed: of the key of a device, which is his own.
    """

    directory: Path
    port: int
    tls_port: int
    ca: Path
    seed: bytes


class Attacker:
    """One thread of an attack, and what it got."""

    def __init__(self, target: Target, seed: str, until: float) -> None:
        """:param until: seconds on the monotonic clock."""
        self.target, self.until = target, until
        self.random = random.Random(seed)
        self.got: Counter[str] = Counter()
        self.device = SigningKey(target.seed)

    def way(self) -> Way:
        return self.random.choice([*ways(self.target, self.random.choice(list(DUMP))).values()])

    def open(self, *sources: str) -> Wire:
        return self.way().open(self.random.choice(sources or (SHARED, *ELSEWHERE)))

    def open_for_tickets(self) -> Wire:
        """Where a ticket is looked at: over TLS, or from this machine."""
        way = ways(self.target, self.random.choice(list(DUMP)))[self.random.choice(["wss", "wss", "unix"])]
        return way.open(self.random.choice(ELSEWHERE))

    def hello(self, wire: Wire, method: str, **details: Any) -> Any:
        wire.send([HELLO, None, {"roles": ROLES, "authmethods": [method], **details}])
        return wire.receive()

    def show(self, wire: Wire) -> Any:
        """Show the public key of the device."""
        return self.hello(wire, "cryptosign", authextra={"pubkey": pubkey(self.device), "channel_binding": None})

    def guess(self, wire: Wire, authid: str, ticket: str = "guess") -> None:
        if self.hello(wire, "ticket", authid=authid)[0] == CHALLENGE:
            wire.send([AUTHENTICATE, ticket, {}])

    def note(self, message: Any) -> None:
        self.got["joined" if message[0] == WELCOME else "answers"] += 1
