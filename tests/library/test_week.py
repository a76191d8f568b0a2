"""Does ``make soak`` find what must not be: a wrong admission, a late end, growth? And does a short run go well?"""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE
from growth import NEEDS, Growth
from postgres import BINARIES, NO_SERVER
from truth import Credential, Kick, Principal
from verdicts import BACK, CLOCK, FORGOTTEN, IN, LOST, NODE, PROMISE, STORE, Ending, Login, Verdicts

TICKET = "com.example.invalid_ticket"
SHORT = 60  # seconds
DAY = 86_400.0  # seconds
REVOKED = (100.0, 101.0)  # when: at the earliest, and at the latest


def somebody(expires: float = math.inf) -> tuple[Principal, Credential]:
    """Who was added at 10, with a ticket."""
    who, ticket = Principal("alice", "realm1"), Credential("ticket", "secret")
    who.credentials.append(ticket)
    who.role.becomes("frontend", 9.0, 10.0)
    ticket.counts.becomes(True, 9.0, 10.0)
    if expires < math.inf:
        ticket.runs_out(expires)
    return who, ticket


def revoked() -> tuple[Principal, Credential]:
    who, ticket = somebody()
    who.role.becomes(None, *REVOKED)
    return who, ticket


def judged(outcome: str, since: float, until: float, outage: str = "", **more: Any) -> list[str]:
    """What is wrong with a login of one who is revoked from 100 to 101 on."""
    who, ticket = revoked()
    verdicts = Verdicts()
    if outage:
        verdicts.begins(outage, "away", since).end = until
    told: dict[str, Any] = {"role": "frontend", "named": ("alice", "realm1")} if outcome == IN else {}
    verdicts.login(Login(who, ticket, since, until, outcome, **{**told, **more}))
    assert verdicts.counts["wrong admissions"] == sum("WRONG ADMISSION" in fault for fault in verdicts.faults)
    return verdicts.faults


# -- logins


@pytest.mark.parametrize(
    ("outcome", "since", "until"),
    [
        (IN, 50.0, 50.1),
        (IN, 99.9, 100.1),  # it was under way
        (IN, 100.4, 100.6),  # the revocation was
        (IN, 9.5, 10.5),
        (TICKET, 5.0, 5.1),
        (TICKET, 100.4, 100.6),
        (TICKET, 200.0, 200.1),
        ("com.example.too_many_attempts", 200.0, 200.1),
    ],
)
def test_what_the_store_may_have_said_is_right(outcome: str, since: float, until: float) -> None:
    assert judged(outcome, since, until) == []


@pytest.mark.parametrize(("since", "until"), [(101.1, 101.2), (200.0, 200.1), (5.0, 8.9)])
@pytest.mark.parametrize("outage", ["", STORE, NODE, CLOCK])
def test_a_wrong_admission_is_found_whatever_is_out_of_order(since: float, until: float, outage: str) -> None:
    (fault,) = judged(IN, since, until, outage)
    assert "WRONG ADMISSION of alice" in fault


@pytest.mark.parametrize("more", [{"role": "reader"}, {"named": ("bob", "realm1")}, {"named": ("alice", "devices")}])
def test_an_admission_as_somebody_else_is_found(more: dict[str, Any]) -> None:
    (fault,) = judged(IN, 50.0, 50.1, **more)
    assert "WRONG ADMISSION" in fault


def test_an_admission_with_what_never_counted_is_found() -> None:
    who, _ = somebody()
    verdicts = Verdicts()
    for credential in None, Credential("ticket", "another's"):
        verdicts.login(Login(who, credential, 50.0, 50.1, IN, "frontend", ("alice", "realm1")))
    assert verdicts.counts["wrong admissions"] == 2


@pytest.mark.parametrize("outcome", [TICKET, "com.example.too_many_attempts"])
def test_a_wrong_refusal_is_found(outcome: str) -> None:
    (fault,) = judged(outcome, 50.0, 50.1, STORE)
    assert "refused wrongly" in fault


@pytest.mark.parametrize(
    ("outcome", "excuse"), [("com.example.unavailable", STORE), ("com.example.unavailable", NODE), (LOST, NODE)]
)
def test_no_answer_needs_an_excuse(outcome: str, excuse: str) -> None:
    assert judged(outcome, 50.0, 50.1, excuse) == []
    assert judged(outcome, 50.0, 50.1) != []


