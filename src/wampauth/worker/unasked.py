"""What does the router find out before each call that Twisted finds out after it anyhow?

Some eight times in a login, txaio examines with ``inspect`` whether what it calls is a coroutine function; if not, it
leaves the call to Twisted's ``maybeDeferred``. That sees what comes back, and takes a coroutine as well.
"""

from typing import Any

from txaio import tx


def leave_to_twisted() -> None:
    """From now on, all calls are left to ``maybeDeferred``. Safe to call again."""
    tx.iscoroutinefunction = _is_unasked


def _is_unasked(_: Any) -> bool:
    return False
