"""How is it refused? Each promise of guard.py, on a clock that the test turns by hand."""

import gc
import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher

import guard as module
import names
from audit import Audit
from claims import Claim, Origin
from guard import Guard, Refused
from settings import Settings

DELAY, DEADLINE, SUMMARY = 0.25, 5.0, 60.0  # seconds; the defaults
TICKET = "open-sesame"
KEY = "ab" * 32
FOUND = {"authid": "alice", "credential": "0123456789abcdef", "realm": "realm1"}
REFUSED = {
    "ticket": (
        "com.example.invalid_ticket",
        "could not authenticate session - invalid ticket for principal alice",
    ),
    "cryptosign": ("com.example.no_such_user", f"no principal with matching public key 0x{KEY}"),
}
ONE_AT_A_TIME = ("com.example.malformed", "one attempt at a time")
METHODS = pytest.mark.parametrize("method", REFUSED)


def answer(**changes: Any) -> dict[str, Any]:
    """A complete answer, with changes; what is changed to ``...`` is left out."""
    whole = {
        "realm": "realm1",
        "authid": "alice",
        "role": "frontend",
        "extra": {"foo": [1, {"bar": None}], "credential": FOUND["credential"]},
        "pubkey": KEY,
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


def connection(number: int) -> dict[str, Any]:
    """What the router says of a connection."""
    return {"session": number, "transport": {"peer": f"tcp4:192.0.2.1:{number}"}}


class Check:
    """A check that says what it is told to, and remembers what it was asked."""

    def __init__(self, outcome: Any = ...) -> None:
        self.outcome = answer() if outcome is ... else outcome
        self.asked: list[Claim] = []

    async def __call__(self, claim: Claim, origin: Origin) -> Any:
        self.asked.append(claim)
        outcome = await self.outcome if isinstance(self.outcome, Deferred) else self.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Attempt:
    """One login, and what came of it."""

    def __init__(self, clock: Clock, procedure: Any, claimed: tuple[Any, Any, Any]) -> None:
        self.answer: dict[str, Any] | None = None
        self.no: tuple[str, str] | None = None  # URI and text
        self.after: float | None = None  # seconds until it was answered
        self._clock, self._started = clock, clock.seconds()
        maybeDeferred(procedure, *claimed).addCallbacks(self._accepted, self._refused)

    @property
    def answered(self) -> bool:
        return self.after is not None

    @property
    def uri(self) -> str | None:
        """What it was refused with."""
        return self.no[0] if self.no else None

    def _accepted(self, given: dict[str, Any]) -> None:
        self.answer, self.after = given, self._clock.seconds() - self._started

    def _refused(self, failure: Any) -> None:
        self.after, error = self._clock.seconds() - self._started, failure.value
        self.no = (error.error, *error.args) if isinstance(error, ApplicationError) else ("not ours", repr(error))


class Door:
    """A guard with an audit file of its own, and clients that try to get past it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.audit_file = folder / "audit.jsonl"
        self.guard = Guard(self.clock, Settings(**settings), Audit(str(self.audit_file)))
        self._number = itertools.count(1)

    def attempt(self, check: Any, method: str = "ticket", **claim: Any) -> Attempt:
        """Try once; what isn't said is what an honest client would say, on a connection of its own."""
        authextra = {"pubkey": KEY} if method == "cryptosign" else None
        details = {"authmethod": method, "authextra": authextra, "ticket": TICKET, **connection(next(self._number))}
        claimed = (claim.pop("realm", "realm1"), claim.pop("authid", "alice"), {**details, **claim})
        return Attempt(self.clock, self.guard.wrap(method, check), claimed)

    @property
    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_file.read_text().splitlines()]

    def held(self) -> int:
        """How many things the guard keeps in all its collections, but for the throttle's buckets."""
        return sum(len(value) for value in vars(self.guard).values() if hasattr(value, "__len__"))


OpenDoor = Callable[..., Door]


@pytest.fixture
def open_door(tmp_path: Path) -> OpenDoor:
    return lambda **settings: Door(tmp_path, **{"failures_at_once": 1_000_000, **settings})


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What has been logged, at any level."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


