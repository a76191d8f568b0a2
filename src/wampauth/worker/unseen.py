"""What does the router make beautiful that nobody sees?

For each connection it lays out all settings and details, and colours names, for lines that only appear at ``debug`` or
``info``: at the level at which a node runs that was a sixth of a login's CPU. There, all of it is plain text.
"""

import sys
from types import ModuleType
from typing import Any

from txaio.tx import get_global_log_level

SEEN = ("info", "debug", "trace")  # levels at which somebody reads along
ROUTER = ("autobahn", "crossbar")


def plain(text: Any, *_: Any, **__: Any) -> str:
    """Without colours, or a layout."""
    return f"{text}"


def as_is(thing: Any, *_: Any, **__: Any) -> Any:
    """Itself: whoever writes the line makes text of it."""
    return thing


def named(thing: Any, *_: Any, **__: Any) -> str:
    """The name of a class or function."""
    return f"<{getattr(thing, '__qualname__', 'unknown')}>"


PLAIN = {"hl": plain, "pformat": plain, "hlid": as_is, "hlval": as_is, "hltype": named}


def leave_plain() -> None:
    """From now on, in all of the router's modules that are there and use one of these functions, unless somebody reads
    along. Safe to call again."""
    if get_global_log_level() in SEEN:
        return
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ROUTER and isinstance(module, ModuleType):
            known = vars(module)
            known.update({function: instead for function, instead in PLAIN.items() if function in known})
