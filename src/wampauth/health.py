"""Can it be told just now who may stay? If not, the log has one line that says why, and one when it is over."""

import traceback
from pathlib import Path

from twisted.logger import Logger
from twisted.python.reflect import safe_str

from wampauth.lookup import StoreAway

LONGEST = 300  # characters of what is told of a fault


class Health:
    """Whether the store answers, and whether we make no mistakes.

    :ivar store_is_away: the last question to it wasn't answered.
    :ivar is_faulty: something of ours has failed.
    """

    log = Logger()

    def __init__(self) -> None:
        self.store_is_away = False
        self.is_faulty = False

    def is_bad(self) -> bool:
        """Whether the authorizer has to deny everything."""
        return self.store_is_away or self.is_faulty

    def store_is_gone(self, away: StoreAway) -> None:
        """The store has given no answer that can be used."""
        if not self.store_is_away:
            self.log.error("the store is away; where roles ask the authorizer, it denies everything: {away}", away=away)
        self.store_is_away = True

    def fault(self, error: Exception) -> None:
        """A mistake of ours, and none of the store's."""
        if not self.is_faulty:
            text = "sessions can't be watched; where roles ask the authorizer, it denies everything: {fault}"
            self.log.error(text, fault=_described(error))
        self.is_faulty = True

    def all_is_well(self) -> None:
        """A whole look has gone well, and the store has answered if there is one."""
        if self.store_is_away:
            self.log.error("the store is back")
        if self.is_faulty:
            self.log.error("sessions can be watched again")
        self.store_is_away = self.is_faulty = False


def _described(error: Exception) -> str:
    """What went wrong, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {safe_str(error)[:LONGEST]}{place}"
