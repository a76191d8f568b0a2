"""Of which refusals doesn't the audit say whose they were? Of those from one address it has the first ones of a minute
whole, and counts the others: what isn't shown may have been.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from wampauth.audit import COUNTED, WHOLE
from wampauth.cli.telling import in_one_line
from wampauth.history import Record, moment
from wampauth.throttle import counted_address

MINUTE = 60.0  # seconds, after which the audit says how many it has counted
RECENTLY = 600.0  # seconds


class Unnamed:
    """Looks at records that pass."""

    def __init__(self, now: float) -> None:
        """:param now: seconds since 1970."""
        self._now = now
        self._whole: Counter[tuple[str, str]] = Counter()  # by outcome and address, in the last minute
        self._counted = 0

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records."""
        for record in records:
            if record["outcome"] in COUNTED and moment(record) > self._now - RECENTLY:
                self._look(record)
            yield record

    def sentences(self, authid: str | None) -> Iterator[str]:
        """What is to be said to whoever misses a refusal, perhaps of `authid`."""
        for address in sorted({address for (_, address), number in self._whole.items() if number >= WHOLE}):
            text = f"{WHOLE} refusals came from {address} within a minute."
            yield in_one_line(f"{text} Until it is over, more of them are only counted, without names.")
        if authid and self._counted:
            yield (
                f"In the last ten minutes, {self._counted} more were counted, without names: `wampauth why --last`"
                " shows from where."
            )

    def _look(self, record: Record) -> None:
        key = str(record["outcome"]), counted_address(str(record.get("peer")))
        if "count" in record:
            self._whole.pop(key, None)  # another minute has begun
            self._counted += record["count"] if isinstance(record["count"], int) else 0
        elif moment(record) > self._now - MINUTE:
            self._whole[key] += 1