@pytest.mark.parametrize(("took", "waited", "excused"), [(12.0, 8.0, 1), (12.0, 4.0, 0), (1.0, 0.9, 0)])
def test_a_machine_that_is_too_busy_is_a_reason(took: float, waited: float, excused: int) -> None:
    verdicts = Verdicts(waits=[(50.0, 50.0 + took / 2, waited)])
    verdicts.login(Login(*somebody(), 50.0, 50.0 + took, LOST))
    assert (len(verdicts.excused), len(verdicts.faults)) == (excused, 1 - excused)


def test_a_store_that_is_away_is_no_excuse_for_a_lost_connection() -> None:
    assert judged(LOST, 50.0, 50.1, STORE) != []


def test_a_clock_that_is_ahead_excuses_a_refusal_of_what_runs_out() -> None:
    verdicts = Verdicts()
    verdicts.begins(CLOCK, "ahead", 40.0).end = 60.0
    for who, ticket in somebody(), somebody(expires=500.0):
        verdicts.login(Login(who, ticket, 50.0, 50.1, TICKET))
    assert len(verdicts.faults) == 1


# -- ends


def ended(moment: float, *outages: tuple[str, float, float], waited: float = 0.0) -> Verdicts:
    """The session of one who is revoked from 100 to 101 on ends at that moment."""
    who, ticket = revoked()
    verdicts = Verdicts(waits=[(0.0, 50.0, 7.0), (moment - 0.3, moment - 0.1, waited), (moment + 1, moment + 2, 7.0)])
    for what, begin, end in outages:
        verdicts.begins(what, "away", begin).end = end
    verdicts.ending(Ending(who, ticket, "frontend", 19.9, 20.0, moment, "com.example.revoked"))
    return verdicts


@pytest.mark.parametrize("moment", [100.0, 100.5, 101.0, 101.0 + PROMISE])
def test_an_end_in_time(moment: float) -> None:
    assert ended(moment).faults == []


def test_a_late_end_is_found() -> None:
    verdicts = ended(101.0 + PROMISE + 0.1)
    assert verdicts.counts["late endings"] == len(verdicts.faults) == 1
    course = "in since 20.0; counts: True 9.0 to 10.0, frontend 9.0 to 10.0, None 100.0 to 101.0"
    assert verdicts.faults == [f"102.1 s: alice outlived its credential by 1.10 s: com.example.revoked ({course})"]


def test_who_brings_an_end_may_have_had_to_wait_for_a_core() -> None:
    assert ended(101.0 + PROMISE + 0.1, waited=0.05).faults != []
    excused = ended(101.0 + PROMISE + 0.1, waited=0.15)
    assert (excused.faults, len(excused.excused)) == ([], 1)


@pytest.mark.parametrize("what", [STORE, NODE])
def test_after_an_outage_an_end_comes_when_it_is_over(what: str) -> None:
    assert ended(110.0 + BACK, (what, 99.0, 110.0)).faults == []
    (fault,) = ended(110.0 + BACK + 0.1, (what, 99.0, 110.0)).faults
    assert "3.10 s after" in fault


def test_an_outage_that_was_over_long_before_excuses_nothing() -> None:
    assert ended(103.0, (STORE, 50.0, 60.0)).faults != []


@pytest.mark.parametrize(
    ("outages", "late"),
    [
        ([], 29.3),
        ([(STORE, 104.5, 105.0)], 29.3),  # there was time enough to look
        ([(STORE, 101.2, 107.0)], 0.0),
        ([(NODE, 101.2, 103.0), (STORE, 103.5, 105.0)], 0.0),
    ],
)
def test_what_was_given_back_before_anybody_could_look(outages: list[tuple[str, float, float]], late: float) -> None:
    """Revoked from 100 to 101 on, restored from 106 on, and revoked again from 130 on."""
    for moment, lasts in (101.2, 0.0), (101.9, 0.0), (130.3, late):
        who, ticket = revoked()
        who.role.becomes("frontend", 106.5, 107.2)
        who.role.becomes(None, 129.9, 130.0)
        verdicts = Verdicts()
        for what, begin, end in outages:
            verdicts.begins(what, "away", begin).end = end
        verdicts.ending(Ending(who, ticket, "frontend", 19.9, 20.0, moment, "com.example.revoked"))
        assert [f"{lasts:.2f} s" in fault for fault in verdicts.faults] == [True] * bool(lasts)
    assert verdicts.overdue(who, ticket, "frontend", 20.0, 129.0) is bool(late)


