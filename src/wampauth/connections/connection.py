"""What is known of one connection, and for how long have we waited for it?"""

from dataclasses import dataclass, field
from math import inf
from typing import Any

LINGER = 0.5  # seconds in which a client joins, once it is admitted, or hangs up, once it is refused or has left
MOST_EXCUSED = 20.0  # seconds of one connection


@dataclass(eq=False, slots=True)
class Connection:
    """What is known of one connection.

    :ivar since: seconds on the clock at which we first knew of it, put off by as long as it has waited for us.
    :ivar name: by which it is known.
    :ivar asked: when an attempt began that we haven't answered yet.
    :ivar held: since when we don't read from it, while others are served (``reading.py``).
    :ivar excused: seconds that were ours, since this process had too much to do to see what came.
    :ivar port: the factory of the listening port that accepted it, once that was asked for, if it limits their number.
    :ivar due: when it is to be closed; None: not yet.
    """

    since: float
    name: Any = None
    asked: float | None = None
    answered: float = -inf
    held: float | None = None
    excused: float = 0.0
    transport: Any = None
    port: Any = None
    address: str = ""
    sessions: set[int] = field(default_factory=set)
    has_left: bool = False
    attempts: int = 0
    due: float | None = None
    is_closing: bool = False

    def age(self, now: float) -> float:
        """Seconds for which we have waited for it. Those for which it waits for us don't count."""
        return (now if self.waits_since is None else self.waits_since) - self.since

    @property
    def waits_since(self) -> float | None:
        """Since when it waits for us, if it does."""
        return self.held if self.asked is None else self.asked

    def is_served(self, now: float) -> bool:
        """Whether it is our turn: it waits for an answer, or had one just now and can't have joined yet."""
        return self.asked is not None or now - self.answered < LINGER

    def ask(self, now: float) -> None:
        """An attempt has begun."""
        self.asked = now

    def answer(self, now: float) -> None:
        """It has had its answer."""
        if self.asked is not None:
            self.since += now - self.asked
            self.asked, self.answered = None, now

    def hold(self, now: float) -> None:
        """Read no more from it."""
        self.held = now
        self.transport.pauseProducing()

    def release(self, now: float) -> None:
        """Go on reading."""
        if self.held is not None:
            if self.asked is None:
                self.since += now - self.held
            self.held = None
            self.transport.resumeProducing()

    def excuse(self, seconds: float) -> None:
        """We had no time to see what it sent. But whoever keeps us busy doesn't stay for ever."""
        seconds = min(seconds, MOST_EXCUSED - self.excused)
        if self.waits_since is None:
            self.excused += seconds
            self.since += seconds

    @property
    def is_gone(self) -> bool:
        """Whether it was there, and is no longer."""
        return self.transport is not None and not self.transport.connected

    @property
    def is_ending(self) -> bool:
        """Whether it is gone, or about to."""
        return self.is_gone or self.is_closing or self.has_left
