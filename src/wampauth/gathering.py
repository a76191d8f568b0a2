"""Has everybody answered? What one question to several processes comes to, as its parts arrive."""

import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

Item = dict[str, Any]  # what one process says of one thing, such as a session

ANSWER_WITHIN = 2.0  # seconds in which a process must begin to answer, and go on
WATCHES = "sessions@"  # how the name of a process begins that watches sessions; else it only lets them in
LETS_IN = "logins@"


class Gathering:
    """The answers to one question.

    :ivar items: what was said so far.
    :ivar missing: the processes that haven't said all.
    """

    def __init__(self, nodes: Collection[str], now: float) -> None:
        """
        :param nodes: the processes that were asked.
        :param now: seconds, monotonic.
        """
        self.items: list[Item] = []
        self.missing = set(nodes)
        self._heard = now

    def hear(self, parts: Iterable[tuple[str, str]], now: float) -> None:
        """Some parts have come."""
        for node, text in parts:
            with suppress(ValueError, TypeError, KeyError, RecursionError):  # one that can't be read wasn't given
                said = json.loads(text)
                self.items += [dict(item) for item in said["items"]]
                self._heard = now
                if said["last"]:
                    self.missing.discard(node)

    def is_over(self, now: float) -> bool:
        """Whether all have answered, or it is no use to wait any longer."""
        return not self.missing or now - self._heard > ANSWER_WITHIN


def part(items: Collection[Item], last: bool) -> str:
    """A part of an answer, as it travels."""
    return json.dumps({"items": list(items), "last": last})
