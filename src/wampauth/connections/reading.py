"""From which of the connections that haven't joined do we read?

From all of them, on an ordinary day. But when thousands come at once, the reactor would go through their handshakes
side by side, and it would take seconds until it has seen the first guess: by then all of a flood has cost what honest
logins cost. So we read from a few hundred at a time, and go on with the next ones as these have their answers. What the
others have sent stays with the system meanwhile. Addresses take turns; those from which more is refused than let in
come last, but have a part of the turns in any case, for an honest client may be behind the same address.
"""

import select
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any

from wampauth.connections.connection import Connection
from wampauth.connections.failing import Failing
from wampauth.places import Places

AT_ONCE = 400  # connections, of one address half of them
STEP = 0.02  # seconds, if the reactor has the time
STEPS = 10  # after so many a connection keeps no place from others: it waits for its client, or for a slow check
LAST = 16  # of so many turns one is for those that come last, if others want them all
LONGEST = 30.0  # seconds for which a connection waits: then its client had better come back

Lines = OrderedDict[str, deque[Connection]]  # by address; whose turn is next comes first


class Reading:
    """Has connections wait for their turn."""

    def __init__(self, clock: Any, failing: Failing) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock, self._failing = clock, failing
        self._places = Places(AT_ONCE)
        self._reading: OrderedDict[Connection, int] = OrderedDict()  # those that have a place, and since which step
        self._lines: Lines = OrderedDict()
        self._last: Lines = OrderedDict()
        self._turns = self._steps = 0
        self._is_called = self._is_stepping = False

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, (*self._lines.values(), *self._last.values())))

    def came(self, one: Connection) -> None:
        """A connection was accepted, and nothing was read from it yet."""
        is_first = one.address not in self._lines and one.address not in self._last
        if is_first and self._places.take(one.address):
            self._reading[one] = self._steps
            return
        one.hold(self._clock.seconds())
        lines = self._last if one.address in self._last else self._lines
        lines.setdefault(one.address, deque()).append(one)
        if not self._is_stepping:
            self._is_stepping = True
            self._clock.callLater(STEP, self._step)

    def done(self, one: Connection) -> None:
        """It has its answer, or is no longer there."""
        if one in self._reading:
            del self._reading[one]
            self._places.leave(one.address)
            if not self._is_called and (self._lines or self._last):
                self._is_called = True
                self._clock.callLater(0, self._go_on)

    def without_a_turn(self) -> list[Connection]:
        """Those that have waited for too long, and don't any more."""
        found, now = [], self._clock.seconds()
        for lines in self._lines, self._last:
            for address, line in [*lines.items()]:
                while line and (line[0].held is None or now - line[0].held >= LONGEST):
                    found.append(line.popleft())
                if not line:
                    del lines[address]
        return [one for one in found if one.held is not None]

    def end(self) -> None:
        """Nobody waits any longer."""
        for line in [*self._lines.values(), *self._last.values()]:
            for one in line:
                one.release(self._clock.seconds())
        self._lines.clear()
        self._last.clear()

    def _step(self) -> None:
        self._steps += 1
        self._is_stepping = False
        for one in [*self._slow()]:
            self.done(one)
        self._go_on()
        if self._lines or self._last:
            self._is_stepping = True
            self._clock.callLater(STEP, self._step)

    def _slow(self) -> Iterable[Connection]:
        for one, step in self._reading.items():
            if self._steps - step < STEPS:
                return
            yield one

    def _go_on(self) -> None:
        self._is_called = False
        while (one := self._next()) is not None:
            self._turns += 1
            one.release(self._clock.seconds())
            self._reading[one] = self._steps

    def _next(self) -> Connection | None:
        """Whose turn it is, if there is a place; it has it then."""
        if self._last and self._turns % LAST == 0 and (one := self._first_of(self._last)):
            return one
        return self._first_of(self._lines) or (None if self._lines else self._first_of(self._last))

    def _first_of(self, lines: Lines) -> Connection | None:
        now = self._clock.seconds()
        for _ in range(len(lines) if self._places.free else 0):
            address, line = lines.popitem(last=False)
            while line and not is_there(line[0]):
                line.popleft()
            if not line:
                continue
            if lines is self._lines and self._failing.has(address, now):
                self._last[address] = line
                continue
            one = line.popleft() if self._places.take(address) else None
            if line:
                lines[address] = line  # behind the others
            if one is not None:
                return one
        return None


def is_there(one: Connection) -> bool:
    """Whether somebody still waits for his turn. A client that has given up meanwhile has cost nothing yet."""
    if one.is_gone or one.is_closing:
        return False
    if has_hung_up(one.transport.fileno()):
        one.transport.abortConnection()
        return False
    return True


def has_hung_up(number: int) -> bool:
    """Whether the other side of a connection has closed it, though something may still be there to be read."""
    if number < 0:
        return False
    poll = select.poll()
    poll.register(number, getattr(select, "POLLRDHUP", 0))  # Linux alone tells
    return bool(poll.poll(0))
