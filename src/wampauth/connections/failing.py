"""From which addresses is more refused than let in?"""

from collections import OrderedDict

MANY = 1.0  # more refusals than sessions that have joined: one is anybody's; one is forgotten each second
MOST = 60.0  # that are remembered of an address
ADDRESSES = 10_000  # the longest unused goes first


class Failing:
    """Remembers refusals, by address."""

    def __init__(self) -> None:
        self._forgotten: OrderedDict[str, float] = OrderedDict()  # by address: when all of them will be

    def refused(self, address: str, now: float) -> None:
        """An attempt from there was refused, through no fault of ours.

        :param now: seconds on the clock.
        """
        self._forgotten[address] = min(max(now, self._forgotten.pop(address, now)) + 1, now + MOST)
        if len(self._forgotten) > ADDRESSES:
            self._forgotten.popitem(last=False)

    def joined(self, address: str) -> None:
        """A session from there has joined, which makes up for one refusal."""
        if address in self._forgotten:
            self._forgotten[address] -= 1

    def has(self, address: str, now: float) -> bool:
        """Whether it is one of them."""
        return self._forgotten.get(address, now) - now > MANY
