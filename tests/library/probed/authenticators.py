"""A strong authenticator, and others that are weak in one way each. Plain Crossbar.io: nothing of ours is in it.

The node's configuration names them ``authenticators.ticket_strong``, ``authenticators.key_strong``, and with the name
of a class below in place of ``strong``.
"""

import hashlib
import hmac
import time
from collections import defaultdict
from typing import Any

from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred

REALM, ROLE, AUTHID, TICKET = "realm1", "tight", "alice", "alice's-own-ticket/1"
OPEN_AUTHID, BOUND_AUTHID = "olga", "boris"  # who may do everything, and whom a dynamic authorizer watches
ROLES = {AUTHID: ROLE, OPEN_AUTHID: "open", BOUND_AUTHID: "bound"}
TICKETS = {AUTHID: TICKET, OPEN_AUTHID: "olga's-ticket", BOUND_AUTHID: "boris'-ticket"}
KEYS = {  # made from the seeds 01…01 and so on
    "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c": AUTHID,
}
PER_PAIR, PER_HOST = 10, 100  # attempts in the life of the node
WORK = 2_000  # rounds


class Strong:
    """Counts attempts, checks types, says one no, and gives nothing that was only claimed."""

    def __init__(self) -> None:
        self.attempts: defaultdict[Any, int] = defaultdict(int)

    def ticket(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        """Decide on a ticket."""
        ticket = details["ticket"]
        if not (isinstance(authid, str) and isinstance(ticket, str) and 0 < len(ticket) < 1000):
            raise self.no()
        self.count(authid, details)
        if not self.is_right(authid, ticket):
            raise self.wrong(authid, ticket)
        self.forgive(authid, details)
        return self.answer(realm, authid, details, ticket)

    def key(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        """Decide on a key, before anything is proven."""
        extra = details["authextra"]
        pubkey = extra.get("pubkey") if isinstance(extra, dict) else None
        owner = KEYS.get(pubkey) if isinstance(pubkey, str) else None
        if owner is None or authid not in (None, owner):
            return self.unknown_key(realm, authid, pubkey)
        return {**self.answer(realm, owner, details, ""), "pubkey": pubkey}

    def no(self) -> ApplicationError:
        return ApplicationError("org.probed.no", "no")

    def wrong(self, authid: str, ticket: str) -> ApplicationError:
        return self.no()

    def unknown_key(self, realm: Any, authid: Any, pubkey: Any) -> Any:
        raise self.no()

    def host(self, details: Any) -> str:
        return str(details["transport"]["peer"]).split(":")[1]

    def counted(self, authid: str, details: Any) -> dict[Any, int]:
        """What attempts are counted for, and how many there may be."""
        return {(authid, self.host(details)): PER_PAIR, self.host(details): PER_HOST}

    def count(self, authid: str, details: Any) -> None:
        for one, most in self.counted(authid, details).items():
            if self.attempts[one] >= most:
                raise ApplicationError("org.probed.too_many", "too many attempts")
            self.attempts[one] += 1

    def forgive(self, authid: str, details: Any) -> None:
        for one in self.counted(authid, details):
            self.attempts[one] -= 1

    def is_right(self, authid: str, ticket: str) -> bool:
        """The same work for everybody."""
        known = TICKETS.get(authid)
        same = hmac.compare_digest(digest(ticket), digest(known or "nobody's"))
        return same and known is not None

    def answer(self, realm: Any, authid: str, details: Any, ticket: str) -> dict[str, Any]:
        if realm not in (None, REALM):
            raise self.wrong(authid, ticket)
        return {"realm": REALM, "authid": authid, "role": ROLES[authid], "extra": {}}


def digest(ticket: str) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", ticket.encode(errors="surrogatepass"), b"salt", WORK)


class Unlimited(Strong):
    """Doesn't count."""

    def counted(self, authid: str, details: Any) -> dict[Any, int]:
        return {}


class PerConnection(Strong):
    """Counts by connection."""

    def counted(self, authid: str, details: Any) -> dict[Any, int]:
        return {details["transport"]["peer"]: PER_PAIR}


class PerPair(Strong):
    """Doesn't count an address."""

    def counted(self, authid: str, details: Any) -> dict[Any, int]:
        return {(authid, self.host(details)): PER_PAIR}


class PerAuthid(Strong):
    """Counts by authid, wherever from."""

    def counted(self, authid: str, details: Any) -> dict[Any, int]:
        return {authid: PER_PAIR}


class Forwarded(Strong):
    """Believes a header of whomever."""

    def host(self, details: Any) -> str:
        headers = details["transport"].get("http_headers_received") or {}
        return str(headers.get("x-forwarded-for") or super().host(details))


class Slows(Unlimited):
    """Says the same, but has the right one let in after any number of guesses that it says were too many."""

    def count(self, authid: str, details: Any) -> None:
        self.attempts[authid] += 1

    def wrong(self, authid: str, ticket: str) -> ApplicationError:
        return ApplicationError("org.probed.too_many", "too many") if self.attempts[authid] > PER_PAIR else self.no()


class TellsAnswer(Strong):
    """Has another no for those who aren't known."""

    def wrong(self, authid: str, ticket: str) -> ApplicationError:
        return self.no() if authid in TICKETS else ApplicationError("org.probed.no_such_user", "no such user")


class TellsTime(Strong):
    """Works for those only who are known."""

    def is_right(self, authid: str, ticket: str) -> bool:
        if authid not in TICKETS:
            return False
        time.sleep(0.02)
        return super().is_right(authid, ticket)


class Raises(Strong):
    """Looks up what isn't there."""

    def is_right(self, authid: str, ticket: str) -> bool:
        return TICKETS[authid] == ticket


class Echoes(Strong):
    """Says which ticket was wrong."""

    def wrong(self, authid: str, ticket: str) -> ApplicationError:
        return ApplicationError("org.probed.no", f"{ticket} isn't it")


class Empty(Strong):
    """Takes any part of a ticket for it, even none."""

    def ticket(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        if authid in TICKETS and details["ticket"] == "":
            return self.answer(realm, authid, details, "")
        return super().ticket(realm, authid, details)


class Nobody(Strong):
    """Has an empty ticket for whoever isn't known: ``TICKETS.get(authid, "")``."""

    def ticket(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        if authid not in TICKETS and details["ticket"] == "":
            return {"realm": REALM, "authid": authid, "role": ROLE, "extra": {}}
        return super().ticket(realm, authid, details)


class Hangs(Strong):
    """Never answers to a key that isn't even text."""

    def unknown_key(self, realm: Any, authid: Any, pubkey: Any) -> Any:
        return super().unknown_key(realm, authid, pubkey) if isinstance(pubkey, str) else Deferred()


class AnyRealm(Strong):
    """Has whoever comes join where they like."""

    def answer(self, realm: Any, authid: str, details: Any, ticket: str) -> dict[str, Any]:
        return {**super().answer(REALM, authid, details, ticket), "realm": realm or REALM}


class AnyAuthid(Strong):
    """Has the ticket, and believes the authid."""

    def ticket(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        if details["ticket"] == TICKET:
            return {"realm": REALM, "authid": authid, "role": ROLE, "extra": {}}
        return super().ticket(realm, authid, details)


class KeysAuthid(Strong):
    """Has the key, and believes the authid."""

    def key(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        found = super().key(realm, None, details)
        return {**found, "authid": authid or found["authid"]}


class AnyRole(Strong):
    """Gives the role that is asked for."""

    def answer(self, realm: Any, authid: str, details: Any, ticket: str) -> dict[str, Any]:
        wanted = (details.get("authextra") or {}).get("role")
        return {**super().answer(realm, authid, details, ticket), "role": wanted or ROLE}


class AnyKey(Strong):
    """Has the key verified that was shown."""

    def unknown_key(self, realm: Any, authid: Any, pubkey: Any) -> dict[str, Any]:
        return {"realm": REALM, "authid": AUTHID, "role": ROLE, "extra": {}, "pubkey": pubkey}


class Binding(Strong):
    """Insists on channel binding."""

    def key(self, realm: Any, authid: Any, details: Any) -> dict[str, Any]:
        if not (details["authextra"] or {}).get("channel_binding"):
            raise self.no()
        return super().key(realm, authid, details)


KINDS = {
    kind.__name__.lower(): kind
    for kind in (Strong, Unlimited, PerConnection, PerPair, PerAuthid, Forwarded, Slows, TellsAnswer, TellsTime)
} | {
    kind.__name__.lower(): kind
    for kind in (Raises, Echoes, Empty, Nobody, Hangs, AnyRealm, AnyAuthid, KeysAuthid, AnyRole, AnyKey, Binding)
}
MADE = {name: kind() for name, kind in KINDS.items()}


def __getattr__(name: str) -> Any:
    """The factories of which the configuration speaks."""
    method, _, kind = name.partition("_")
    if method not in ("ticket", "key") or kind not in MADE:
        raise AttributeError(name)
    return lambda config, controller: getattr(MADE[kind], method)
