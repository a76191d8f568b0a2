"""What do operators ask of this process, and who of us answers?

They leave requests in the store (``store/requests.py``), where we look twice a second. Those who know something, such
as the ``Sessions`` of a realm, answer in parts, and the reactor does other work in between.
"""

import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain, islice
from secrets import token_hex
from typing import Any
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from wampauth.gathering import LETS_IN, WATCHES, Gathering, Item, part
from wampauth.lookup import Lookup, StoreAway, StoreStopped
from wampauth.store import OpenStore
from wampauth.told import told

TICK = 0.5  # seconds between two looks
PAUSE = 2.0  # seconds until a store that couldn't be asked is asked again
POLL = 0.1  # seconds between two looks for what other processes answer
PART = 200  # items: less than a millisecond's work
AT_ONCE = 10  # questions of ours to other processes: a store keeps a limited number
LONGEST_NAME = 64  # characters of the machine's name

Question = dict[str, Any]
Answerer = Callable[[Question], Awaitable[Iterable[Item]]]


class Answering:
    """Answers for all in this process who have something to say."""

    log = Logger()

    def __init__(self, store: OpenStore, clock: Any) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._store, self._clock = Lookup(store, clock), clock
        self._answerers: list[Answerer] = []
        self._place = f"{socket.gethostname()[:LONGEST_NAME]}:{os.getpid()}:{token_hex(4)}"
        self._node = LETS_IN + self._place
        self._former: list[str] = []  # what we were called before
        self._taken: set[str] = set()  # requests that we have begun to answer
        self._is_asking = self._was_away = False
        self._pause_until = 0.0  # seconds on the clock
        self._free = DeferredSemaphore(AT_ONCE)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = clock

    def add(self, answerer: Answerer, watches: bool = False) -> None:
        """From now on, this one is asked, too.

        :param watches: it has live sessions.
        """
        self._answerers.append(answerer)
        if watches and self._node != WATCHES + self._place:
            self._former.append(self._node)
            self._node = WATCHES + self._place
        if not self._ticking.running:
            self._ticking.start(TICK, now=False)

    def remove(self, answerer: Answerer) -> None:
        """This one knows nothing any more."""
        if answerer in self._answerers:
            self._answerers.remove(answerer)

    async def ask_others(self, question: Question) -> list[Item]:
        """What the other processes with live sessions answer, of those that do within their time.

        :raises StoreAway: if they can't be asked.
        """
        async with self._free:
            return await self._gathered(question)

    async def _gathered(self, question: Question) -> list[Item]:
        request, nodes = await self._store.request(json.dumps(question))
        self._taken.add(request)
        others = {node for node in nodes if node != self._node and node.startswith(WATCHES)}
        gathering, gone = Gathering(others, self._clock.seconds()), set[str]()
        try:
            while not gathering.is_over(self._clock.seconds()):
                await deferLater(self._clock, POLL)
                gathering.hear(await self._store.answers(request), self._clock.seconds())
            gone = gathering.missing  # or each question would wait for those that have died
        finally:
            await self._store.withdraw(request, gone)
        return gathering.items

    async def look(self) -> None:
        """See what is asked, and let the store know that we are here."""
        if self._is_asking:
            return
        self._is_asking = True
        try:
            found = await self._store.requests(self._node)
            if self._former:
                await self._store.withdraw("", self._former)
                self._former.clear()
            for request in found.keys() - self._taken:
                Deferred.fromCoroutine(self._answer(request, str(found[request])))
            self._taken = set(found)
            self._was_away = False
        except Exception as away:  # whoever watches sessions tells of a store that is away; but not of one like this
            self._pause_until = self._clock.seconds() + PAUSE
            if not self._was_away and not isinstance(away, StoreStopped):
                self.log.error("operators can't ask this process: {away}", away=told(away))
            self._was_away = True
        finally:
            self._is_asking = False

    def _tick(self) -> None:
        if self._clock.seconds() >= self._pause_until:
            Deferred.fromCoroutine(self.look())

    async def _answer(self, request: str, text: str) -> None:
        try:
            question = json.loads(text)
            answers = [await answerer(question) for answerer in list(self._answerers)]
        except Exception as error:
            self.log.error("an operator's question can't be answered: {error}", error=told(error))
            answers = [[{"fault": type(error).__name__}]]
        await self._say(request, iter(chain.from_iterable(answers)))

    async def _say(self, request: str, items: Any) -> None:
        """All items, a part after the other, for as long as somebody wants them."""
        number, some = 0, list(islice(items, PART))
        is_wanted = True
        try:
            while is_wanted:
                following = list(islice(items, PART))
                is_wanted = await self._store.answer(request, self._node, number, part(some, last=not following))
                is_wanted, number, some = is_wanted and bool(following), number + 1, following
        except StoreStopped:
            pass
        except StoreAway as away:
            self.log.error("an answer to an operator can't be written: {away}", away=away)


_ANSWERING: WeakKeyDictionary[OpenStore, Answering] = WeakKeyDictionary()  # a store is asked once a process


def of(store: OpenStore, clock: Any) -> Answering | None:
    """Who answers in this process what is asked through `store`; None if that isn't a store through which one can."""
    if not store.can_reach:
        return None
    if store not in _ANSWERING:
        _ANSWERING[store] = Answering(store, clock)
    return _ANSWERING[store]
