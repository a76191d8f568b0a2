"""How is it refused? Each promise of guard.py and checks.py, on a clock that the test turns by hand."""

import asyncio
import enum
import gc
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from autobahn.wamp.exception import ApplicationError
from conftest import AUDITS, read_audit
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock

from wampauth import admission, names, turns
from wampauth import guard as module
from wampauth.admission import Admissions
from wampauth.audit import Audit
from wampauth.claims import Claim, KeyClaim, Principal, Refused
from wampauth.guard import Guard
from wampauth.places import Busy, Places
from wampauth.settings import Settings
from wampauth.store import StoreError
from wampauth.turns import Turns

DELAY, DEADLINE, SUMMARY = 0.25, 5.0, 60.0  # seconds; the defaults
TICKET = "open-sesame"
KEY = bytes(SigningKey(bytes(32)).verify_key).hex()
FOUND: dict[str, Any] = {"authid": "alice", "credential": "0123456789abcdef", "realm": "realm1", "role": "frontend"}
REFUSED = {
    "ticket": (
        "com.example.invalid_ticket",
        "could not authenticate session - invalid ticket for principal alice",
    ),
    "cryptosign": ("com.example.no_such_user", f"no principal with matching public key 0x{KEY}"),
}
ONE_AT_A_TIME = ("com.example.malformed", "one attempt at a time")
METHODS = pytest.mark.parametrize("method", REFUSED)


def answer(**changes: Any) -> Principal:
    """A complete answer, with changes."""
    whole: dict[str, Any] = {
        "realm": "realm1",
        "authid": "alice",
        "role": "frontend",
        "extra": {"foo": [1, {"bar": None}]},
        "pubkey": KEY,
        "credential": FOUND["credential"],
    }
    return Principal(**{**whole, **changes})


def told(**changes: Any) -> dict[str, Any]:
    """What the router is told of that answer, but for the mark."""
    extra = {"foo": [1, {"bar": None}], "credential": FOUND["credential"]}
    return {"realm": "realm1", "authid": "alice", "role": "frontend", "extra": extra, **changes}


def connection(number: int, address: str = "192.0.2.1") -> dict[str, Any]:
    """What the router says of a connection."""
    return {"session": number, "transport": {"peer": f"tcp4:{address}:{number}"}}


class Check:
    """A check that says what it is told to, and remembers what it was asked."""

    def __init__(self, outcome: Any = ...) -> None:
        self.outcome = answer() if outcome is ... else outcome
        self.asked: list[Claim] = []

    async def __call__(self, claim: Claim) -> Any:
        self.asked.append(claim)
        outcome = await self.outcome if isinstance(self.outcome, Deferred) else self.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Attempt:
    """One login, and what came of it."""

    def __init__(self, clock: Clock, procedure: Any, claimed: tuple[Any, Any, Any]) -> None:
        self.answer: dict[str, Any] | None = None
        self.mark: str | None = None  # that makes the session known to `Sessions`
        self.proven: list[str] = []  # procedure and receipt, by which a right proof is told
        self.no: tuple[str, str] | None = None  # URI and text
        self.after: float | None = None  # seconds until it was answered
        self._clock, self._started = clock, clock.seconds()
        self._asked = maybeDeferred(procedure, *claimed).addCallbacks(self._accepted, self._refused)

    def give_up(self) -> None:
        """The router wants no answer any more: the proxy that has asked for it is gone."""
        self._asked.cancel()

    @property
    def answered(self) -> bool:
        return self.after is not None

    @property
    def uri(self) -> str | None:
        """What it was refused with."""
        return self.no[0] if self.no else None

    def _accepted(self, given: dict[str, Any]) -> None:
        self.mark, self.proven = given["extra"].pop("wampauth"), given.pop("wampauth_proven", [])
        self.answer, self.after = given, self._clock.seconds() - self._started

    def _refused(self, failure: Any) -> None:
        self.after, error = self._clock.seconds() - self._started, failure.value
        self.no = (error.error, *error.args) if isinstance(error, ApplicationError) else ("not ours", repr(error))


class Guarded:
    """A guard with an audit file of its own, and clients that try to get past it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.audit_file = folder / "audit.jsonl"
        self.admissions = Admissions("com.example.", bytes(32))
        AUDITS.append(audit := Audit(str(self.audit_file)))
        self.guard = Guard(self.clock, Settings(**settings), audit, "com.example.", self.admissions)
        self._number = itertools.count(1)

    def attempt(self, check: Any, method: str = "ticket", **claim: Any) -> Attempt:
        """Try once; what isn't said is what an honest client would say, on a connection of its own."""
        authextra = {"pubkey": KEY} if method == "cryptosign" else None
        details = {"authmethod": method, "authextra": authextra, "ticket": TICKET, **connection(next(self._number))}
        claimed = (claim.pop("realm", "realm1"), claim.pop("authid", "alice"), {**details, **claim})
        return Attempt(self.clock, self.guard.wrap(method, check), claimed)

    @property
    def audit(self) -> list[dict[str, Any]]:
        return read_audit(self.audit_file.parent.glob("audit*.jsonl"))

    def held(self) -> int:
        """How many things the guard keeps in all its collections, but for the throttle's buckets."""
        return sum(
            len(value) for value in vars(self.guard).values() if isinstance(value, set | dict | list | Places | Turns)
        )


MakeGuarded = Callable[..., Guarded]


@pytest.fixture
def guarded(tmp_path: Path) -> MakeGuarded:
    return lambda **settings: Guarded(tmp_path, **{"failures_at_once": 1_000_000, **settings})


# -- yes


@METHODS
def test_a_yes_is_given_at_once_and_whole(guarded: MakeGuarded, method: str) -> None:
    attempt = guarded().attempt(Check(), method)
    assert attempt.after == 0
    assert attempt.answer == told(**({"pubkey": KEY} if method == "cryptosign" else {}))


