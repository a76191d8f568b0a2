"""Can it be told just now who may stay? If not, the log has one line that says why, and one when it is over."""

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import Logger

from wampauth.lookup import StoreAway, StoreStopped
from wampauth.told import told


class Health:
    """Whether the store answers, and whether we make no mistakes.

    :ivar store_is_away: the last question to it wasn't answered.
    :ivar is_faulty: something of ours has failed.
    """

    log = Logger()

    def __init__(self) -> None:
        """All is well, to begin with."""
        self.store_is_away = False
        self.is_faulty = False

    @contextmanager
    def minding(self) -> Iterator[None]:
        """Whatever goes wrong in a block, or in what it awaits, counts, and goes no further."""
        try:
            yield
        except StoreAway as away:
            self.store_is_gone(away)
        except Exception as error:
            self.fault(error)

    def is_bad(self) -> bool:
        """Whether the authorizer has to deny everything."""
        return self.store_is_away or self.is_faulty

    def store_is_gone(self, away: StoreAway) -> None:
        """The store has given no answer that can be used."""
        if not self.store_is_away and not isinstance(away, StoreStopped):
            self.log.error("the store is away; where roles ask the authorizer, it denies everything: {away}", away=away)
        self.store_is_away = True

    def fault(self, error: Exception) -> None:
        """A mistake of ours, and none of the store's."""
        if not self.is_faulty:
            text = "sessions can't be watched; where roles ask the authorizer, it denies everything: {fault}"
            self.log.error(text, fault=told(error))
        self.is_faulty = True

    def all_is_well(self) -> None:
        """A whole look has gone well, and the store has answered if there is one."""
        if self.store_is_away:
            self.log.error("the store is back")
        if self.is_faulty:
            self.log.error("sessions can be watched again")
        self.store_is_away = self.is_faulty = False
