"""What does the router do anew each time, though it comes to the same?

* Some eight times in a login, txaio examines with ``inspect`` whether what it calls is a coroutine function; if not, it
  leaves the call to Twisted's ``maybeDeferred``. That sees what comes back, and takes a coroutine as well.
* Each session gets a logger of its own, which takes 1 KiB. Here those of one name are one, as elsewhere in Python.
"""

import functools
from typing import Any

from txaio import tx

Logger = tx.Logger


def spare() -> None:
    """From now on, calls are left to Twisted, and loggers are shared. Safe to call again."""
    tx.iscoroutinefunction = _is_unasked
    tx.Logger = _logger


def _is_unasked(_: Any) -> bool:
    return False


@functools.cache
def _logger(**named: Any) -> Any:
    return Logger(**named)