def test_an_outage_that_comes_later_excuses_nothing() -> None:
    """There was time enough before it. The whole time counts."""
    (fault,) = ended(110.0, (STORE, 104.1, 109.0)).faults
    assert "by 9.00 s:" in fault
    (fault,) = ended(125.0, (STORE, 99.0, 105.0), (STORE, 109.0, 120.0)).faults
    assert "by 20.00 s after store or node was back" in fault
    assert ended(123.0, (STORE, 99.0, 105.0), (STORE, 107.0, 120.0)).faults == []
    who, ticket = revoked()
    verdicts = Verdicts()
    verdicts.begins(STORE, "away", 110.0).end = 115.0
    assert verdicts.overdue(who, ticket, "frontend", 20.0, 116.1)


def test_an_end_without_a_reason_is_found() -> None:
    (fault,) = ended(60.0).faults
    assert fault == "60.0 s: alice was put out for no reason: com.example.revoked"


@pytest.mark.parametrize(
    ("since", "joined", "faults"),
    [(19.9, 20.0, 0), (50.4, 50.7, 0), (51.0, 51.1, 1)],  # it was in, it was just coming in, it came after the kick
)
def test_who_was_kicked_ends_for_a_reason(since: float, joined: float, faults: int) -> None:
    who, ticket = somebody()
    who.kicks = [Kick(49.0, 50.5)]
    verdicts = Verdicts()
    verdicts.ending(Ending(who, ticket, "frontend", since, joined, 51.2, "com.example.kicked"))
    assert len(verdicts.faults) == faults


def test_who_goes_on_is_found() -> None:
    who, ticket = revoked()
    verdicts = Verdicts()
    assert not verdicts.overdue(who, ticket, "frontend", 20.0, 101.0 + FORGOTTEN - 1)
    assert verdicts.overdue(who, ticket, "frontend", 20.0, 101.0 + FORGOTTEN + 1)
    assert not Verdicts().overdue(*somebody(), "frontend", 20.0, DAY)


def test_an_expiry_that_is_brought_forward_counts() -> None:
    who, ticket = somebody(expires=500.0)
    ticket.runs_out(200.0)
    ticket.runs_out(300.0)
    assert who.loses(ticket, "frontend", 20.0) == pytest.approx((200.0, 200.0), abs=0.2)


def test_another_role_ends_the_sessions_with_the_old_one() -> None:
    who, ticket = somebody()
    who.role.becomes("reader", *REVOKED)
    assert who.loses(ticket, "frontend", 20.0) == REVOKED
    assert who.loses(ticket, "reader", 150.0) == (math.inf, math.inf)
    assert not who.may_be_admitted(ticket, "frontend", 150.0, 151.0)


# -- growth


def grown(kind: str, by: float, until: float = 2 * NEEDS) -> list[str]:
    growth = Growth()
    for moment in range(0, int(until), 10):
        growth.add(kind, "router", float(moment), 100.0 + by * moment / until)
    return growth.faults(0.0, until)


@pytest.mark.parametrize("kind", ["memory", "files", "rows", "bytes"])
def test_growth_is_found(kind: str) -> None:
    assert grown(kind, 1.0) == []
    (fault,) = grown(kind, 100_000.0)
    assert fault.startswith(f"{kind} of router grew from ")


def test_in_a_short_time_nobody_can_say_what_grows() -> None:
    assert grown("memory", 1000.0, NEEDS - 100) == []


# -- the whole


@pytest.mark.slow
@pytest.mark.skipif(not BINARIES, reason=NO_SERVER)
def test_a_short_week(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    report = tmp_path / "report.json"
    command = [
        sys.executable,
        str(HERE / "tools/soak/week.py"),
        "--seconds",
        str(SHORT),
        "--seed",
        "2",
        "--json",
        str(report),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=400, check=False)
    assert done.stdout.endswith("All is as it must be.\n"), done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert (done.returncode, told["wrong"], told["wrong admissions"], told["late endings"]) == (0, [], 0, 0)
    assert told["seen"]["login: in"] > SHORT
    assert told["disturbances"]