# -- yes


@METHODS
def test_a_yes_is_given_at_once_and_whole(open_door: OpenDoor, method: str) -> None:
    attempt = open_door().attempt(Check(), method)
    assert attempt.after == 0
    assert attempt.answer == answer(**({"pubkey": ...} if method == "ticket" else {}))


def test_each_client_gets_its_own_copy_of_extra(open_door: OpenDoor) -> None:
    door, check = open_door(), Check()
    first = door.attempt(check).answer
    assert first is not None
    first["extra"]["x_cb_peer"] = "added by the router"
    first["extra"]["foo"][1]["bar"] = "changed by the router"
    second = door.attempt(check).answer
    assert second is not None
    assert second["extra"] == check.outcome["extra"] == answer()["extra"]


def test_the_check_sees_the_claim_in_the_one_form_we_keep(open_door: OpenDoor) -> None:
    check = Check()
    open_door().attempt(check, "cryptosign", authextra={"pubkey": KEY.upper(), "challenge": None}, realm=None)
    (claim,) = check.asked
    assert (claim.realm, claim.authid, claim.pubkey, claim.ticket) == (None, "alice", KEY, "")


# -- no, and when


@METHODS
@pytest.mark.parametrize("took", [0.0, 0.08, 0.16, 0.2499])
@pytest.mark.parametrize("reason", ["no such credential", "revoked", "expired", "not yet", "claims another realm"])
def test_every_refusal_comes_at_the_same_time_in_the_same_words(
    open_door: OpenDoor, method: str, reason: str, took: float
) -> None:
    door, pending = open_door(), Deferred()
    attempt = door.attempt(Check(pending), method)
    door.clock.advance(took)
    pending.errback(Refused(reason, **FOUND))
    door.clock.advance(DELAY - took - 1e-6)
    assert not attempt.answered
    door.clock.advance(2e-6)
    assert attempt.after == pytest.approx(DELAY, abs=1e-4)
    assert attempt.no == REFUSED[method]


def test_hundreds_of_refusals_after_checks_of_any_length_are_all_alike(open_door: OpenDoor) -> None:
    door, chance = open_door(), random.Random(4)
    attempts = []
    for number in range(300):
        pending: Deferred[Any] = Deferred()
        attempts.append(door.attempt(Check(pending)))
        reason = chance.choice(["no such credential", "revoked", "expired"])
        door.clock.callLater(chance.uniform(0, 0.24), pending.errback, Refused(f"{reason} {number}"))
    door.clock.pump([0.001] * 500)
    assert {(attempt.no, round(attempt.after or 0, 3)) for attempt in attempts} == {(REFUSED["ticket"], DELAY)}


@pytest.mark.parametrize(("took", "answered"), [(0.26, 0.5), (0.49, 0.5), (0.51, 0.75), (4.9, 5.0)])
def test_a_check_that_was_slow_is_answered_on_the_next_beat(open_door: OpenDoor, took: float, answered: float) -> None:
    door, pending = open_door(), Deferred()
    attempt = door.attempt(Check(pending))
    door.clock.advance(took)
    pending.errback(Refused("no such credential"))
    door.clock.advance(answered - took - 1e-6)
    assert not attempt.answered
    door.clock.advance(2e-6)
    assert attempt.no == REFUSED["ticket"]
    assert attempt.after == pytest.approx(answered, abs=1e-4)


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        ({"realm": "no realm"}, "realm"),
        ({"authid": "\ud800"}, "authid"),
        ({"authid": None}, "authid"),
        ({"ticket": ""}, "ticket"),
        ({"authextra": [1]}, "authextra"),
        ({"authextra": {"channel_binding": 1}}, "channel_binding"),
        ({"authmethod": "cryptosign"}, "authmethod"),
    ],
)
def test_what_is_malformed_is_never_checked(open_door: OpenDoor, claim: dict[str, Any], rule: str) -> None:
    door, check = open_door(), Check()
    attempt = door.attempt(check, **claim)
    door.clock.advance(DELAY)
    assert (attempt.uri, attempt.after, check.asked) == ("com.example.malformed", DELAY, [])
    assert attempt.no and rule in attempt.no[1]


