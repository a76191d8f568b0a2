"""What does the router make beautiful that nobody sees?

For each connection it lays out all settings and details, and colours names, for lines that only appear at ``debug`` or
``info``: at the level at which a node runs that was a tenth of a login's CPU. There, what is laid out is plain text.
"""

import sys
from typing import Any

from txaio.tx import get_global_log_level

SEEN = ("info", "debug", "trace")  # levels at which somebody reads along
COLOURED = ("autobahn.util", "crossbar._util")
LAID_OUT = (
    *("autobahn.websocket.protocol", "crossbar.router.auth.cryptosign", "crossbar.router.role"),
    *("crossbar.router.router", "crossbar.router.session"),
)


def plain(text: Any, *_: Any, **__: Any) -> str:
    """Without colours, or a layout."""
    return f"{text}"


def leave_plain() -> None:
    """From now on, in the modules that are there and have the function, unless somebody reads along. Safe to call
    again."""
    if get_global_log_level() in SEEN:
        return
    for function, modules in ("hl", COLOURED), ("pformat", LAID_OUT):
        for module in map(sys.modules.get, modules):
            if hasattr(module, function):
                setattr(module, function, plain)
