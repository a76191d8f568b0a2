"""One login through the guard, without a router: the quickest way to test checks of your own."""

from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred

from authenticator import Checks
from wampauth import KeyClaim, Principal, Refused, TicketClaim
from wampauth.testing import login

ALICE = Principal("alice", "realm1", "frontend", credential="ticket-of-alice")
PUBKEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"  # RFC 8032, section 7.1, test 1
DEVICE = Principal("device7", "devices", "device", pubkey=PUBKEY)


class Store:
    """Knows one ticket and one key."""

    async def by_ticket(self, claim: TicketClaim) -> Principal | None:
        if claim.authid == "carol":
            raise Refused("revoked", authid="carol")
        return ALICE if (claim.authid, claim.ticket) == ("alice", "open-sesame") else None

    async def by_key(self, claim: KeyClaim) -> Principal | None:
        return DEVICE if claim.pubkey == PUBKEY else None


class ChecksWithoutDatabase(Checks):
    """The lesson's checks, with that store."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.store: Any = Store()


def outcome(deferred: "Deferred[Principal]") -> Any:
    """The principal, or the URI of the refusal."""
    results: list[Any] = []
    deferred.addErrback(lambda failure: failure.trap(ApplicationError) and failure.value.error)
    deferred.addCallback(results.append)
    return results[0]


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (TicketClaim(authid="alice", ticket="open-sesame"), ALICE),
        (TicketClaim(authid="alice", ticket="open-sesame", realm="realm1"), ALICE),
        (TicketClaim(authid="alice", ticket="open-sesame", realm="devices"), "com.example.invalid_ticket"),
        (TicketClaim(authid="alice", ticket="wrong"), "com.example.invalid_ticket"),
        (TicketClaim(authid="bob", ticket="open-sesame"), "com.example.invalid_ticket"),
        (TicketClaim(authid="carol", ticket="open-sesame"), "com.example.invalid_ticket"),
        (TicketClaim(authid="", ticket="open-sesame"), "com.example.malformed"),
        (KeyClaim(pubkey=PUBKEY), DEVICE),
        (KeyClaim(pubkey=PUBKEY, authid="device7", realm="devices"), DEVICE),
        (KeyClaim(pubkey=PUBKEY, authid="device8"), "com.example.no_such_user"),
        (KeyClaim(pubkey="ab" * 32), "com.example.no_such_user"),
    ],
)
def test_who_gets_in(claim: TicketClaim | KeyClaim, expected: Principal | str) -> None:
    assert outcome(login(ChecksWithoutDatabase, {}, claim)) == expected