def test_a_throttled_attempt_costs_no_check_and_is_told_how_long_to_wait(open_door: OpenDoor) -> None:
    door, check = open_door(failures_at_once=2, failures_per_second=0.1), Check(Refused("no such credential"))
    for _ in range(2):
        door.attempt(check)
    attempt = door.attempt(check)
    door.clock.advance(DELAY)
    assert attempt.no == ("com.example.too_many_attempts", "too many failed attempts - try again in 11 seconds")
    assert (attempt.after, len(check.asked)) == (DELAY, 2)
    door.clock.advance(11)
    assert door.attempt(Check()).answer  # it was no empty promise


def test_success_gives_back_what_failures_have_used_up(open_door: OpenDoor) -> None:
    door = open_door(failures_at_once=3, failures_per_second=0.001)
    for _ in range(5):
        failures = [door.attempt(Check(Refused("no such credential"))) for _ in range(2)]
        door.clock.advance(DELAY)
        assert [attempt.no for attempt in failures] == [REFUSED["ticket"]] * 2
        assert door.attempt(Check()).answer


# -- our fault


@pytest.mark.parametrize(
    "error",
    [ValueError("x y z"), OSError(5, "x y z"), AssertionError(), RecursionError("x y z"), names.Malformed("x y z")],
)
def test_an_exception_is_our_fault_and_its_text_stays_with_us(
    open_door: OpenDoor, logged: list[str], error: Exception
) -> None:
    door = open_door()
    attempt = door.attempt(Check(error))
    door.clock.advance(DELAY)
    (record,) = door.audit
    uri, text = attempt.no or ("", "")
    assert (uri, attempt.after) == ("com.example.unavailable", DELAY)
    assert text == f"authentication is unavailable - try again later (reference {record['reference']})"
    assert type(error).__name__ in record["reason"]
    assert str(error) in record["reason"]
    assert [line for line in logged if record["reference"] in line and record["reason"] in line]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_exception_that_cannot_be_printed_is_our_fault_too(open_door: OpenDoor) -> None:
    door = open_door()
    attempt = door.attempt(Check(Unprintable()))
    door.clock.advance(DELAY)
    assert attempt.uri == "com.example.unavailable"


@pytest.mark.parametrize("ticket", [TICKET, "back\\slash", "quo'te\"s", "täcket", "tab\tnul\0", "a" * 1024, "{reason}"])
def test_a_ticket_that_an_exception_quotes_is_blotted_out(open_door: OpenDoor, logged: list[str], ticket: str) -> None:
    door = open_door()
    for text in (f"bad {ticket} ", f"bad {ticket!r} ", "bad " + json.dumps(ticket), f"bad {ticket.encode()!r}"):
        door.attempt(Check(ValueError(text)), ticket=ticket)
    written = door.audit_file.read_text() + "".join(logged)
    for form in (ticket, repr(ticket)[1:-1], json.dumps(ticket)[1:-1], repr(ticket.encode())[2:-1]):
        assert form not in written


@pytest.mark.parametrize("late", [answer(), Refused("revoked"), ValueError("late")])
def test_the_deadline_ends_a_check_and_what_it_says_later_is_thrown_away(
    open_door: OpenDoor, logged: list[str], late: Any
) -> None:
    door, pending = open_door(), Deferred()
    attempt = door.attempt(Check(pending))
    door.clock.advance(DEADLINE - 0.001)
    assert not attempt.answered
    door.clock.advance(0.001)
    assert (attempt.uri, attempt.after) == ("com.example.unavailable", DEADLINE)
    before = len(logged), door.audit
    pending.callback(late) if isinstance(late, dict) else pending.errback(late)
    door.clock.advance(DEADLINE)
    gc.collect()  # a Deferred that failed unheard complains as it goes
    assert (len(logged), door.audit) == before
    assert attempt.answer is None
    assert [record["outcome"] for record in door.audit] == ["unavailable"]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