def test_each_client_gets_its_own_copy_of_extra(guarded: MakeGuarded) -> None:
    guard, check = guarded(), Check()
    first = guard.attempt(check).answer
    assert first is not None
    first["extra"]["x_cb_peer"] = "added by the router"
    first["extra"]["foo"][1]["bar"] = "changed by the router"
    second = guard.attempt(check).answer
    assert second is not None
    assert second["extra"] == told()["extra"]
    assert check.outcome.extra == answer().extra


def test_the_check_sees_the_claim_in_the_one_form_we_keep(guarded: MakeGuarded) -> None:
    check = Check()
    guarded().attempt(check, "cryptosign", authextra={"pubkey": KEY.upper(), "challenge": None}, realm=None)
    (claim,) = check.asked
    assert isinstance(claim, KeyClaim)
    assert (claim.realm, claim.authid, claim.pubkey) == (None, "alice", KEY)
    assert claim.origin is not None and claim.origin.address == "192.0.2.1"


# -- no, and when


@METHODS
@pytest.mark.parametrize("took", [0.0, 0.08, 0.16, 0.2499])
@pytest.mark.parametrize("reason", ["no such credential", "revoked", "expired", "not yet", "claims another realm"])
def test_every_refusal_comes_at_the_same_time_in_the_same_words(
    guarded: MakeGuarded, method: str, reason: str, took: float
) -> None:
    guard, pending = guarded(), Deferred()
    attempt = guard.attempt(Check(pending), method)
    guard.clock.advance(took)
    pending.errback(Refused(reason, **FOUND))
    guard.clock.advance(DELAY - took - 1e-6)
    assert not attempt.answered
    guard.clock.advance(2e-6)
    assert attempt.after == pytest.approx(DELAY, abs=1e-4)
    assert attempt.no == REFUSED[method]


def test_hundreds_of_refusals_after_checks_of_any_length_are_all_alike(guarded: MakeGuarded) -> None:
    guard, chance = guarded(), random.Random(4)
    attempts = []
    for number in range(300):
        pending: Deferred[Any] = Deferred()
        attempts.append(guard.attempt(Check(pending)))
        reason = chance.choice(["no such credential", "revoked", "expired"])
        guard.clock.callLater(chance.uniform(0, 0.24), pending.errback, Refused(f"{reason} {number}"))
    guard.clock.pump([0.001] * 500)
    assert {(attempt.no, round(attempt.after or 0, 3)) for attempt in attempts} == {(REFUSED["ticket"], DELAY)}


@pytest.mark.parametrize(("took", "answered"), [(0.26, 0.5), (0.49, 0.5), (0.51, 0.75), (4.9, 5.0)])
def test_a_check_that_was_slow_is_answered_on_the_next_beat(guarded: MakeGuarded, took: float, answered: float) -> None:
    guard, pending = guarded(), Deferred()
    attempt = guard.attempt(Check(pending))
    guard.clock.advance(took)
    pending.errback(Refused("no such credential"))
    guard.clock.advance(answered - took - 1e-6)
    assert not attempt.answered
    guard.clock.advance(2e-6)
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
def test_what_is_malformed_is_never_checked(guarded: MakeGuarded, claim: dict[str, Any], rule: str) -> None:
    guard, check = guarded(), Check()
    attempt = guard.attempt(check, **claim)
    guard.clock.advance(DELAY)
    assert (attempt.uri, attempt.after, check.asked) == ("com.example.malformed", DELAY, [])
    assert attempt.no and rule in attempt.no[1]


def test_a_throttled_attempt_costs_no_check_and_is_told_how_long_to_wait(guarded: MakeGuarded) -> None:
    guard, check = guarded(failures_at_once=2, failures_per_second=0.1), Check(Refused("no such credential"))
    for _ in range(2):
        guard.attempt(check)
    attempt = guard.attempt(check)
    guard.clock.advance(DELAY)
    assert attempt.no == ("com.example.too_many_attempts", "too many failed attempts - try again in 10 seconds")
    assert (attempt.after, len(check.asked)) == (DELAY, 2)
    guard.clock.advance(11)
    assert guard.attempt(Check()).answer  # it was no empty promise


def test_success_gives_back_what_failures_have_used_up(guarded: MakeGuarded) -> None:
    guard = guarded(failures_at_once=3, failures_per_second=0.001)
    for _ in range(5):
        failures = [guard.attempt(Check(Refused("no such credential"))) for _ in range(2)]
        guard.clock.advance(DELAY)
        assert [attempt.no for attempt in failures] == [REFUSED["ticket"]] * 2
        assert guard.attempt(Check()).answer


# -- our fault


@pytest.mark.parametrize(
    "error",
    [ValueError("x y z"), OSError(5, "x y z"), AssertionError(), RecursionError("x y z"), names.Malformed("x y z")],
)
def test_an_exception_is_our_fault_and_its_text_stays_with_us(
    guarded: MakeGuarded, logged: list[str], error: Exception
) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(error))
    guard.clock.advance(DELAY)
    (record,) = guard.audit
    uri, text = attempt.no or ("", "")
    assert (uri, attempt.after) == ("com.example.unavailable", DELAY)
    assert text == f"authentication is unavailable - try again later (reference {record['reference']})"
    assert type(error).__name__ in record["reason"]
    assert ("x y z" in record["reason"]) == isinstance(error, names.Malformed)  # a text of ours quotes nothing
    assert [line for line in logged if record["reference"] in line and record["reason"] in line]


SECRET = "stored-s3cr3t"


class Quoting(Mapping[str, Any]):
    """An ``extra`` whose reading fails."""

    def __getitem__(self, name: str) -> Any:
        raise KeyError(SECRET)

    def __iter__(self) -> Iterator[str]:
        return iter([SECRET])

    def __len__(self) -> int:
        return 1


class Ending(Quoting):
    """One that would end the process."""

    def __iter__(self) -> Iterator[str]:
        raise SystemExit(SECRET)


class Vouched(StoreError):
    """An author's own, whose text is for the log."""


