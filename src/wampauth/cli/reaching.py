"""How does a command reach the nodes, and what does it say if none is there?"""

import json
import time
from dataclasses import dataclass
from typing import Any

from wampauth.gathering import WATCHES, Gathering, Item
from wampauth.store import Connection, requests

POLL = 0.05  # seconds between two looks for answers
NOBODY = "No node has this store open."
SILENT = "{} of {} node processes didn't answer within 2 s: it has died, or is too busy."


@dataclass
class Answers:
    """What the nodes said.

    :ivar asked: how many processes were asked.
    :ivar silent: how many of them didn't answer.
    """

    items: list[Item]
    asked: int
    silent: int

    @property
    def watched(self) -> set[str]:
        """The realms that ``Sessions`` watches somewhere."""
        return {str(item["watches"]) for item in self.items if "watches" in item}

    def telling(self, name: str) -> list[Item]:
        """The items that tell of `name`."""
        return [item for item in self.items if name in item]

    def warning(self, realm: str | None = None) -> str | None:
        """Why there may be more than was told; None if there isn't.

        :param realm: that had to be watched.
        """
        if not self.asked:
            return NOBODY
        if self.silent:
            return SILENT.format(self.silent, self.asked)
        if realm is not None and realm not in self.watched:
            return f"No `Sessions` watches {realm} (see `wampauth check`): who is in stays until it leaves."
        return None


def ask(store: Connection, question: dict[str, Any], of: str = WATCHES) -> Answers:
    """Ask the processes that have the store open, and wait for those that answer in time.

    :param of: how the names of those begin that have something to say; empty: of all.
    """
    identifier, nodes = requests.request(store, json.dumps(question))
    asked = {node for node in nodes if node.startswith(of)}
    gathering = Gathering(asked, time.monotonic())
    try:
        while not gathering.is_over(time.monotonic()):
            parts = requests.answers(store, identifier)
            gathering.hear(parts, time.monotonic())
            if not parts:
                time.sleep(POLL)
    finally:
        requests.withdraw(store, identifier, gathering.missing)
    return Answers(gathering.items, len(asked), len(gathering.missing))


@dataclass
class Ended:
    """What became of the live sessions; as text, a sentence."""

    answers: Answers
    realm: str

    def __str__(self) -> str:
        number = counted(len(self.answers.telling("ended"))) if self.answers.asked else None
        return " ".join(filter(None, [number, self.answers.warning(self.realm)]))

    def numbers(self) -> dict[str, int]:
        """How many sessions ended, how many processes were asked, and how many didn't answer."""
        ended = len(self.answers.telling("ended"))
        return {"ended": ended, "nodes": self.answers.asked, "silent": self.answers.silent}


def ended(store: Connection, who: dict[str, Any], credential: str | None = None) -> Ended:
    """The sessions of a principal, or of one of its credentials, that end by what has just been written.

    :param who: the principal, as it was before.
    """
    return Ended(ask(store, {"do": "ended", "authid": who["authid"], "credential": credential}), who["realm"])


def counted(number: int) -> str:
    """So many sessions were ended."""
    return f"{number} live session was ended." if number == 1 else f"{number} live sessions were ended."