ILL: dict[str, Any] = {
    "no answer": None,
    "a string": "frontend",
    "a list": [],
    "a number": 1,
    **{f"no {name}": answer(**{name: ...}) for name in ("realm", "authid", "role", "extra")},
    **{f"{name} is a number": answer(**{name: 1}) for name in ("realm", "authid", "role", "extra")},
    **{f"{name} is null": answer(**{name: None}) for name in ("realm", "authid", "role", "extra")},
    **{f"{name} is empty": answer(**{name: ""}) for name in ("realm", "authid", "role", "extra")},
    "role trusted": answer(role="trusted"),
    "role anonymous": answer(role="anonymous"),
    "authid in bytes": answer(authid=b"alice"),
    "extra is a list": answer(extra=[]),
    "extra with a set": answer(extra={"a": {1}}),
    "extra with bytes": answer(extra={"a": b"1"}),
    "extra with NaN": answer(extra={"a": float("nan")}),
    "extra with a lone surrogate": answer(extra={"a": "\ud800"}),
    "extra with a lone surrogate in a name": answer(extra={"\ud800": 1}),
    "extra with a number beyond 64 bits": answer(extra={"a": 2**64}),
    "extra in itself": answer(extra={"a": CYCLE}),
    "extra too deep": answer(extra={"a": DEEP}),
}
ILL_KEY = {
    "no pubkey": answer(pubkey=...),
    "pubkey is null": answer(pubkey=None),
    "pubkey is a number": answer(pubkey=1),
    "pubkey in bytes": answer(pubkey=KEY.encode()),
    "pubkey too short": answer(pubkey=KEY[:-1]),
    "pubkey isn't hexadecimal": answer(pubkey="xy" * 32),
}


@pytest.mark.parametrize(
    ("method", "given"),
    [pytest.param(method, given, id=f"{method}: {name}") for method in REFUSED for name, given in ILL.items()]
    + [pytest.param("cryptosign", given, id=f"cryptosign: {name}") for name, given in ILL_KEY.items()],
)
def test_an_answer_that_would_hang_the_client_never_reaches_the_router(
    open_door: OpenDoor, logged: list[str], method: str, given: Any
) -> None:
    door = open_door()
    attempt = door.attempt(Check(given), method)
    door.clock.advance(DELAY)
    assert (attempt.uri, attempt.after) == ("com.example.unavailable", DELAY)
    (record,) = door.audit
    assert record["outcome"] == "unavailable"
    assert [line for line in logged if record["reference"] in line]


# -- so many at a time


def test_one_attempt_at_a_time_on_a_connection(open_door: OpenDoor) -> None:
    door, pending = open_door(), Deferred()
    first = door.attempt(Check(pending), **connection(7))
    second = door.attempt(Check(), **connection(7))
    other = door.attempt(Check(), **connection(8))
    door.clock.advance(DELAY)
    assert (first.after, second.no, other.answer) == (None, ONE_AT_A_TIME, answer(pubkey=...))
    pending.callback(answer())
    assert first.answer == answer(pubkey=...)
    assert door.attempt(Check(), **connection(7)).answer


def test_the_next_attempt_must_wait_for_the_answer_to_the_last(open_door: OpenDoor) -> None:
    """Otherwise a client could send guesses at any rate, and the delay would slow nobody."""
    door, check = open_door(), Check(Refused("no such credential"))
    attempts = [door.attempt(check, **connection(7)) for _ in range(300)]
    door.clock.advance(DELAY)
    assert [attempt.no for attempt in attempts] == [REFUSED["ticket"]] + [ONE_AT_A_TIME] * 299
    assert len(check.asked) == 1


def test_a_connection_that_gets_another_session_id_is_still_the_same(open_door: OpenDoor) -> None:
    """After an ABORT the router hands out another session id, while the attempt that is underway goes on. Two that
    succeed would confuse the router: it would forget to detach the session when the connection is gone."""
    door = open_door()
    first = door.attempt(Check(Deferred()), **connection(7))
    second = door.attempt(Check(), **{**connection(7), "session": 8})
    door.clock.advance(DELAY)
    assert (first.after, second.no) == (None, ONE_AT_A_TIME)