@pytest.mark.parametrize(("oldest_leaves", "credential", "gets_in"), [(False, "c", 0), (True, "c", 1), (True, None, 0)])
def test_one_session_too_many(guarded: MakeGuarded, oldest_leaves: bool, credential: str | None, gets_in: bool) -> None:
    """If the oldest is to leave instead, somebody must end it: by the store, and so by the credential."""
    guard = guarded(oldest_leaves=oldest_leaves)
    guard.admissions.counts["realm1"] = lambda authid: 1
    attempt = guard.attempt(Check(answer(max_sessions=1, credential=credential)))
    guard.clock.advance(DELAY)
    assert (attempt.answer is not None) == gets_in


@pytest.mark.parametrize("method", ["ticket", "cryptosign", "wampcra"])
@pytest.mark.parametrize(
    "error",
    [
        *(kind(f"no password like {SECRET}") for kind in (ValueError, KeyError, RuntimeError, OSError, ImportError)),
        OSError(13, SECRET, SECRET),
        RuntimeError(f"no running event loop for {SECRET}"),
        ApplicationError("com.example.oops", SECRET, SECRET, secret=SECRET),
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        type("Own", (Exception,), {"__str__": lambda _: SECRET})(),
        answer(extra=Quoting()),
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_no_text_of_an_exception_that_may_quote_a_stored_secret_is_written(
    guarded: MakeGuarded, logged: list[str], method: str, error: Any
) -> None:
    """It knows what the check has read: of that nobody can say what is a secret."""
    guard = guarded(decoy=("realm1", "frontend"))
    attempt = guard.attempt(Check(error), method)
    guard.clock.advance(DELAY)
    assert attempt.uri == "com.example.unavailable"
    assert SECRET not in guard.audit_file.read_text() + "".join(logged) + str(attempt.no)
    assert "test_guard.py:" in guard.audit[0]["reason"]


def test_a_text_that_its_author_vouches_for_is_written(guarded: MakeGuarded) -> None:
    guard = guarded()
    guard.attempt(Check(Vouched(f"the directory is down, {TICKET}")))
    assert "Vouched: the directory is down, ... (test_guard.py:" in guard.audit[0]["reason"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def test_an_exception_that_cannot_be_printed_is_our_fault_too(guarded: MakeGuarded) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(Unprintable()))
    guard.clock.advance(DELAY)
    assert attempt.uri == "com.example.unavailable"


@pytest.mark.parametrize("ticket", [TICKET, "back\\slash", "quo'te\"s", "täcket", "tab\tnul\0", "a" * 1024, "{reason}"])
def test_a_ticket_that_an_exception_quotes_is_blotted_out(guarded: MakeGuarded, logged: list[str], ticket: str) -> None:
    guard = guarded()
    for text in (f"bad {ticket} ", f"bad {ticket!r} ", "bad " + json.dumps(ticket), f"bad {ticket.encode()!r}"):
        guard.attempt(Check(ValueError(text)), ticket=ticket)
    written = guard.audit_file.read_text() + "".join(logged)
    for form in (ticket, repr(ticket)[1:-1], json.dumps(ticket)[1:-1], repr(ticket.encode())[2:-1]):
        assert form not in written


@pytest.mark.parametrize("late", [answer(), Refused("revoked"), ValueError("late")])
def test_the_deadline_ends_a_check_and_what_it_says_later_is_thrown_away(
    guarded: MakeGuarded, logged: list[str], late: Any
) -> None:
    guard, pending = guarded(), Deferred()
    attempt = guard.attempt(Check(pending))
    guard.clock.advance(DEADLINE - 0.001)
    assert not attempt.answered
    guard.clock.advance(0.001)
    assert (attempt.uri, attempt.after) == ("com.example.unavailable", DEADLINE)
    before = len(logged), guard.audit
    pending.callback(late) if isinstance(late, Principal) else pending.errback(late)
    guard.clock.advance(DEADLINE)
    gc.collect()  # a Deferred that failed unheard complains as it goes
    assert (len(logged), guard.audit) == before
    assert attempt.answer is None
    assert [record["outcome"] for record in guard.audit] == ["unavailable"]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
ILL: dict[str, Any] = {
    "a string": "frontend",
    "a list": [],
    "a number": 1,
    "a dict": told(),
    "yes": True,
    **{f"{name} is a number": answer(**{name: 1}) for name in ("realm", "authid", "role", "extra", "credential")},
    **{f"{name} is null": answer(**{name: None}) for name in ("realm", "authid", "role", "extra")},
    **{f"{name} is empty": answer(**{name: ""}) for name in ("realm", "authid", "role", "extra", "credential")},
    "role trusted": answer(role="trusted"),
    "role anonymous": answer(role="anonymous"),
    "authid in bytes": answer(authid=b"alice"),
    "extra is a list": answer(extra=[]),
    "extra ends the process": answer(extra=Ending()),
    "extra with a set": answer(extra={"a": {1}}),
    "extra with bytes": answer(extra={"a": b"1"}),
    "extra with NaN": answer(extra={"a": float("nan")}),
    "extra with a lone surrogate": answer(extra={"a": "\ud800"}),
    "extra with a lone surrogate in a name": answer(extra={"\ud800": 1}),
    "extra with a number beyond 64 bits": answer(extra={"a": 2**64}),
    "extra in itself": answer(extra={"a": CYCLE}),
    "extra too deep": answer(extra={"a": DEEP}),
    "extra too long": answer(extra={"a": "a" * 4096}),
    **{f"extra with our own {name}": answer(extra={name: "x"}) for name in ("wampauth", "credential", "expires")},
    "credential in bytes": answer(credential=b"1"),
    "credential with a line break": answer(credential="a\nb"),
    "credential too long": answer(credential="a" * 129),
    "expires is text": answer(expires="2030-01-01"),
    "expires is NaN": answer(expires=float("nan")),
    "expires is infinite": answer(expires=float("inf")),
    "expires is yes": answer(expires=True),
    "expires is in milliseconds": answer(expires=1_900_000_000_000),
}
ILL_KEY = {
    "pubkey is a number": answer(pubkey=1),
    "pubkey in bytes": answer(pubkey=KEY.encode()),
    "pubkey too short": answer(pubkey=KEY[:-1]),
    "pubkey isn't hexadecimal": answer(pubkey="xy" * 32),
    "pubkey is another one": answer(pubkey="ab" * 32),
}


@pytest.mark.parametrize(
    ("method", "given"),
    [pytest.param(method, given, id=f"{method}: {name}") for method in REFUSED for name, given in ILL.items()]
    + [pytest.param("cryptosign", given, id=f"cryptosign: {name}") for name, given in ILL_KEY.items()],
)
def test_an_answer_that_would_hang_the_client_never_reaches_the_router(
    guarded: MakeGuarded, logged: list[str], method: str, given: Any
) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(given), method)
    guard.clock.advance(DELAY)
    assert (attempt.uri, attempt.after) == ("com.example.unavailable", DELAY)
    (record,) = guard.audit
    assert record["outcome"] == "unavailable"
    assert [line for line in logged if record["reference"] in line]


@METHODS
def test_none_is_a_no_like_any_other(guarded: MakeGuarded, method: str) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(None), method)
    guard.clock.advance(DELAY)
    assert (attempt.no, attempt.after) == (REFUSED[method], DELAY)
    assert guard.audit[0]["reason"] == "no such credential"


