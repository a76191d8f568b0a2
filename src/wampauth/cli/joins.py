"""Who was let in, and didn't join? The router may still say no, say for want of a role; only the audit's lack of a
``joined`` tells it then.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator

import click

from wampauth.cli.acting import AUDIT
from wampauth.history import Record, moment
from wampauth.nodeconfig import beside

WITHIN = 10.0  # seconds in which who is let in has joined
JOINED = "joined"
UNJOINED = "let in, but didn't join"


def marked(records: Iterable[Record], watched: Collection[str], now: float) -> Iterator[Record]:
    """The records; those of clients that were let in and didn't join have ``joined``: false.

    Only where it is known that the audit has who joins: behind proxies, and of several sessions of one principal at a
    time, what isn't certain isn't marked.

    :param records: by time.
    :param watched: realms of which it is known at first; others are where one has joined.
    :param now: seconds since 1970; what has become of the last ones isn't known yet.
    """
    waiting: deque[Record] = deque()
    joined: deque[Record] = deque()
    known = set(watched)
    for record in records:
        while waiting and moment(waiting[0]) < moment(record) - WITHIN:
            yield _judged(waiting.popleft(), joined, known, now)
        while joined and moment(joined[0]) < moment(record) - 2 * WITHIN:
            joined.popleft()
        if record["outcome"] == JOINED:
            known.add(str(record.get("realm")))
            joined.append(record)
        waiting.append(record)
    for record in waiting:
        yield _judged(record, joined, known, now)


def is_unjoined(record: Record, joined: Iterable[Record], known: Collection[str], now: float) -> bool:
    """Whether a client was let in and isn't among those who `joined` then or later.

    :param known: the realms whose audit has who joins.
    """
    if record["outcome"] != "accepted" or record.get("realm") not in known or moment(record) > now - WITHIN:
        return False
    return not any(_is_its(one, record) for one in joined)


def watched_realms() -> set[str]:
    """Realms whose audit has who joins, by the configurations beside the store; none, if another audit is read."""
    root = click.get_current_context().find_root()
    return set() if root.meta.get(AUDIT) else set(beside(str(root.obj)).watched)


def _judged(record: Record, joined: Iterable[Record], known: Collection[str], now: float) -> Record:
    return {**record, JOINED: False} if is_unjoined(record, joined, known, now) else record


def _is_its(one: Record, accepted: Record) -> bool:
    """Behind a proxy, the session has another id."""
    if moment(one) < moment(accepted) - 1:
        return False
    return one.get("session") == accepted.get("session") or one.get("authid") == accepted.get("authid")
