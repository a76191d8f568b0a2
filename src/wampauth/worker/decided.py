"""How many of its decisions does the router keep?

By itself Crossbar.io 26.10.1 keeps each that a rule with ``cache`` lets it keep, and each no to a URI that no rule of a
role with static ``permissions`` is for: for as long as it runs, and however long that URI is. A client that calls names
which it makes up would fill the memory. Here each realm keeps the last ones. Roles that ask an authorizer of ours have
none there.
"""

import functools
from typing import Any

MOST = 10_000  # decisions of a realm, each in less than a kilobyte
LONGEST = 255  # characters of a URI; what was decided on a longer one isn't kept

Action = tuple[str, str, str, str]  # realm, role, URI, and what is done to it


class Few(dict[Action, Any]):
    """Keeps the last decisions."""

    def __setitem__(self, action: Action, decision: Any) -> None:
        if len(action[2]) > LONGEST:
            return
        super().__setitem__(action, decision)
        if len(self) > MOST:
            del self[next(iter(self))]


def keep_few() -> None:
    """Change the router: that module has just been loaded. Safe to call again."""
    from crossbar.router.router import Router

    make = Router.__init__

    @functools.wraps(make)
    def made(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        self._authorization_cache = Few()

    Router.__init__ = made