def test_a_check_may_leave_the_key_to_the_claim(guarded: MakeGuarded) -> None:
    attempt = guarded().attempt(Check(answer(pubkey=None)), "cryptosign")
    assert attempt.answer == told(pubkey=KEY)


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "ff" * 32])
def test_a_key_that_anybody_could_sign_for_is_refused_where_nobody_vouches_for_it(
    guarded: MakeGuarded, key: str
) -> None:
    """RFC 8032, section 8: a key of small order verifies forged signatures."""
    guard = guarded()
    attempt = guard.attempt(Check(answer(pubkey=None)), "cryptosign", authextra={"pubkey": key})
    guard.clock.advance(DELAY)
    assert attempt.uri == "com.example.no_such_user"


def test_a_principal_that_has_run_out_is_refused(guarded: MakeGuarded) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(answer(expires=1.0)))
    guard.clock.advance(DELAY)
    assert attempt.no == REFUSED["ticket"]
    assert (guard.audit[0]["reason"], guard.audit[0]["credential"]) == ("expired", FOUND["credential"])


def test_a_reason_that_quotes_the_ticket_is_blotted_out(guarded: MakeGuarded) -> None:
    guard = guarded()
    guard.attempt(Check(Refused(f"nobody has {TICKET}")))
    assert TICKET not in guard.audit_file.read_text()


@pytest.mark.parametrize("ticket", ["no", "such", "revoked", "e"])
@pytest.mark.parametrize("reason", ["no such credential", "revoked", "claims another realm"])
def test_a_guess_that_is_a_word_of_a_reason_is_not_told_by_it(guarded: MakeGuarded, reason: str, ticket: str) -> None:
    guard = guarded()
    guard.attempt(Check(Refused(reason)), ticket=ticket)
    guard.clock.advance(DELAY)
    assert guard.audit[0]["reason"] == reason


class Text(str, enum.Enum):  # noqa: UP042 - whose str() isn't its text
    """Names as a careful author keeps them."""

    ALICE, REALM, ROLE, CREDENTIAL = "alice", "realm1", "frontend", FOUND["credential"]


class Number(enum.IntEnum):
    """So with numbers."""

    ONE = 1


@METHODS
def test_names_that_an_author_keeps_in_an_enum_are_plain_text(guarded: MakeGuarded, method: str) -> None:
    """``Sessions`` wouldn't know such a session again, and an authid would seem to be another than is claimed."""
    known = {"authid": Text.ALICE, "realm": Text.REALM, "role": Text.ROLE, "credential": Text.CREDENTIAL}
    given = guarded().attempt(Check(answer(**known, extra={Text.ROLE: Text.ROLE, "n": [Number.ONE]})), method)
    assert given.answer is not None
    assert {type(value) for value in _leaves(given.answer)} == {str, int}
    assert given.answer["extra"]["frontend"] == "frontend"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


class Barred(Refused):
    """An author's own, that forgets to call ours."""

    found = MappingProxyType({"reason": "barred", "authid": "alice"})  # no name of a principal's

    def __init__(self, until: int) -> None:
        self.until = until


@pytest.mark.parametrize(
    ("no", "reason"),
    [
        (Refused(7), "7"),  # type: ignore[arg-type]
        (Refused(TICKET.encode()), "..."),  # type: ignore[arg-type]
        (Refused(None), "None"),  # type: ignore[arg-type]
        (Refused("gone", authid=7, credential=b"c1"), "gone"),  # type: ignore[arg-type]
        (Barred(7), "refused"),
    ],
)
def test_a_reason_of_any_kind_is_a_plain_no(guarded: MakeGuarded, no: Refused, reason: str) -> None:
    """An error of another kind would reach the client, with its text."""
    guard = guarded()
    attempt = guard.attempt(Check(no))
    guard.clock.advance(DELAY)
    assert attempt.no == REFUSED["ticket"]
    assert reason in guard.audit[0]["reason"]
    assert TICKET not in guard.audit_file.read_text()


# -- how an author may write a check


def plain(claim: Claim) -> Principal:
    return answer()


async def coroutine(claim: Claim) -> Principal:
    return answer()


def deferred(claim: Claim) -> "Deferred[Principal]":
    return succeed(answer())


@pytest.mark.parametrize("check", [plain, coroutine, deferred])
def test_a_check_answers_with_a_value_a_coroutine_or_a_deferred(guarded: MakeGuarded, check: Any) -> None:
    assert guarded().attempt(check).answer == told()


def says_no(claim: Claim) -> Principal:
    raise Refused("plainly no")


async def says_no_later(claim: Claim) -> Principal:
    raise Refused("plainly no")


def says_no_in_a_deferred(claim: Claim) -> "Deferred[Principal]":
    return fail(Refused("plainly no"))


@pytest.mark.parametrize("check", [says_no, says_no_later, says_no_in_a_deferred])
def test_a_check_says_no_in_each_of_these_ways(guarded: MakeGuarded, check: Any) -> None:
    guard = guarded()
    attempt = guard.attempt(check)
    guard.clock.advance(DELAY)
    assert attempt.no == REFUSED["ticket"]
    assert guard.audit[0]["reason"] == "plainly no"


