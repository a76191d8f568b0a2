"""What stands in the audit, who can read it, and what can a stranger put there?"""

import itertools
import json
import re
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import size_limit
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.logfile import LogFile

from wampauth import audit as module
from wampauth.admission import Admissions
from wampauth.audit import LONGEST, Audit, open_audit
from wampauth.claims import Principal, Refused
from wampauth.guard import Guard
from wampauth.settings import Settings

HERE = Path(__file__).parents[2]
FOUND = {"authid": "alice", "credential": "0123456789abcdef", "realm": "realm1"}
ANSWER = Principal("alice", "realm1", "frontend", credential=FOUND["credential"])
KEY = "ab" * 32


def documented() -> list[str]:
    """The fields that the schema in audit.py lists, in its order."""
    _, table, _ = re.split(r"^=+ =+$", str(module.__doc__), flags=re.MULTILINE)[0:3]
    return re.findall(r"^(\w+) ", table, flags=re.MULTILINE)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@pytest.fixture
def written(tmp_path: Path) -> list[dict[str, Any]]:
    """What the guard writes of attempts with every outcome there is."""
    clock, number = Clock(), itertools.count(1)
    guard = Guard(
        clock,
        Settings(failures_at_once=2),
        Audit(str(tmp_path / "audit.jsonl")),
        "com.example.",
        Admissions("com.example.", bytes(32)),
    )

    def attempt(method: str, outcome: Any, **claim: Any) -> None:
        async def check(*_: Any) -> Any:
            if isinstance(outcome, Exception):
                raise outcome
            return await outcome if isinstance(outcome, Deferred) else outcome

        details = {
            "authmethod": method,
            "ticket": "open-sesame",
            "authextra": {"pubkey": KEY},
            "session": next(number),
            "transport": {"peer": f"tcp4:192.0.2.1:{next(number)}"},
        }
        guard.wrap(method, check)("realm1", "alice", {**details, **claim}).addErrback(lambda _: None)
        clock.advance(10)

    attempt("ticket", ANSWER)
    attempt("cryptosign", replace(ANSWER, pubkey=KEY))
    attempt("ticket", Refused("expired", **FOUND))
    attempt("cryptosign", Refused("no such credential"))
    attempt("ticket", ANSWER, ticket=7)
    attempt("ticket", OSError("the store is away"))
    attempt("ticket", Deferred())
    guard._settings = Settings(refusal_delay=0)
    for _ in range(3):
        attempt("ticket", Refused("no such credential"), transport={"peer": "tcp4:192.0.2.2:1"})
        clock.rightNow -= 10
    return lines(tmp_path / "audit.jsonl")


def test_each_outcome_of_an_attempt_is_written_and_documented(written: list[dict[str, Any]]) -> None:
    outcomes = {record["outcome"] for record in written}
    assert outcomes == {"accepted", "challenged", "refused", "malformed", "throttled", "unavailable"}
    for outcome in outcomes | {"joined", "left", "ended"}:
        assert outcome in str(module.__doc__)


def test_every_documented_field_is_written_and_every_written_one_documented(written: list[dict[str, Any]]) -> None:
    assert {field for record in written for field in record} == set(documented())


def test_the_fields_come_in_the_documented_order(written: list[dict[str, Any]]) -> None:
    for record in written:
        assert list(record) == [field for field in documented() if field in record]


def test_the_fields_have_their_types_and_none_is_null(written: list[dict[str, Any]]) -> None:
    kinds = {"session": int, "duration": float}
    for record in written:
        for field, value in record.items():
            assert type(value) is kinds.get(field, str), field


def test_what_each_outcome_says(written: list[dict[str, Any]]) -> None:
    always = {"time", "outcome", "method", "peer", "session", "duration"}
    fields = {
        "accepted": {"claimed", "authid", "credential", "realm"},
        "challenged": {"claimed", "authid", "credential", "realm"},
        "malformed": {"reason"},
        "throttled": {"claimed", "reason"},
        "unavailable": {"claimed", "reason", "reference"},
    }
    for record in written:
        if record["outcome"] == "refused":
            found = {"authid", "credential", "realm"} if record["reason"] == "expired" else set()
            assert set(record) == always | {"claimed", "reason"} | found
        else:
            assert set(record) == always | fields[record["outcome"]]


def test_the_time_is_now_in_utc(tmp_path: Path) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("accepted")
    (record,) = lines(tmp_path / "audit.jsonl")
    time = datetime.fromisoformat(record["time"])
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