def test_clients_of_a_unix_socket_have_only_their_session_ids(open_door: OpenDoor) -> None:
    door, transport = open_door(), {"peer": "unix"}
    first = door.attempt(Check(Deferred()), session=7, transport=transport)
    same, other = (door.attempt(Check(), session=session, transport=transport) for session in (7, 8))
    door.clock.advance(DELAY)
    assert (first.after, same.no, other.answer) == (None, ONE_AT_A_TIME, answer(pubkey=...))


def test_a_flood_beyond_the_limit_is_told_to_come_back(open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNDERWAY", 3)
    door, waiting = open_door(), [Deferred() for _ in range(3)]
    inside = [door.attempt(Check(pending)) for pending in waiting]
    check = Check()
    outside = [door.attempt(check) for _ in range(7)]
    door.clock.advance(DELAY)
    assert {attempt.uri for attempt in outside} == {"com.example.unavailable"}
    assert check.asked == []
    for pending in waiting:
        pending.callback(answer())
    assert all(attempt.answer for attempt in inside)
    assert door.attempt(check).answer


def test_refusing_what_is_too_much_does_not_itself_pile_up(
    open_door: OpenDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of attempts in one write may leave no more than the limit's worth of pending calls."""
    monkeypatch.setattr(module, "MAX_UNDERWAY", 10)
    door = open_door()
    for _ in range(1000):
        door.attempt(Check(Deferred()), **connection(7))
        door.attempt(Check(Deferred()))
    assert len(door.clock.getDelayedCalls()) <= 11


def test_nothing_is_left_behind(open_door: OpenDoor) -> None:
    """Whatever came of them, hundreds of attempts leave one timer, which writes the summary and is gone, too."""
    outcomes = (answer(), None, Refused("revoked"), ValueError("x"), Deferred())
    door = open_door()
    for round_ in range(50):
        for outcome in outcomes:
            door.attempt(Check(outcome))
        door.attempt(Check(), ticket="")
        door.attempt(Check(Deferred()), **connection(10_000 + round_))
        door.attempt(Check(), **connection(10_000 + round_))
        door.clock.advance(0.001)
    door.clock.advance(2 * DEADLINE)
    assert (len(door.clock.getDelayedCalls()), door.held()) == (1, 0)
    door.clock.advance(SUMMARY)
    assert (door.clock.getDelayedCalls(), door.held()) == ([], 0)


# -- for the record


@pytest.mark.parametrize(
    ("check", "claim", "written"),
    [
        (Check(), {}, {"outcome": "accepted", **FOUND}),
        (Check(Refused("expired", **FOUND)), {}, {"outcome": "refused", "reason": "expired", **FOUND}),
        (
            Check(Refused("no such credential")),
            {"authid": "mallory", "realm": None},
            {"outcome": "refused", "reason": "no such credential", "claimed": "mallory"},
        ),
        (
            Check(),
            {"ticket": ""},
            {"outcome": "malformed", "reason": "a ticket is 1 to 1024 characters of text", "claimed": None},
        ),
    ],
)
def test_each_attempt_leaves_one_record(
    open_door: OpenDoor, check: Check, claim: dict[str, Any], written: dict[str, str]
) -> None:
    door = open_door()
    door.attempt(check, **claim)
    door.clock.advance(DELAY)
    (record,) = door.audit
    always = {"method": "ticket", "claimed": "alice", "peer": "192.0.2.1", "session": 1, "duration": 0.0}
    expected = {name: value for name, value in {**always, **written}.items() if value is not None}
    del record["time"]
    assert record == expected


def test_a_key_that_was_shown_is_recorded_as_challenged_not_as_accepted(open_door: OpenDoor) -> None:
    door = open_door()
    door.attempt(Check(), "cryptosign", authid=None)
    (record,) = door.audit
    del record["time"]
    assert record == {
        "outcome": "challenged", "method": "cryptosign", "claimed": KEY, **FOUND,
        "peer": "192.0.2.1", "session": 1, "duration": 0.0,
    }  # fmt: skip


def test_the_record_says_how_long_it_took_to_decide(open_door: OpenDoor) -> None:
    door, pending = open_door(), Deferred()
    door.attempt(Check(pending))
    door.clock.advance(0.08)
    pending.errback(Refused("no such credential"))
    assert door.audit[0]["duration"] == 0.08


class Full:
    """An audit on a full disk, or whose file was closed when a rotation failed."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def record(self, outcome: str, **fields: Any) -> None:
        raise self._error


FAILURES = pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")], ids=repr
)


@FAILURES
def test_nobody_gets_in_unrecorded(open_door: OpenDoor, error: Exception, logged: list[str]) -> None:
    door = open_door()
    door.guard._audit = Full(error)  # type: ignore[assignment]
    attempt = door.attempt(Check())
    door.clock.advance(DELAY)
    assert attempt.uri == "com.example.unavailable"
    assert [line for line in logged if str(error) in line]


@FAILURES
def test_a_refusal_that_cannot_be_recorded_looks_like_any_other(
    open_door: OpenDoor, error: Exception, logged: list[str]
) -> None:
    door = open_door()
    door.guard._audit = Full(error)  # type: ignore[assignment]
    attempt = door.attempt(Check(Refused("no such credential")))
    door.clock.advance(DELAY)
    assert (attempt.no, attempt.after) == (REFUSED["ticket"], DELAY)
    assert [line for line in logged if str(error) in line]


def test_a_full_disk_is_some_lines_in_the_log_and_not_one_for_each_refusal(
    open_door: OpenDoor, logged: list[str]
) -> None:
    door = open_door()
    door.guard._audit = Full(OSError(28, "No space left on device"))  # type: ignore[assignment]
    for _ in range(500):
        door.attempt(Check(Refused("no such credential")))
    door.clock.advance(SUMMARY)
    assert 1 < len(logged) < 50
    assert logged[-1] == "500 attempts were refused in 60 s"


def test_a_flood_of_refusals_is_one_line_in_the_log(open_door: OpenDoor, logged: list[str]) -> None:
    door = open_door(failures_at_once=100)
    for _ in range(500):
        door.attempt(Check(Refused("no such credential")))  # 100 refused, 400 throttled
        door.attempt(Check(), ticket="")
    door.clock.advance(SUMMARY - 0.001)
    assert logged == []
    door.clock.advance(0.001)
    assert logged == ["1000 attempts were refused in 60 s"]
    door.clock.advance(10 * SUMMARY)
    assert len(logged) == 1
    door.attempt(Check(Refused("no such credential")))
    door.clock.advance(SUMMARY)
    assert logged[1:] == ["1 attempts were refused in 60 s"]


def test_a_flood_that_is_our_fault_is_some_lines_and_not_one_each(open_door: OpenDoor, logged: list[str]) -> None:
    """A stranger can keep the hash queue full. The audit has each attempt, with its reference."""
    door = open_door()
    for _ in range(500):
        door.attempt(Check(ValueError("busy")))
    door.clock.advance(SUMMARY)
    assert 1 < len(logged) < 50
    assert logged[-1] == "500 attempts were refused in 60 s"
    assert len({record["reference"] for record in door.audit}) == 500


@pytest.mark.parametrize("transport", [None, "x", 5, [], {}, {"peer": None}, {"peer": 7}, {"http_headers_received": 3}])
@pytest.mark.parametrize("session", [None, "x", [], {}])
def test_odd_details_of_the_transport_lead_to_an_answer_all_the_same(
    open_door: OpenDoor, transport: Any, session: Any
) -> None:
    door = open_door()
    attempt = door.attempt(Check(Refused("no such credential")), transport=transport, session=session)
    door.clock.advance(DELAY)
    assert attempt.uri in ("com.example.invalid_ticket", "com.example.unavailable")


@pytest.mark.parametrize("details", [None, [], "x", 1])
def test_details_that_are_no_details_are_malformed(open_door: OpenDoor, details: Any) -> None:
    door = open_door()
    attempt = Attempt(door.clock, door.guard.wrap("ticket", Check()), ("realm1", "alice", details))
    door.clock.advance(DELAY)
    assert attempt.uri == "com.example.malformed"