def test_what_a_check_waits_for_is_cancelled_at_the_deadline(guarded: MakeGuarded) -> None:
    guard = guarded()
    cancelled: list[Any] = []
    guard.attempt(Check(Deferred(cancelled.append)))
    guard.clock.advance(DEADLINE)
    assert len(cancelled) == 1


async def waits_for_asyncio(claim: Claim) -> Principal:
    await asyncio.sleep(0.01)
    return answer()


def test_a_library_for_asyncio_is_recognised(guarded: MakeGuarded, logged: list[str]) -> None:
    guard = guarded()
    attempt = guard.attempt(waits_for_asyncio)
    guard.clock.advance(DELAY)
    assert attempt.uri == "com.example.unavailable"
    assert any("Libraries for asyncio don't run on Twisted's reactor" in line for line in logged)


async def sleeps_on_the_reactor(claim: Claim) -> Principal:
    await succeed(None)
    time.sleep(0.06)
    return answer()


def test_a_check_that_keeps_the_reactor_is_warned_of(guarded: MakeGuarded, logged: list[str]) -> None:
    guard = guarded()
    assert guard.attempt(sleeps_on_the_reactor).answer
    assert [line for line in logged if "sleeps_on_the_reactor kept the reactor for" in line]
    guard.clock.advance(SUMMARY)
    assert len(logged) == 1  # nothing was refused


# -- the authenticators' own realm


@METHODS
@pytest.mark.parametrize("realm", ["realm-auth", None])
def test_nobody_is_let_into_the_authenticators_own_realm(
    guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch, method: str, realm: str | None
) -> None:
    """Whoever put a principal there: the client gets the ordinary refusal, at the ordinary time."""
    monkeypatch.setattr("wampauth.guard.OWN_REALMS", {"realm-auth"})
    guard = guarded()
    outside = guard.attempt(Check(None), method)
    inside = guard.attempt(Check(answer(realm="realm-auth", role="authenticator")), method, realm=realm)
    guard.clock.advance(0.25)
    assert (inside.answer, inside.no, inside.after) == (None, outside.no, outside.after)
    record = guard.audit[-1]
    assert (record["outcome"], record["reason"]) == ("refused", "the authenticators' own realm")
    assert (record["authid"], record["realm"]) == ("alice", "realm-auth")


# -- pinned to the claim


@pytest.mark.parametrize(
    ("method", "claim", "reason"),
    [
        ("cryptosign", {"realm": "raelm1", "authid": "bob", "authrole": "backend"}, "claims another realm"),
        ("ticket", {"realm": "devices"}, "claims another realm"),
        ("ticket", {"realm": "Realm1"}, "claims another realm"),
        ("ticket", {"authid": "bob"}, "claims another authid"),
        ("ticket", {"authid": "Alice"}, "claims another authid"),
        ("cryptosign", {"realm": "devices"}, "claims another realm"),
        ("cryptosign", {"authid": "bob"}, "claims another authid"),
    ],
)
def test_a_claim_that_contradicts_the_answer(
    guarded: MakeGuarded, method: str, claim: dict[str, Any], reason: str
) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(), method, **claim)
    guard.clock.advance(DELAY)
    assert attempt.uri in ("com.example.invalid_ticket", "com.example.no_such_user")
    (record,) = guard.audit
    assert {name: record[name] for name in ("reason", *FOUND)} == {"reason": reason, **FOUND}
    claimed = {f"claimed_{name.replace('authrole', 'role')}": said for name, said in claim.items()}
    assert {name: said for name, said in record.items() if name.startswith("claimed_")} == claimed


def test_a_role_that_is_claimed_changes_nothing_and_is_recorded(guarded: MakeGuarded) -> None:
    guard = guarded()
    assert guard.attempt(Check(), "cryptosign", authrole="trusted").answer == told(pubkey=KEY)
    assert guard.attempt(Check(), "cryptosign", authrole="frontend").answer == told(pubkey=KEY)
    assert [(record.get("claimed_role"), record["role"]) for record in guard.audit] == [
        ("trusted", "frontend"),
        (None, "frontend"),
    ]


@pytest.mark.parametrize("said", ["x" * 1_000_000, "\ud800", "a\n{reason}", 7, ["realm1"], {"a": 1}, "", None])
@pytest.mark.parametrize("name", ["realm", "authid", "authrole"])
def test_whatever_is_claimed_is_one_short_line(guarded: MakeGuarded, name: str, said: Any) -> None:
    guard = guarded()
    guard.attempt(Check(None), "cryptosign", **{name: said})
    guard.clock.advance(DELAY)
    (record,) = guard.audit
    written = record.get(f"claimed_{name.replace('authrole', 'role')}")
    assert written == (f"{said[:160]}{'…' * (len(said) > 160)}" if isinstance(said, str) and said else None)


@pytest.mark.parametrize("realm", [None, "realm1"])
@pytest.mark.parametrize("authid", [None, "", "alice"])
def test_a_claim_may_be_open(guarded: MakeGuarded, realm: str | None, authid: str | None) -> None:
    assert guarded().attempt(Check(), "cryptosign", realm=realm, authid=authid).answer == told(pubkey=KEY)


def test_a_ticket_may_come_without_a_realm(guarded: MakeGuarded) -> None:
    assert guarded().attempt(Check(), realm=None).answer == told()


# -- a safe transport

PLAIN, TLS = {"peer": "tcp4:192.0.2.1:7"}, {"peer": "tcp4:192.0.2.1:7", "is_secure": True}
LOOPBACK = {"peer": "tcp4:127.0.0.1:7"}
BOUND = {"pubkey": KEY, "channel_binding": "tls-unique"}


