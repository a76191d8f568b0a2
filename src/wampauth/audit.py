"""Who tried to join, and what became of it? One JSON object a line, in files for their owner alone, rotated by size.

There are two, so that no stranger can push out what matters: what only those cause who have proven who they are
(:data:`PROVEN`) stands in ``audit.jsonl``, and all else beside it in ``audit.attempts.jsonl``. There, the first
refusals of one outcome from one address are whole; then one line a minute counts the others.

Schema, in this order; what doesn't apply is left out:

============== =======================================================================================================
time           when it was decided, ISO 8601, UTC
outcome        accepted, challenged (a proof comes next, which the router checks), refused, malformed, throttled,
               unavailable; of live sessions: joined, left, ended; and of an operator at the command line: acted
reason         for our eyes only: the true reason of a refusal, of a failure, or of a session's end
method         ticket, cryptosign, scram, wampcra or tls
claimed        the authid that the client claims, its public key, or the fingerprint of its certificate
claimed_authid what else it says of itself, where that isn't what was found
claimed_realm  the same: the realm that it asks for
claimed_role   the same: the role, where the router passes that on (cryptosign, wampcra)
authid         the principal that was found
credential     the id of its credential
realm          of the principal that was found, or of the live session
role           of the principal that was found
act            the operator's command, such as ``revoke``; then ``authid`` and ``credential`` are what it was done to
operator       the user of this machine who has given it
change         what was changed by it, for people
peer           address of the client
session        the session id that the client gets if it joins
duration       seconds from the attempt to the answer
count          how many more there were of this outcome from this peer (an IPv6 /64 counts as one; without a peer: from
               all others), since the minute began
reference      what an ``unavailable`` client was told, to find this line by
============== =======================================================================================================

No field ever holds a ticket. Strings that a stranger chose are cut to :data:`LONGEST` characters and escaped to ASCII.
"""

import functools
import json
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wampauth.records import KEEP, ROTATE, Records
from wampauth.throttle import counted_address

FIELDS = (
    *("reason", "method", "claimed", "claimed_authid", "claimed_realm", "claimed_role"),
    *("authid", "credential", "realm", "role", "act", "operator", "change"),
    *("peer", "session", "duration", "count", "reference"),
)
PROVEN = ("accepted", "joined", "left", "ended", "acted")
ADMITTED = ("accepted", "challenged")
COUNTED = ("refused", "malformed", "throttled", "unavailable")
LONGEST = 160  # characters of one string in a record
WHOLE = 10  # records of one counted outcome from one address, from one summary to the next
WHOLE_OF_OURS = 100  # of ``unavailable``: whoever tells us his reference wants to know what it was
WHOLE_IN_ALL = 1000  # records of counted outcomes in that time
TOLD_APART = 1000  # outcomes and addresses that are counted apart in that time


OBSERVERS: list[Callable[[str, dict[str, Any], bool], None]] = []  # of all records; the last is whether it is written


class Audit:
    """Writes records. Get one from :func:`open_audit`: two writers of one file in a process would count twice."""

    def __init__(self, path: str) -> None:
        """Open or make the file at `path`, and the one beside it.

        :raises OSError: if that can't be done.
        """
        self._proven = Records(path, ROTATE, KEEP)
        self._attempts = Records(attempts(path), ROTATE, KEEP)
        self._tally = Tally()

    def record(self, outcome: str, **fields: Any) -> None:
        """Write one record, or count it; fields that are None are left out.

        :raises OSError: if it can't be written.
        """
        try:
            if outcome not in COUNTED or self._tally.admits(outcome, counted_address(str(fields.get("peer")))):
                self._write(outcome, fields)
        except OSError:
            _tell(outcome, fields, is_written=False)
            raise
        _tell(outcome, fields, is_written=True)

    def summarise(self) -> None:
        """Write how many refusals were only counted, and begin anew. To be called once a minute.

        :raises OSError: if it can't be written.
        """
        tally, self._tally = self._tally, Tally()
        for (outcome, peer), count in tally.counted():
            self._write(outcome, {"peer": peer, "count": count})

    def _write(self, outcome: str, fields: dict[str, Any]) -> None:
        file = self._proven if outcome in PROVEN else self._attempts
        file.add(line(outcome, fields))


class Tally:
    """Who was refused how often since the last summary? Whatever strangers do, it stays small."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str | None]] = Counter()
        self._written: Counter[tuple[str, str | None]] = Counter()
        self._whole = 0

    def admits(self, outcome: str, address: str) -> bool:
        """Count one more; whether it is to be written whole."""
        key = (
            (outcome, address) if (outcome, address) in self._seen or len(self._seen) < TOLD_APART else (outcome, None)
        )
        self._seen[key] += 1
        if self._written[key] >= (WHOLE_OF_OURS if outcome == "unavailable" else WHOLE) or self._whole >= WHOLE_IN_ALL:
            return False
        self._written[key] += 1
        self._whole += 1
        return True

    def counted(self) -> list[tuple[tuple[str, str | None], int]]:
        """Of which outcome and address how many weren't written."""
        return list((self._seen - self._written).items())


def attempts(path: str) -> str:
    """The file beside `path` in which attempts are: ``audit.attempts.jsonl`` beside ``audit.jsonl``."""
    file = Path(path)
    return str(file.with_name(f"{file.stem}.attempts{file.suffix}"))


def _tell(outcome: str, fields: dict[str, Any], is_written: bool) -> None:
    for observe in OBSERVERS:
        observe(outcome, fields, is_written)


def line(outcome: str, fields: dict[str, Any]) -> bytes:
    """A record as it is written, with the time that it is now."""
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "outcome": outcome}
    record |= {name: _short(fields[name]) for name in FIELDS if name in fields and fields[name] is not None}
    return json.dumps(record).encode() + b"\n"


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        return value[:LONGEST] + "…"
    return value


@functools.cache
def open_audit(path: str) -> Audit:
    """The one writer of the file at `path` in this process."""
    from twisted.internet import reactor  # which is made when it is imported

    audit = Audit(path)
    reactor.addSystemEventTrigger("during", "shutdown", _end, weakref.ref(audit))
    return audit


def _end(known: "weakref.ref[Audit]") -> None:
    if audit := known():
        with suppress(OSError):
            audit.summarise()
