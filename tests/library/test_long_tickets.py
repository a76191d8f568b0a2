"""How long may a ticket be? As long as the setting ``longest_ticket`` says: a JWT is longer than what we make."""

from pathlib import Path
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.task import Clock

from wampauth.admission import Admissions
from wampauth.audit import Audit
from wampauth.claims import Principal, TicketClaim
from wampauth.guard import Guard
from wampauth.settings import Settings, SettingsError


def try_ticket(folder: Path, length: int, **settings: Any) -> Any:
    """The principal's authid, or the text of the refusal, for a ticket of that many characters."""
    clock = Clock()
    guard = Guard(
        clock,
        Settings.from_config(settings),
        Audit(str(folder / "audit.jsonl")),
        "org.acme.",
        Admissions("org.acme.", b"k" * 32),
    )

    def check(claim: TicketClaim) -> Principal:
        return Principal(claim.authid, "realm1", "frontend")

    results: list[Any] = []
    details = {"authmethod": "ticket", "ticket": "t" * length}
    answer = guard.wrap("ticket", check)("realm1", "alice", details)
    answer.addCallbacks(
        lambda told: told["authid"], lambda failure: failure.trap(ApplicationError) and failure.value.args[0]
    )
    answer.addBoth(results.append)
    clock.advance(1)
    return results[0]


@pytest.mark.parametrize(
    ("settings", "longest"), [({}, 1024), ({"longest_ticket": 4000}, 4000), ({"longest_ticket": 9}, 9)]
)
def test_a_ticket_may_be_that_long(tmp_path: Path, settings: dict[str, int], longest: int) -> None:
    assert try_ticket(tmp_path, longest, **settings) == "alice"
    assert try_ticket(tmp_path, longest + 1, **settings) == f"a ticket is 1 to {longest} characters of text"


@pytest.mark.parametrize("wrong", [0, -1, 16_385, 1.5, "1024", True, None])
def test_it_has_a_limit_of_its_own(wrong: object) -> None:
    with pytest.raises(SettingsError, match="longest_ticket"):
        Settings.from_config({"longest_ticket": wrong})
    assert Settings.from_config({"longest_ticket": 16_384}).longest_ticket == 16_384