@pytest.mark.parametrize(
    ("settings", "transport", "uri"),
    [
        ({"require_tls": True}, PLAIN, "com.example.tls_required"),
        ({"require_tls": True}, LOOPBACK, "com.example.tls_required"),
        ({"require_tls": True, "plain_from": ("loopback",)}, PLAIN, "com.example.tls_required"),
        ({"require_channel_binding": True}, TLS, "com.example.channel_binding_required"),
    ],
)
def test_an_unsafe_transport_is_told_before_the_check_is_asked(
    guarded: MakeGuarded, settings: dict[str, Any], transport: dict[str, Any], uri: str
) -> None:
    guard, check = guarded(**settings), Check()
    attempt = guard.attempt(check, "cryptosign", transport=transport)
    guard.clock.advance(DELAY)
    assert (attempt.uri, check.asked) == (uri, [])


@pytest.mark.parametrize(
    ("settings", "transport", "authextra"),
    [
        ({"require_tls": True}, TLS, {"pubkey": KEY}),
        ({"require_tls": True, "plain_from": ("loopback",)}, LOOPBACK, {"pubkey": KEY}),
        ({"require_channel_binding": True}, TLS, BOUND),
        ({"require_channel_binding": True, "plain_from": ("loopback",)}, LOOPBACK, {"pubkey": KEY}),
    ],
)
def test_a_safe_transport(
    guarded: MakeGuarded, settings: dict[str, Any], transport: dict[str, Any], authextra: dict[str, Any]
) -> None:
    assert guarded(**settings).attempt(Check(), "cryptosign", transport=transport, authextra=authextra).answer


def test_a_ticket_needs_no_channel_binding(guarded: MakeGuarded) -> None:
    assert guarded(require_channel_binding=True).attempt(Check(), transport=TLS).answer


# -- so many at a time


def test_one_attempt_at_a_time_on_a_connection(guarded: MakeGuarded) -> None:
    guard, pending = guarded(), Deferred()
    first = guard.attempt(Check(pending), **connection(7))
    second = guard.attempt(Check(), **connection(7))
    other = guard.attempt(Check(), **connection(8))
    guard.clock.advance(DELAY)
    assert (first.after, second.no, other.answer) == (None, ONE_AT_A_TIME, told())
    pending.callback(answer())
    assert first.answer == told()
    assert guard.attempt(Check(), **connection(7)).answer


def test_the_next_attempt_must_wait_for_the_answer_to_the_last(guarded: MakeGuarded) -> None:
    """Otherwise a client could send guesses at any rate, and the delay would slow nobody."""
    guard, check = guarded(), Check(Refused("no such credential"))
    attempts = [guard.attempt(check, **connection(7)) for _ in range(300)]
    guard.clock.advance(DELAY)
    too_many = ("com.example.malformed", "too many attempts on one connection")
    assert [attempt.no for attempt in attempts] == [REFUSED["ticket"]] + [ONE_AT_A_TIME] * 4 + [too_many] * 295
    assert len(check.asked) == 1


def test_a_connection_that_gets_another_session_id_is_still_the_same(guarded: MakeGuarded) -> None:
    """After an ABORT the router hands out another session id, while the attempt that is underway goes on. Two that
    succeed would confuse the router: it would forget to detach the session when the connection is gone."""
    guard = guarded()
    first = guard.attempt(Check(Deferred()), **connection(7))
    second = guard.attempt(Check(), **{**connection(7), "session": 8})
    guard.clock.advance(DELAY)
    assert (first.after, second.no) == (None, ONE_AT_A_TIME)


def test_clients_of_a_unix_socket_have_only_their_session_ids(guarded: MakeGuarded) -> None:
    guard, transport = guarded(), {"peer": "unix"}
    first = guard.attempt(Check(Deferred()), session=7, transport=transport)
    same, other = (guard.attempt(Check(), session=session, transport=transport) for session in (7, 8))
    guard.clock.advance(DELAY)
    assert (first.after, same.no, other.answer) == (None, ONE_AT_A_TIME, told())


