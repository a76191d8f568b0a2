"""Who hears of a page that may not connect? The router answers a foreign Origin with HTTP 400, before any WAMP is
spoken, and tells its log only at ``info``. Here the operator is told at the level at which a node runs, with the
setting to change; how often, is bounded like all that a stranger can have us write (``logs.py``).
"""

import functools
from typing import Any

from twisted.logger import Logger

LONGEST = 200  # characters of what a stranger has sent
REFUSED = (
    "a WebSocket from {peer} was refused for its Origin: {reason}. If its pages may log in, put that Origin into "
    "allowed_origins of the transport"
)
_log = Logger()


def tell_of_refused() -> None:
    """From now on, have the log of this process told. Safe to call again."""
    from autobahn.websocket.protocol import WebSocketServerProtocol as Server  # late: it is the router's

    fail = Server.failHandshake
    if hasattr(fail, "__wrapped__"):
        return

    @functools.wraps(fail)
    def tell_and_fail(self: Any, reason: str, *args: Any, **options: Any) -> Any:
        if "origin" in reason.lower():
            _log.error(REFUSED, peer=self.peer, reason=ascii(reason)[1:-1][:LONGEST])  # no line breaks, no colours
        return fail(self, reason, *args, **options)

    Server.failHandshake = tell_and_fail