def test_what_does_not_apply_is_left_out(tmp_path: Path) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("refused", reason=None, session=0, claimed="")
    (record,) = lines(tmp_path / "audit.jsonl")
    assert list(record)[1:] == ["outcome", "claimed", "session"]


def test_only_its_owner_can_read_it_also_after_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE", 100)
    file = tmp_path / "audit.jsonl"
    audit = Audit(str(file))
    assert mode(file) == 0o600
    for _ in range(5):
        audit.record("refused", claimed="x" * 100)
    files = list(tmp_path.iterdir())
    assert len(files) > 1
    assert {mode(file) for file in files} == {0o600}


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    file.touch()
    file.chmod(0o644)
    Audit(str(file))
    assert mode(file) == 0o600


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    for number in range(3):
        Audit(str(tmp_path / "audit.jsonl")).record("refused", session=number)
    assert [record["session"] for record in lines(tmp_path / "audit.jsonl")] == [0, 1, 2]


def test_it_is_rotated_by_size_and_only_so_many_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE", 1000)
    monkeypatch.setattr(module, "KEEP", 3)
    audit = Audit(str(tmp_path / "audit.jsonl"))
    for number in range(500):
        audit.record("refused", session=number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.3"]
    assert max(file.stat().st_size for file in files) < 1200
    sessions = [record["session"] for file in [*files[:0:-1], files[0]] for record in lines(file)]
    assert sessions == list(range(sessions[0], 500))


HOSTILE = {
    "a new line": 'x\n{"outcome": "accepted"}',
    "a carriage return": "x\rX",
    "a terminal's escape sequence": "\x1b[2J\x1b]0;x\x07",
    "NUL": "a\0b",
    "a lone surrogate": "\ud800",
    "right to left": "\u202etxt.exe",
    "a line separator": "a\u2028b",
    "quotes and backslashes": 'a"b\\c',
    "emoji": "\U0001f600",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", ["claimed", "reason", "peer"])
def test_a_string_that_a_stranger_chose_is_one_line_of_ascii(tmp_path: Path, field: str, text: str) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("refused", **{field: text})
    raw = (tmp_path / "audit.jsonl").read_bytes()
    assert raw.count(b"\n") == 1
    assert all(byte in b"\n" or 32 <= byte < 127 for byte in raw)
    assert json.loads(raw)[field] == text


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 1_000_000])
def test_a_long_string_is_cut(tmp_path: Path, length: int) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("refused", claimed="\U0001f600" * length)
    (record,) = lines(tmp_path / "audit.jsonl")
    assert record["claimed"].rstrip("…") == "\U0001f600" * min(length, LONGEST)
    assert len(record["claimed"]) <= LONGEST + 1


def test_a_format_that_a_stranger_chose_is_not_filled_in(tmp_path: Path) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("refused", claimed="{log_level} {fields} %s {0}")
    assert lines(tmp_path / "audit.jsonl")[0]["claimed"] == "{log_level} {fields} %s {0}"


def test_one_file_has_one_writer(tmp_path: Path) -> None:
    assert open_audit(str(tmp_path / "a.jsonl")) is open_audit(str(tmp_path / "a.jsonl"))
    assert open_audit(str(tmp_path / "a.jsonl")) is not open_audit(str(tmp_path / "b.jsonl"))


def test_a_folder_that_is_not_there_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Audit(str(tmp_path / "nowhere" / "audit.jsonl"))


def test_a_full_disk_is_reported_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(str(tmp_path / "audit.jsonl"))

    def write(self: LogFile, data: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LogFile, "write", write)
    with pytest.raises(OSError, match="No space left"):
        audit.record("accepted")


def test_a_record_that_has_only_half_the_room_is_taken_back_and_reported(tmp_path: Path) -> None:
    """Who isn't recorded isn't let in; and the next record mustn't stand on the same line."""
    file = tmp_path / "audit.jsonl"
    audit = Audit(str(file))
    audit.record("refused", claimed="first")
    before = file.read_text()
    with size_limit(len(before) + 40), pytest.raises(OSError, match="No space left"):
        audit.record("accepted", claimed="alice")
    assert file.read_text() == before
    audit.record("refused", claimed="last")
    assert [json.loads(line)["claimed"] for line in file.read_text().splitlines()] == ["first", "last"]


def test_the_audit_goes_to_no_log(tmp_path: Path) -> None:
    """It has true reasons, which are for its readers alone."""
    with capturedLogs() as events:
        Audit(str(tmp_path / "audit.jsonl")).record("refused", reason="revoked")
    assert list(events) == []