def test_who_gets_no_turn_in_time_is_told_to_come_back(guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_UNDERWAY", 3)
    guard, waiting = guarded(), [Deferred() for _ in range(3)]
    inside = [
        guard.attempt(Check(pending), **connection(number, f"192.0.2.{number}"))
        for number, pending in enumerate(waiting)
    ]
    checks = [Check(Deferred()) for _ in range(7)]
    outside = [guard.attempt(check) for check in checks]
    guard.clock.pump([DEADLINE, 0.0, DEADLINE - 0.01])
    assert {attempt.uri for attempt in inside} == {"com.example.unavailable"}
    assert not any(attempt.answered for attempt in outside)
    guard.clock.pump([0.01, 0.0])
    asked = [bool(check.asked) for check in checks]
    assert asked == [True] * 2 + [False] * 5
    assert [attempt.uri for attempt in outside[:2]] == ["com.example.unavailable"] * 2
    assert [attempt.uri for attempt in outside[2:]] == ["com.example.too_many_attempts"] * 5
    assert guard.attempt(Check()).answer


def test_no_address_takes_the_places_of_all(guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_UNDERWAY", 16)
    guard = guarded()
    flood = [Check(Deferred()) for _ in range(100)]
    for check in flood:
        guard.attempt(check)
    guard.clock.advance(0)
    assert sum(len(check.asked) for check in flood) == 8
    assert guard.attempt(Check(), **connection(1, "192.0.2.2")).answer == told()


@pytest.mark.parametrize("claim", [{}, {"ticket": ""}], ids=["throttled", "malformed"])
def test_what_is_never_checked_takes_no_place(
    guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch, claim: dict[str, Any]
) -> None:
    """A thousand attempts of somebody who is throttled, or says what nobody understands, leave room for the others."""
    monkeypatch.setattr(turns, "MAX_UNDERWAY", 4)
    guard = guarded(failures_at_once=1, failures_per_second=0.001, address_factor=1)
    guard.attempt(Check(Refused("no such credential")))
    guard.clock.advance(DELAY)
    flood = [guard.attempt(Check(), **claim) for _ in range(1000)]
    assert not any(attempt.answered for attempt in flood)  # they wait for their time
    for number in range(2, 6):
        assert guard.attempt(Check(), **connection(1, f"192.0.2.{number}")).answer == told()


def test_those_who_wait_for_their_no_are_bounded_too(guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    guard = guarded()
    flood = [guard.attempt(Check(), ticket="") for _ in range(1000)]
    assert sum(attempt.after == 0 for attempt in flood) == 995
    assert len(guard.clock.getDelayedCalls()) == 6  # one is the summary's
    guard.clock.advance(DELAY)
    assert {attempt.uri for attempt in flood} == {"com.example.malformed"}


OURS: dict[str, Callable[[], Any]] = {
    "the store is away": lambda: OSError("away"),
    "nonsense": lambda: 7,
    "no answer in time": Deferred,
    "too much to do": lambda: Busy("too much", 3.0),
}


@METHODS
@pytest.mark.parametrize("outcome", OURS.values(), ids=OURS)
def test_a_fault_of_ours_costs_a_client_nothing(guarded: MakeGuarded, method: str, outcome: Callable[[], Any]) -> None:
    guard = guarded(failures_at_once=3, failures_per_second=0.001, address_factor=1)
    for _ in range(20):
        attempt = guard.attempt(Check(outcome()), method)
        guard.clock.advance(DEADLINE)
        assert attempt.uri in ("com.example.unavailable", "com.example.too_many_attempts")
    wrong = [guard.attempt(Check(Refused("no such credential")), method) for _ in range(4)]
    guard.clock.advance(DELAY)
    assert [attempt.uri for attempt in wrong] == [REFUSED[method][0]] * 3 + ["com.example.too_many_attempts"]


def test_a_turn_that_does_not_come_costs_nothing_either(guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "MAX_UNDERWAY", 1)
    guard = guarded(failures_at_once=2)
    pending: Deferred[Principal] = Deferred()
    guard.attempt(Check(pending), authid="bob")
    waiting = [guard.attempt(Check(Deferred())) for _ in range(20)]
    guard.clock.pump([DEADLINE, 0.0, DEADLINE, 0.0])
    assert [attempt.uri for attempt in waiting[1:]] == ["com.example.too_many_attempts"] * 19
    assert guard.attempt(Check()).answer == told()


# -- a key that is shown again and again


def shows(guard: Guarded, times: int, address: str = "192.0.2.1", **claim: Any) -> int:
    """How many of so many who show the key are challenged."""
    attempts = [
        guard.attempt(Check(), "cryptosign", **connection(next(SESSIONS), address), **claim) for _ in range(times)
    ]
    return sum(attempt.answer is not None for attempt in attempts)


SESSIONS = itertools.count(1000)


def test_a_key_that_is_shown_and_not_proven_is_a_failure_of_its_pair(guarded: MakeGuarded) -> None:
    guard = guarded(failures_at_once=10)
    assert shows(guard, 10) == 10
    waiting = [guard.attempt(Check(), "cryptosign") for _ in range(90)]
    guard.clock.pump([0.1] * 101)
    assert 8 <= sum(attempt.answer is not None for attempt in waiting) <= 10  # with time alone
    assert {attempt.uri for attempt in waiting if attempt.no} == {"com.example.too_many_attempts"}
    assert len(waiting) == sum(attempt.answered for attempt in waiting)
    assert shows(guard, 100, "192.0.2.2") == 10  # and the same key elsewhere is another pair


def test_it_is_no_failure_of_the_address(guarded: MakeGuarded) -> None:
    """A thousand devices behind one address show a thousand keys."""
    guard = guarded(failures_at_once=10)
    for number in range(1000):
        key = bytes(SigningKey(number.to_bytes(32, "big")).verify_key).hex()
        attempt = guard.attempt(Check(answer(pubkey=key)), "cryptosign", authextra={"pubkey": key})
        assert attempt.answer is not None


def test_who_joins_starts_afresh(guarded: MakeGuarded) -> None:
    guard = guarded(failures_at_once=2)
    for session in range(1, 101):
        assert guard.attempt(Check(), "cryptosign", **connection(session)).answer is not None
        guard.clock.advance(0.001)
        guard.admissions.challenged.joined(session)


def test_who_joins_too_late_has_failed(guarded: MakeGuarded) -> None:
    guard = guarded(failures_at_once=2, failures_per_second=0.001)
    for session in 1, 2:
        assert guard.attempt(Check(), "cryptosign", **connection(session)).answer is not None
    guard.clock.advance(2.1)
    for session in 1, 2, 77:
        guard.admissions.challenged.joined(session)
    assert shows(guard, 1) == 0


def test_what_is_remembered_of_those_who_were_challenged_is_bounded(
    guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = guarded()
    assert shows(guard, 50) == 50
    assert len(guard.admissions.challenged) == 50
    guard.clock.advance(2.1)
    shows(guard, 1)
    assert len(guard.admissions.challenged) == 1
    monkeypatch.setattr(admission, "MOST", 10)
    shows(guard, 100)
    assert len(guard.admissions.challenged) == 10


def test_refusing_what_is_too_much_does_not_itself_pile_up(
    guarded: MakeGuarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of attempts in one write may leave no more than the limit's worth of pending calls."""
    monkeypatch.setattr(turns, "MAX_UNDERWAY", 10)
    guard = guarded()
    for _ in range(1000):
        guard.attempt(Check(Deferred()), **connection(7))
        guard.attempt(Check(Deferred()))
    assert len(guard.clock.getDelayedCalls()) <= 13


def test_nothing_is_left_behind(guarded: MakeGuarded) -> None:
    """Whatever came of them, hundreds of attempts leave one timer, which writes the summary and is gone, too."""
    guard = guarded()
    for round_ in range(50):
        for outcome in (answer(), 7, Refused("revoked"), ValueError("x"), Deferred()):
            guard.attempt(Check(outcome))
        guard.attempt(Check(), ticket="")
        guard.attempt(Check(Deferred()), **connection(10_000 + round_))
        guard.attempt(Check(), **connection(10_000 + round_))
        guard.clock.advance(0.001)
    guard.clock.advance(2 * DEADLINE)
    assert (len(guard.clock.getDelayedCalls()), guard.held()) == (1, 0)
    guard.clock.advance(SUMMARY)
    assert (guard.clock.getDelayedCalls(), guard.held()) == ([], 0)


# -- for the record


MALFORMED_TICKET = {
    "outcome": "malformed",
    "reason": "a ticket is 1 to 1024 characters of text",
    "claimed": None,
    "claimed_authid": "alice",
    "claimed_realm": "realm1",
}


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
            Check(None),
            {"realm": "raelm1"},
            {"outcome": "refused", "reason": "no such credential", "claimed_realm": "raelm1"},
        ),
        (
            Check(),
            {"ticket": ""},
            MALFORMED_TICKET,
        ),
    ],
)
def test_each_attempt_leaves_one_record(
    guarded: MakeGuarded, check: Check, claim: dict[str, Any], written: dict[str, str]
) -> None:
    guard = guarded()
    guard.attempt(check, **claim)
    guard.clock.advance(DELAY)
    (record,) = guard.audit
    always = {"method": "ticket", "claimed": "alice", "peer": "192.0.2.1", "session": 1, "duration": 0.0}
    expected = {name: value for name, value in {**always, **written}.items() if value is not None}
    del record["time"]
    assert record == expected


def test_a_key_that_was_shown_is_recorded_as_challenged_not_as_accepted(guarded: MakeGuarded) -> None:
    guard = guarded()
    guard.attempt(Check(), "cryptosign", authid=None)
    (record,) = guard.audit
    del record["time"]
    assert record == {
        "outcome": "challenged", "method": "cryptosign", "claimed": KEY, **FOUND,
        "peer": "192.0.2.1", "session": 1, "duration": 0.0,
    }  # fmt: skip


def test_the_record_says_how_long_it_took_to_decide(guarded: MakeGuarded) -> None:
    guard, pending = guarded(), Deferred()
    guard.attempt(Check(pending))
    guard.clock.advance(0.08)
    pending.errback(Refused("no such credential"))
    assert guard.audit[0]["duration"] == 0.08


class Full:
    """An audit on a full disk, or whose file was closed when a rotation failed."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def record(self, outcome: str, **fields: Any) -> None:
        raise self._error

    def summarise(self) -> None:
        raise self._error


FAILURES = pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")], ids=repr
)


@FAILURES
def test_nobody_gets_in_unrecorded(guarded: MakeGuarded, error: Exception, logged: list[str]) -> None:
    guard = guarded()
    guard.guard._reports._audit = Full(error)  # type: ignore[assignment]
    attempt = guard.attempt(Check())
    guard.clock.advance(DELAY)
    assert attempt.uri == "com.example.unavailable"
    assert [line for line in logged if str(error) in line]


@FAILURES
def test_a_refusal_that_cannot_be_recorded_looks_like_any_other(
    guarded: MakeGuarded, error: Exception, logged: list[str]
) -> None:
    guard = guarded()
    guard.guard._reports._audit = Full(error)  # type: ignore[assignment]
    attempt = guard.attempt(Check(Refused("no such credential")))
    guard.clock.advance(DELAY)
    assert (attempt.no, attempt.after) == (REFUSED["ticket"], DELAY)
    assert [line for line in logged if str(error) in line]


def test_a_full_disk_is_some_lines_in_the_log_and_not_one_for_each_refusal(
    guarded: MakeGuarded, logged: list[str]
) -> None:
    guard = guarded()
    guard.guard._reports._audit = Full(OSError(28, "No space left on device"))  # type: ignore[assignment]
    for _ in range(500):
        guard.attempt(Check(Refused("no such credential")))
    guard.clock.advance(SUMMARY)
    assert 1 < len(logged) < 50
    assert logged[-1] == "500 attempts were refused in 60 s"


def test_a_flood_of_refusals_is_one_line_in_the_log(guarded: MakeGuarded, logged: list[str]) -> None:
    guard = guarded(failures_at_once=100)
    for _ in range(500):
        guard.attempt(Check(Refused("no such credential")))  # 100 refused, 400 throttled
        guard.attempt(Check(), ticket="")
    guard.clock.advance(SUMMARY - 0.001)
    assert logged == []
    guard.clock.advance(0.001)
    assert logged == ["1000 attempts were refused in 60 s"]
    guard.clock.advance(10 * SUMMARY)
    assert len(logged) == 1
    guard.attempt(Check(Refused("no such credential")))
    guard.clock.advance(SUMMARY)
    assert logged[1:] == ["1 attempt was refused in 60 s"]


def test_a_flood_that_is_our_fault_is_some_lines_and_not_one_each(guarded: MakeGuarded, logged: list[str]) -> None:
    """A stranger can keep the hash queue full. The audit has the first with their references, and counts the others."""
    guard = guarded()
    for _ in range(500):
        guard.attempt(Check(ValueError("busy")))
    guard.clock.advance(SUMMARY)
    assert 1 < len(logged) < 50
    assert logged[-1] == "500 attempts were refused in 60 s"
    *first, last = guard.audit
    assert len({record["reference"] for record in first}) == 100
    assert (last["outcome"], last["peer"], last["count"]) == ("unavailable", "192.0.2.1", 400)


@pytest.mark.parametrize("transport", [None, "x", 5, [], {}, {"peer": None}, {"peer": 7}, {"http_headers_received": 3}])
@pytest.mark.parametrize("session", [None, "x", [], {}])
def test_odd_details_of_the_transport_lead_to_an_answer_all_the_same(
    guarded: MakeGuarded, transport: Any, session: Any
) -> None:
    guard = guarded()
    attempt = guard.attempt(Check(Refused("no such credential")), transport=transport, session=session)
    guard.clock.advance(DELAY)
    assert attempt.uri in ("com.example.invalid_ticket", "com.example.unavailable")


@pytest.mark.parametrize("details", [None, [], "x", 1])
def test_details_that_are_no_details_are_malformed(guarded: MakeGuarded, details: Any) -> None:
    guard = guarded()
    attempt = Attempt(guard.clock, guard.guard.wrap("ticket", Check()), ("realm1", "alice", details))
    guard.clock.advance(DELAY)
    assert attempt.uri == "com.example.malformed"
