"""Whose turn is it to be checked?

A token is taken for each attempt, and a place (``throttle.py``, ``places.py``). Where there is no token only because
others of its address, or of its (authid or key, address) pair, are under way, an attempt waits until one of them is
over: if that was no failure, its token is the next one's. Each address has a line of its own, and the lines take turns,
so that a flood from one delays nobody but itself.
"""

from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred

from wampauth.places import Busy, Places, come_back
from wampauth.refusals import throttled
from wampauth.throttle import Key, Throttle

MAX_UNDERWAY = 2000  # attempts at once, half of them from one address
MAX_IN_LINE = 20_000  # attempts that wait for their turn, half of them from one address
AT_A_TIME = 100  # who are called, or sent away, before the reactor sees to something else
CROWDED = "too many attempts at once"

Outcome = BaseException | None  # None: it is its turn


@dataclass(eq=False, slots=True)
class Waiting:
    """An attempt that waits for its turn."""

    subject: str
    line: "Line"
    until: float  # seconds on the clock
    turn: "Deferred[None]"


@dataclass(eq=False, slots=True)
class Line:
    """Those of one address who wait.

    :ivar ready: by subject; whose turn is next comes first. The subjects take turns, too.
    :ivar held_up: by subject, those for whom there is no token before one of their own pair is over.
    :ivar began: seconds on the clock.
    """

    address: str
    began: float
    ready: OrderedDict[str, deque[Waiting]] = field(default_factory=OrderedDict)
    held_up: dict[str, deque[Waiting]] = field(default_factory=dict)
    length: int = 0
    served: int = 0

    def add(self, one: Waiting) -> None:
        """One more waits: behind the others of its pair."""
        those = self.held_up if one.subject in self.held_up else self.ready
        those.setdefault(one.subject, deque()).append(one)
        self.length += 1


class Turns:
    """Gives each attempt its turn, or has it wait."""

    def __init__(self, clock: Any, throttle: Throttle) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock, self._throttle = clock, throttle
        self._underway, self._in_line = Places(MAX_UNDERWAY), Places(MAX_IN_LINE)
        self._lines: dict[str, Line] = {}  # by address
        self._next: OrderedDict[str, Line] = OrderedDict()  # of these, those that may go on
        self._by_age: OrderedDict[Waiting, None] = OrderedDict()
        self._is_called = self._is_timed = False

    def __len__(self) -> int:
        return len(self._underway) + len(self._in_line)

    def take(self, subject: str, address: str, until: float) -> "Deferred[None] | None":
        """Take a turn, which must be left.

        :param until: seconds on the clock, up to which to wait for it.
        :returns: None: it has come. Else what fires when it comes; fails with a :class:`Refusal` if there have been
            too many failures meanwhile, or with :class:`Busy` if there was no time, or it was cancelled.
        :raises Refusal: if there have been.
        :raises Busy: if too many wait.
        """
        line = self._lines.get(address)
        is_first = line is None or not (line.ready or subject in line.held_up)
        if is_first and self._underway.free > len(self._next) and self._is_its_turn(subject, address):
            return None
        if wait := self._spent(subject, address):
            raise throttled(wait)
        line = line or Line(address, self._clock.seconds())
        if not self._in_line.take(address):
            raise self._no_time(line)
        turn: Deferred[None] = Deferred(lambda _: self._end(one, self._no_time(line)))  # nobody would leave its turn
        one: Waiting = Waiting(subject, line, until, turn)
        return self._enqueue(one)

    def leave(self, subject: str, address: str, unproven: Collection[Key] = ()) -> None:
        """An attempt was answered.

        :param unproven: for which buckets it has yet to be seen whether it was a failure: :meth:`settle` them.
        """
        self._underway.leave(address)
        self.settle(subject, address, {(address, None), (address, subject)}.difference(unproven))

    def settle(self, subject: str, address: str, keys: Collection[Key]) -> None:
        """An attempt isn't under way any more, for these buckets."""
        for key in keys:
            self._throttle.is_over(key)
        self._wake(subject, address)

    def _is_its_turn(self, subject: str, address: str) -> bool:
        if not self._underway.take(address):
            return False
        if self._throttle.take(subject, address):
            self._underway.leave(address)
            return False
        return True

    def _spent(self, subject: str, address: str) -> float:
        """Seconds until there is a token, if there have been too many failures."""
        return self._throttle.spent((address, None)) or self._throttle.spent((address, subject))

    def _enqueue(self, one: Waiting) -> "Deferred[None]":
        line = self._lines[one.line.address] = one.line
        line.add(one)
        self._by_age[one] = None
        self._see_to_those_without_time()
        if line.ready:
            self._next[line.address] = line
            self._call()
        return one.turn

    def _wake(self, subject: str, address: str) -> None:
        """Who waited for this may go on."""
        line = self._lines.get(address)
        if line is not None:
            if subject in line.held_up:
                line.ready[subject] = line.held_up.pop(subject)
            if line.ready:
                self._next[address] = line
        if self._next:
            self._call()

    def _call(self) -> None:
        if not self._is_called:
            self._is_called = True
            self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._is_called = False
        for _ in range(AT_A_TIME):
            if not self._next or not self._underway.free:
                return
            address, line = self._next.popitem(last=False)
            if self._serve(line) and line.ready:
                self._next[address] = line  # behind the others
        if self._next:
            self._call()

    def _serve(self, line: Line) -> bool:
        """Call one, or send one away; whether the line may go on."""
        subject, those = line.ready.popitem(last=False)
        one = those.popleft()
        if those:
            line.ready[subject] = those
        if one not in self._by_age:
            return True  # it was sent away before
        if one.until <= self._clock.seconds():
            self._end(one, self._no_time(line))
            return True
        if self._is_its_turn(subject, line.address):
            line.served += 1
            self._end(one, None)
            return True
        if wait := self._spent(subject, line.address):
            self._end(one, throttled(wait))
            return True
        those.appendleft(one)
        line.ready.pop(subject, None)
        if self._throttle.lacks((line.address, subject)):
            line.held_up[subject] = those
            return True
        line.ready[subject] = those  # it waits for one of its address, whoever that is
        line.ready.move_to_end(subject, last=False)
        return False

    def _end(self, one: Waiting, outcome: Outcome) -> None:
        """It waits no longer."""
        line = one.line
        del self._by_age[one]
        self._in_line.leave(line.address)
        line.length -= 1
        if not line.length:
            self._lines.pop(line.address)
            self._next.pop(line.address, None)
        if outcome is None:
            one.turn.callback(None)
        else:
            one.turn.errback(outcome)

    def _no_time(self, line: Line) -> Busy:
        pace = (self._clock.seconds() - line.began) / max(1, line.served)  # seconds for each
        return Busy(CROWDED, come_back(line.length * pace))

    def _see_to_those_without_time(self) -> None:
        if self._by_age and not self._is_timed:
            self._is_timed = True
            wait = next(iter(self._by_age)).until - self._clock.seconds()
            self._clock.callLater(max(0.0, wait), self._send_away)

    def _send_away(self) -> None:
        self._is_timed = False
        now = self._clock.seconds()
        for _ in range(AT_A_TIME):
            one = next(iter(self._by_age), None)
            if one is None or one.until > now:
                break
            self._end(one, self._no_time(one.line))
        self._see_to_those_without_time()
