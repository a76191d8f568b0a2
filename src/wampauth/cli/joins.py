"""Who was let in, and didn't join? The router may still say no, say for want of a role. Where the configuration lacks
that, it is certain at once; else only the audit's lack of a ``joined`` tells it. So it does of who was challenged, and
hasn't proven who it is.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import click

from wampauth.audit import ADMITTED, PROVEN
from wampauth.cli.acting import AUDIT
from wampauth.history import History, Record, moment
from wampauth.nodeconfig import Places, beside

JOINED = "joined"
ENTERED = (JOINED, "ended")  # of one that comes back after GOODBYE, there is only that it was ended
UNJOINED = "let in, but didn't join"
UNPROVEN = "no right proof followed"  # the reason of who was challenged, and didn't join


def marked(history: History, places: Places, now: float) -> Iterator[Record]:
    """The records; those of clients that were let in or challenged, and didn't join, have ``joined``: false.

    Only where it is known that the audit has who joins: behind proxies, and of several sessions of one principal at a
    time, what isn't certain isn't marked. Nor is who was challenged before the oldest record of who has proven who it
    is: those are in files of their own, and may be rotated away sooner.

    :param places: those of the nodes. It is also known of realms that aren't watched there, once one has joined.
    :param now: seconds since 1970; what has become of the last ones isn't known yet.
    """
    waiting: deque[Record] = deque()
    joined: deque[Record] = deque()
    known = replace(places, watched=set(places.watched))
    oldest = math.inf
    for record in history:
        while waiting and moment(waiting[0]) < moment(record) - places.grace:
            yield _judged(waiting.popleft(), joined, known, now, oldest)
        while joined and moment(joined[0]) < moment(record) - 2 * places.grace:
            joined.popleft()
        if record["outcome"] in PROVEN:
            oldest = min(oldest, moment(record))
        if history.reaches_back:
            oldest = 0.0
        if record["outcome"] == JOINED:
            known.watched.add(str(record.get("realm")))
        if record["outcome"] in ENTERED:
            joined.append(record)
        waiting.append(record)
    for record in waiting:
        yield _judged(record, joined, known, now, oldest)


def is_unjoined(record: Record, joined: Iterable[Record], places: Places, now: float) -> bool:
    """Whether a client was let in, or challenged, and isn't among those who `joined` then or later.

    :param places: which realms there are, with their roles, and whose audit has who joins.
    """
    if not _lacks(places, record):
        is_known = record.get("realm") in places.watched and moment(record) <= now - places.grace
        if record["outcome"] not in ADMITTED or not is_known:
            return False
    return not any(_is_its(one, record) for one in joined)


def places_of_audit() -> Places:
    """What the configurations beside the store say; nothing, if another audit is read."""
    root = click.get_current_context().find_root()
    return Places() if root.meta.get(AUDIT) else beside(str(root.obj))


def _lacks(places: Places, record: Record) -> bool:
    """Whether the authenticator has said yes, and the router can't but say no: there is no such realm or role, by
    configurations that haven't changed since."""
    if record["outcome"] not in ADMITTED or not places.roles or moment(record) < places.changed:
        return False
    roles = places.roles.get(str(record.get("realm")))
    return roles is None or record.get("role", next(iter(roles), None)) not in roles


def _judged(record: Record, joined: Iterable[Record], places: Places, now: float, oldest: float) -> Record:
    if not is_unjoined(record, joined, places, now):
        return record
    if record["outcome"] == "accepted" or _lacks(places, record):
        return {**record, JOINED: False}
    return {**record, JOINED: False, "reason": UNPROVEN} if moment(record) >= oldest else record


def _is_its(one: Record, accepted: Record) -> bool:
    """Behind a proxy, the session has another id."""
    if moment(one) < moment(accepted) - 1:
        return False
    return one.get("session") == accepted.get("session") or one.get("authid") == accepted.get("authid")
