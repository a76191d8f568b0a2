"""How often may somebody try?

Token buckets: one for each (subject, address) pair, where the subject is the authid or public key that is claimed, and
a roomier one for each address. A stranger who guesses as alice thus runs dry himself, while alice gets in from her own
address.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from twisted.internet.interfaces import IReactorTime

from settings import Settings

Key = tuple[str, str | None]  # (address, subject); None stands for all subjects


@dataclass
class Bucket:
    """What is left, and when that was counted (seconds on the reactor's clock)."""

    tokens: float
    counted: float


class Throttle:
    """Hands out a token for each attempt, and takes it back if the attempt was no failure."""

    def __init__(self, clock: IReactorTime, settings: Settings) -> None:
        self._clock = clock
        self._at_once = settings.failures_at_once
        self._per_second = settings.failures_per_second
        self._address_factor = settings.address_factor
        self._entries = settings.throttle_entries
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()  # the longest unused first

    def take(self, subject: str, host: str) -> float:
        """Take a token for an attempt as `subject` from the address `host`.

        :returns: 0 if there was one, else the seconds until there will be; nothing is taken then.
        """
        address = counted_address(host)
        keys: tuple[Key, ...] = ((address, None), (address, subject))
        wait = max(self._wait(key) for key in keys)
        if wait == 0:
            for key in keys:
                self._bucket(key).tokens -= 1
        return wait

    def give_back(self, subject: str, host: str) -> None:
        """The attempt was no failure: the pair starts afresh, and the address gets its token back."""
        address = counted_address(host)
        self._buckets.pop((address, subject), None)
        self._bucket((address, None)).tokens += 1

    def _factor(self, key: Key) -> int:
        return self._address_factor if key[1] is None else 1

    def _wait(self, key: Key) -> float:
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        return max(0.0, (1 - self._bucket(key).tokens) / (self._per_second * self._factor(key)))

    def _bucket(self, key: Key) -> Bucket:
        """The bucket of `key`, filled up to now, and the last to be forgotten."""
        now, factor = self._clock.seconds(), self._factor(key)
        full = float(self._at_once * factor)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(full, now)
        bucket.tokens = min(full, bucket.tokens + (now - bucket.counted) * self._per_second * factor)
        bucket.counted = now
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._entries:
            self._buckets.popitem(last=False)  # whoever is forgotten starts afresh
        return bucket


@lru_cache(maxsize=1_000)
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
