"""Who may wait here? A limited number, of which no address takes so many that there is none for the others."""

from collections import Counter
from random import SystemRandom

SHARE = 8  # what part of the places an address may have, once half of them are taken: one in so many
SOONEST, LATEST = 5.0, 60.0  # seconds within which, at least and at most, those who are sent away come back


class Busy(Exception):
    """Too much is under way, or waiting.

    :ivar wait: seconds after which to try again; None: nobody knows.
    """

    def __init__(self, text: str, wait: float | None = None) -> None:
        super().__init__(text)
        self.wait = wait


class Stopping(Busy):
    """Nothing is begun any more, since the node is stopping."""

    def __init__(self) -> None:
        super().__init__("the node is stopping")


def come_back(seconds: float) -> float:
    """When somebody should try again for whom there is no time now: some time within the seconds that all who wait
    will take, so that they don't all come at once."""
    return SystemRandom().uniform(0.0, min(max(seconds, SOONEST), LATEST))


class Places:
    """So many places. Half of them are for whoever comes, and may be one address's; the others are for addresses that
    hold less than their share of all. So it takes five addresses, at least, to leave a sixth without a place."""

    def __init__(self, number: int) -> None:
        """:param number: of places in all; their halves, and what an address may have, follow from it."""
        self._free_for_all, self._number = (number + 1) // 2, number
        self._share = max(1, number // SHARE)
        self._holding: Counter[str] = Counter()
        self._taken = 0

    def __len__(self) -> int:
        return self._taken

    @property
    def free(self) -> int:
        """How many places there are yet."""
        return self._number - self._taken

    def take(self, address: str) -> bool:
        """Whether there was a place for somebody at `address`, who has it now, and must leave it."""
        if not self.free:
            return False
        if self._taken >= self._free_for_all and self._holding[address] >= self._share:
            return False
        self._holding[address] += 1
        self._taken += 1
        return True

    def leave(self, address: str) -> None:
        """One who had a place there has gone."""
        self._taken -= 1
        self._holding[address] -= 1
        if not self._holding[address]:
            del self._holding[address]
