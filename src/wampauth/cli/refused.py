"""Who was turned away, and why? Refusals in the audit as sentences; those that are alike are told together."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wampauth.audit import COUNTED
from wampauth.cli.doers import Acts
from wampauth.cli.joins import JOINED, UNJOINED, UNPROVEN
from wampauth.cli.states import obstacle, revoked
from wampauth.cli.telling import claims, in_one_line, quoted
from wampauth.endings import TOO_MANY
from wampauth.history import Record, moment
from wampauth.store import Connection, moments, showing

TLS, BINDING = "no TLS", "no channel binding"
MEANT = {  # what the reasons in the audit mean
    "no such credential": "the {thing} is wrong, or there is no such principal",
    "no such password": "there is no such principal, or it has no password",
    "expired": "the {thing} had run out",
    "revoked": "the {thing}, or {who}, was revoked",
    "not yet": "the {thing} didn't count yet",
    "claims another realm": "the client asks for another realm than the principal's",
    "claims another authid": "the client names another authid than whose {thing} it is",
    "out of tokens": "there were too many failures before",
    TLS: "the connection was without TLS, and the node asks for it. The client is to connect by wss:// (docs/tls.md)",
    BINDING: "the client didn't bind its signature to the connection, and the node asks for it. Switch channel binding "
    "(tls-unique) on in the client: docs/tls.md shows how",
}
BY_US = ": if by a command, `wampauth log --outcome acted` says whose"
THINGS = {"ticket": "ticket", "cryptosign": "key", "tls": "certificate"}
SECRETS = {"cryptosign": "private key"}  # with which a challenge is met; else a password
APART = (  # what refusals that are told together have in common
    *("outcome", "reason", "method", "authid", "claimed", "credential", "peer", "reference"),
    *("claimed_authid", "claimed_realm", "claimed_role"),
)


@dataclass
class Alike:
    """Refusals that differ in nothing but time.

    :ivar last: the last of them.
    :ivar since: when the first one was.
    """

    last: Record
    since: str
    times: int

    @property
    def reason(self) -> str:
        """Why, as the audit has it."""
        return str(self.last.get("reason", "no reason is known"))

    @property
    def record(self) -> Record:
        """For programs: the last one; if there are several, how many, and since when."""
        return self.last if self.times == 1 else {**self.last, "times": self.times, "since": self.since}


def is_turned_away(record: Record) -> bool:
    """Whether it is of somebody who didn't get in, or had to go at once."""
    if record["outcome"] == "ended":
        return str(record.get("reason")).endswith(f".{TOO_MANY}")
    return record["outcome"] in COUNTED or record.get(JOINED) is False


def alike(records: Iterable[Record], most: int) -> list[Alike]:
    """The last of those who were turned away, as many as are to be told apart."""
    found: dict[tuple[Any, ...], Alike] = {}
    for record in records:
        key = (*(record.get(name) for name in APART), "count" in record)
        before = found.pop(key, None)
        times = record.get("count", 1)
        number = times if isinstance(times, int) else 1
        found[key] = Alike(record, before.since if before else record["time"], number + (before.times if before else 0))
        if len(found) > most:
            del found[next(iter(found))]
    return list(found.values())


class Causes:
    """What the store and the audit know of the causes."""

    def __init__(self, store: Connection | None, audits: list[Path], points: bool = True) -> None:
        """
        :param store: None, if it isn't at hand.
        :param points: to `wampauth why AUTHID`, where that may know more.
        """
        self._store, self._audits, self._points = store, audits, points

    def line(self, some: Alike) -> str:
        """A line that a terminal can show: when it was last, and a sentence."""
        return in_one_line(f"{moments.iso(moment(some.last))}  {self.sentence(some)}")

    def sentence(self, some: Alike, dated: bool = False) -> str:
        """Who was turned away, from where, how often and why.

        :param dated: it says when the last time was.
        """
        record = some.last
        peer = f" from {record['peer']}" if "peer" in record else ""
        if "count" in record:
            more = f"attempt{peer} was" if some.times == 1 else f"attempts{peer} were"
            return f"{some.times} more {more} {record['outcome']}"
        who = _who(record)
        claimed = claims(record)
        often = f" {some.times} times since {some.since}" if some.times > 1 else ""
        if dated:
            often += f"{', the last' if often else ''} at {record['time']}"
        said = f", claiming {claimed}," if claimed else ""
        return f"{who}{peer}{said} was {_outcome(record)}{often}: {self.cause(record)}"

    def cause(self, record: Record) -> str:
        """Why, and what to do, as far as that is known now."""
        reason = str(record.get("reason", "no reason is known"))
        if _is_unproven(record):
            secret = SECRETS.get(str(record.get("method")), "password")
            return f"{UNPROVEN}. The client has another {secret}, or has hung up"
        if record.get(JOINED) is False:
            role = f"the role {record['role']}" if "role" in record else "its role"
            if not self._points:
                return f"the router has refused it, perhaps for want of {role} in {record.get('realm')}"
            return f"the router has refused it. Has {record.get('realm')} {role}? `wampauth why {_who(record)}` tells"
        if record["outcome"] == "ended" or reason.startswith("has "):
            text = "it has as many sessions as it may" if record["outcome"] == "ended" else f"it {reason}"
            return f"{text}. `wampauth set {_who(record)} --max-sessions N` allows more"
        if found := self._known(record, reason):
            return found
        is_perhaps_ours = reason == "revoked" and self._store is not None
        return f"{_meaning(record, reason)}{BY_US if is_perhaps_ours else ''}"

    def _known(self, record: Record, reason: str) -> str | None:
        """What the store says of it now."""
        if self._store is None:
            return None
        authid = str(record.get("authid", record.get("claimed", "")))
        try:
            principal = showing.show(self._store, authid)
        except showing.Refused:
            is_name = "authid" in record or record.get("method") != "cryptosign"
            return f"there is no principal {quoted(authid)}" if is_name and reason.startswith("no such") else None
        if reason == "no such credential":
            return f"the {_thing(record)} is wrong"
        if reason not in ("revoked", "expired", "not yet"):
            return None
        acts = Acts(self._audits, principal["authid"])
        if principal["revoked"]:
            return revoked(principal, acts)
        for one in principal["credentials"]:
            if one["id"] == record.get("credential") and (found := obstacle(one, principal, acts)):
                return f"t{found[1][1:].removesuffix('.')}"
        return None


def _who(record: Record) -> str:
    if "authid" in record:
        return str(record["authid"])
    return quoted(record.get("claimed", "somebody"))


def _outcome(record: Record) -> str:
    return UNJOINED if record.get(JOINED) is False and not _is_unproven(record) else str(record["outcome"])


def _is_unproven(record: Record) -> bool:
    return record["outcome"] == "challenged" and record.get("reason") == UNPROVEN


def _thing(record: Record) -> str:
    return THINGS.get(str(record.get("method")), "proof")


def _meaning(record: Record, reason: str) -> str:
    return MEANT[reason].format(thing=_thing(record), who=_who(record)) if reason in MEANT else reason
