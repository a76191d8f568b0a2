"""What is there for tests? A real router, a client that says what no client library would, and one login without both.

``StoreContract`` needs pytest and ``login`` the reactor: they are imported when they are asked for, so that
``wampauth start`` needs neither.
"""

import importlib
import socket
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
    from wampauth.testing.contract import StoreContract

LATER = {"StoreContract": "wampauth.testing.contract", "login": "wampauth.testing.attempt"}
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
    "Message",
    "Node",
    "NodeError",
    "RawClient",
    "StoreContract",
    "free_port",
    "login",
    "pubkey",
    "sign",
]


def __getattr__(name: str) -> Any:
    """Import what is needed seldom."""
    if name in LATER:
        return getattr(importlib.import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
