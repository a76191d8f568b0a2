"""How often may somebody try?

Token buckets: one for each (subject, address) pair, where the subject is the authid or public key that is claimed, and
a roomier one for each address. A stranger who guesses as alice thus runs dry himself, while alice gets in from her own
address. All that is kept of a bucket is the moment at which it will be full again: each token taken puts that off.
"""

import functools
from collections import Counter, OrderedDict
from collections.abc import Collection
from ipaddress import IPv6Address, ip_address

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from wampauth.settings import Settings

LOOKED_AT = 500  # entries at once, in less than a millisecond
FORGOTTEN = 2  # buckets at once: faster than they come, and never many
ROUNDING = 1e-6  # seconds, by which a sum of moments may be off

Key = tuple[str, str | None]  # (address, subject); None stands for all subjects


class Throttle:
    """Hands out a token for each attempt, and takes it back if the attempt was no failure."""

    def __init__(self, clock: IReactorTime, settings: Settings) -> None:
        """
        :param clock: the reactor, or in tests a ``twisted.internet.task.Clock``.
        :param settings: how many failures are allowed, and how many addresses are remembered.
        """
        self._clock = clock
        self._began = clock.seconds()  # moments are counted from here: sums of small numbers stay exact
        self._interval = 1 / settings.failures_per_second  # seconds until a pair has another token
        self._address_interval = self._interval / settings.address_factor
        self._depth = settings.failures_at_once * self._interval  # seconds in which any empty bucket fills up
        self._entries = settings.throttle_entries
        self._full_again: OrderedDict[Key, float] = OrderedDict()  # seconds since we began; the longest unused first
        self._underway: Counter[Key] = Counter()  # tokens taken for attempts that aren't over

    def take(self, subject: str, host: str) -> float:
        """Take a token for an attempt as `subject` from the address `host`.

        :returns: 0 if there was one, else the seconds until there will be; nothing is taken then.
        """
        address, now = counted_address(host), self._clock.seconds() - self._began
        wait = max(self._wait((address, None), now), self._wait((address, subject), now))
        if wait < ROUNDING:
            for key in (address, None), (address, subject):
                self._put_off(key, now)
                self._underway[key] += 1
            return 0.0
        return wait

    def is_over(self, key: Key) -> None:
        """One that had taken a token of this bucket isn't under way any more, whatever came of it."""
        self._underway[key] -= 1
        if not self._underway[key]:
            del self._underway[key]

    def lacks(self, key: Key) -> bool:
        """Whether the bucket has no token now."""
        return self._wait(key, self._clock.seconds() - self._began) >= ROUNDING

    def spent(self, key: Key) -> float:
        """0 if the bucket has a token, or would have one if none of those under way were a failure; else the seconds
        until there will be one in any case."""
        wait = self._wait(key, self._clock.seconds() - self._began)
        returning = self._underway[key] * self._interval_of(key) if key in self._underway else 0.0
        return wait if wait - returning >= ROUNDING else 0.0

    def give_back(self, subject: str, host: str) -> None:
        """The attempt was no failure: the pair starts afresh, and the address gets its token back."""
        self.shown(host)
        self.proven(subject, host)

    def shown(self, host: str) -> None:
        """A key was shown that counts. The address gets its token back, for a thousand devices may be behind it; the
        pair keeps waiting for the proof."""
        self._advance((counted_address(host), None))

    def proven(self, subject: str, host: str) -> None:
        """It was proven, too: the pair starts afresh."""
        self._full_again.pop((counted_address(host), subject), None)

    def undo(self, subject: str, host: str) -> None:
        """The attempt shall not have been made: both get their token back."""
        self.shown(host)
        self._advance((counted_address(host), subject))

    async def waiting(self, subjects: Collection[str]) -> list[tuple[str, str | None, float]]:
        """Who would have to wait, now: addresses, each with one of `subjects`, or with None for whoever comes from
        there; and the seconds. However many are remembered, nobody else waits for the answer."""
        found: list[tuple[str, str | None, float]] = []
        for number, key in enumerate(list(self._full_again)):
            if number % LOOKED_AT == LOOKED_AT - 1:
                await deferLater(self._clock, 0)
            now = self._clock.seconds() - self._began
            full_again = self._full_again.get(key, 0.0)
            wait = full_again - now + self._interval_of(key) - self._depth
            if (key[1] is None or key[1] in subjects) and wait > ROUNDING:
                found.append((*key, wait))
        return found

    def _advance(self, key: Key) -> None:
        if key in self._full_again:
            self._full_again[key] -= self._interval_of(key)

    def _interval_of(self, key: Key) -> float:
        return self._address_interval if key[1] is None else self._interval

    def _wait(self, key: Key, now: float) -> float:
        """Seconds until the bucket of `key` has a whole token."""
        if key not in self._full_again:
            return 0.0
        self._full_again.move_to_end(key)
        return max(0.0, self._full_again[key] - now + self._interval_of(key) - self._depth)

    def _put_off(self, key: Key, now: float) -> None:
        self._forget(now)
        self._full_again[key] = max(now, self._full_again.get(key, now)) + self._interval_of(key)
        if len(self._full_again) > self._entries:
            self._full_again.popitem(last=False)  # whoever is forgotten starts afresh

    def _forget(self, now: float) -> None:
        """Buckets that are full again are as if never used; some of them go each time that one is."""
        for _ in range(FORGOTTEN):
            if not self._full_again or next(iter(self._full_again.values())) > now:
                return
            self._full_again.popitem(last=False)


@functools.lru_cache(maxsize=1_000)
def counted_address(host: str) -> str:
    """What failures from `host` are counted for: all of an IPv6 /64 is one, since one customer gets as much."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host  # a Unix socket, a pipe
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
