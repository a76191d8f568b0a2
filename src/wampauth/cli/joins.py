"""Who was let in, and didn't join? The router may still say no, say for want of a role. Where the configuration lacks
that, it is certain at once; else only the audit's lack of a ``joined`` tells it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import click

from wampauth.cli.acting import AUDIT
from wampauth.history import Record, moment
from wampauth.nodeconfig import Places, beside

WITHIN = 10.0  # seconds in which who is let in has joined
JOINED = "joined"
UNJOINED = "let in, but didn't join"


def marked(records: Iterable[Record], places: Places, now: float) -> Iterator[Record]:
    """The records; those of clients that were let in and didn't join have ``joined``: false.

    Only where it is known that the audit has who joins: behind proxies, and of several sessions of one principal at a
    time, what isn't certain isn't marked.

    :param records: by time.
    :param places: those of the nodes. It is also known of realms that aren't watched there, once one has joined.
    :param now: seconds since 1970; what has become of the last ones isn't known yet.
    """
    waiting: deque[Record] = deque()
    joined: deque[Record] = deque()
    known = replace(places, watched=set(places.watched))
    for record in records:
        while waiting and moment(waiting[0]) < moment(record) - WITHIN:
            yield _judged(waiting.popleft(), joined, known, now)
        while joined and moment(joined[0]) < moment(record) - 2 * WITHIN:
            joined.popleft()
        if record["outcome"] == JOINED:
            known.watched.add(str(record.get("realm")))
            joined.append(record)
        waiting.append(record)
    for record in waiting:
        yield _judged(record, joined, known, now)


def is_unjoined(record: Record, joined: Iterable[Record], places: Places, now: float) -> bool:
    """Whether a client was let in and isn't among those who `joined` then or later.

    :param places: which realms there are, with their roles, and whose audit has who joins.
    """
    if not _lacks(places, record):
        is_known = record.get("realm") in places.watched and moment(record) <= now - WITHIN
        if record["outcome"] != "accepted" or not is_known:
            return False
    return not any(_is_its(one, record) for one in joined)


def places_of_audit() -> Places:
    """What the configurations beside the store say; nothing, if another audit is read."""
    root = click.get_current_context().find_root()
    return Places() if root.meta.get(AUDIT) else beside(str(root.obj))


def _lacks(places: Places, record: Record) -> bool:
    """Whether the authenticator has said yes, and the router can't but say no: there is no such realm or role, by
    configurations that haven't changed since."""
    if record["outcome"] not in ("accepted", "challenged") or not places.roles or moment(record) < places.changed:
        return False
    roles = places.roles.get(str(record.get("realm")))
    return roles is None or record.get("role", next(iter(roles), None)) not in roles


def _judged(record: Record, joined: Iterable[Record], places: Places, now: float) -> Record:
    return {**record, JOINED: False} if is_unjoined(record, joined, places, now) else record


def _is_its(one: Record, accepted: Record) -> bool:
    """Behind a proxy, the session has another id."""
    if moment(one) < moment(accepted) - 1:
        return False
    return one.get("session") == accepted.get("session") or one.get("authid") == accepted.get("authid")
