"""How does a command reach the nodes, and what does it say if none is there?"""

import json
import time
from collections.abc import Collection, Coroutine
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from wampauth.gathering import ANSWER_WITHIN, WATCHES, Gathering, Item
from wampauth.nodeconfig import node_of
from wampauth.settings import SettingsError
from wampauth.store import Connection, StoreError, open_store, requests
from wampauth.told import sentence

Answer = TypeVar("Answer")

POLL = 0.05  # seconds between two looks for answers
NOBODY = "No node has this store open."
SILENT = f"{{}} of {{}} node processes didn't answer within {ANSWER_WITHIN:g} s: it has died, or is too busy."


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


class Own:
    """A store of an author's own. The command line has no reactor: it takes answers that are given at once.

    Relative paths begin in the node directory for it, as on the node, if there is a configuration near here that names
    the store.
    """

    def __init__(self, where: str) -> None:
        """:raises StoreError: if operators can't reach the nodes through it."""
        self._folder = node_of(where) or Path()
        try:
            with chdir(self._folder):
                self._store = open_store(where)
        except SettingsError as error:
            hint = "a node finds modules by its pythonpath, a command by PYTHONPATH=FOLDER before its name"
            raise SettingsError(f"{error} ({hint})") from None
        if not self._store.can_reach:
            raise StoreError(
                f"{where} is a store of your own that lacks a method of `wampauth.Reaching`: no node hears"
            )

    def request(self, text: str) -> tuple[str, Collection[str]]:
        """Ask all processes: the request's id, and who they are."""
        return self._at_once(self._store.request(text))

    def answers(self, identifier: str) -> Collection[tuple[str, str]]:
        """What has come since this was asked before: processes, and what each says."""
        return self._at_once(self._store.answers(identifier))

    def withdraw(self, identifier: str, gone: Collection[str]) -> None:
        """Forget a request, and processes that are gone."""
        self._at_once(self._store.withdraw(identifier, gone))

    def _at_once(self, answer: Coroutine[Any, Any, Answer]) -> Answer:
        try:
            with chdir(self._folder):
                return _at_once(answer)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise StoreError(f"the nodes can't be asked through your store: {sentence(error)}") from None


class Rows:
    """A store of ours: the same three."""

    def __init__(self, connection: Connection) -> None:
        self.request = partial(requests.request, connection)
        self.answers = partial(requests.answers, connection)
        self.withdraw = partial(requests.withdraw, connection)


def _at_once(answer: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        answer.send(None)
    except StopIteration as given:
        return given.value  # type: ignore[no-any-return]
    answer.close()
    raise StoreError("it answers later, and `request`, `answers` and `withdraw` are to answer at once here")


def ask(store: Connection | Own, question: dict[str, Any], of: str = WATCHES) -> Answers:
    """Ask the processes that have the store open, and wait for those that answer in time.

    :param of: how the names of those begin that have something to say; empty: of all.
    """
    reach = store if isinstance(store, Own) else Rows(store)
    identifier, nodes = reach.request(json.dumps(question))
    asked = {node for node in nodes if node.startswith(of)}
    gathering = Gathering(asked, time.monotonic())
    try:
        while not gathering.is_over(time.monotonic()):
            parts = reach.answers(identifier)
            gathering.hear(parts, time.monotonic())
            if not parts:
                time.sleep(POLL)
    finally:
        reach.withdraw(identifier, gathering.missing)
    return Answers(gathering.items, len(asked), len(gathering.missing))


@dataclass
class Ended:
    """What became of the live sessions; as text, a sentence."""

    answers: Answers
    realm: str
    obstacle: str = ""  # why the nodes couldn't be asked

    def __str__(self) -> str:
        if self.obstacle:
            return f"The nodes can't be asked how many sessions that ended: {self.obstacle}"
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
    try:
        return Ended(ask(store, {"do": "ended", "authid": who["authid"], "credential": credential}), who["realm"])
    except StoreError as error:  # it is written, but there is no room for a question
        return Ended(Answers([], 0, 0), who["realm"], str(error))


def counted(number: int) -> str:
    """So many sessions were ended."""
    return f"{number} live session was ended." if number == 1 else f"{number} live sessions were ended."
