"""What is there for tests? A real router, a client that says what no client library would, and one login without both.

``StoreContract`` needs pytest and ``login`` the reactor: they are imported when they are asked for, so that
``wampauth start`` needs neither.
"""

import importlib
import os
import secrets
import socket
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from wampauth.testing.node import Node, NodeError
from wampauth.testing.wamp import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    ERROR,
    EVENT,
    GOODBYE,
    HELLO,
    INVOCATION,
    PUBLISH,
    PUBLISHED,
    REGISTER,
    REGISTERED,
    RESULT,
    SUBSCRIBE,
    SUBSCRIBED,
    WELCOME,
    YIELD,
    Message,
    RawClient,
    pubkey,
    sign,
)

if TYPE_CHECKING:
    from wampauth.testing.attempt import login
    from wampauth.testing.contract import (
        CertificatesContract,
        EnrolsContract,
        ReachingContract,
        ScramContract,
        StoreContract,
    )

PORTS = range(20_000, 32_000)
SHARES = 16
_given: deque[int] = deque(maxlen=100)
CONTRACT = "wampauth.testing.contract"
CONTRACTS = ("StoreContract", "CertificatesContract", "EnrolsContract", "ReachingContract", "ScramContract")
LATER = {"login": "wampauth.testing.attempt", **dict.fromkeys(CONTRACTS, CONTRACT)}
__all__ = [
    "ABORT",
    "AUTHENTICATE",
    "CALL",
    "CHALLENGE",
    "ERROR",
    "EVENT",
    "GOODBYE",
    "HELLO",
    "INVOCATION",
    "PUBLISH",
    "PUBLISHED",
    "REGISTER",
    "REGISTERED",
    "RESULT",
    "SUBSCRIBE",
    "SUBSCRIBED",
    "WELCOME",
    "YIELD",
    "CertificatesContract",
    "EnrolsContract",
    "Message",
    "Node",
    "NodeError",
    "RawClient",
    "ReachingContract",
    "ScramContract",
    "StoreContract",
    "free_port",
    "login",
    "pubkey",
    "sign",
]

if "pytest" in sys.modules:  # now, before anybody imports them: so its asserts show what they have compared
    sys.modules["pytest"].register_assert_rewrite(CONTRACT)


if not TYPE_CHECKING:  # to whom any name would do then

    def __getattr__(name: str) -> Any:
        """Import what is needed seldom."""
        if name in LATER:
            return getattr(importlib.import_module(LATER[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def free_port() -> int:
    """A port of the loopback interface that nobody uses just now: one of those that systems don't hand out to clients,
    of which one could have it before a node does. Processes that test side by side, and so have process ids near each
    other, choose from different ones."""
    mine = PORTS[os.getpid() % SHARES :: SHARES]
    while True:
        port = secrets.choice(mine)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.append(port)
                return port
