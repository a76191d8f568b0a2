"""What stands in the audit, who can read it, and what can a stranger put there?"""

import itertools
import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import read_audit, size_limit
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from wampauth import acts
from wampauth import audit as module
from wampauth.admission import Admissions
from wampauth.audit import LONGEST, Audit, open_audit
from wampauth.claims import Principal, Refused
from wampauth.guard import Guard
from wampauth.settings import Settings

FOUND: dict[str, Any] = {"authid": "alice", "credential": "0123456789abcdef", "realm": "realm1"}
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
    attempt("cryptosign", replace(ANSWER, pubkey=KEY), authrole="backend")
    attempt("ticket", Refused("expired", **FOUND))
    attempt("cryptosign", Refused("no such credential"))
    attempt("ticket", ANSWER, ticket=7)
    attempt("ticket", OSError("the store is away"))
    attempt("ticket", Deferred())
    guard._settings = Settings(refusal_delay=0)
    for _ in range(3):
        attempt("ticket", Refused("no such credential"), transport={"peer": "tcp4:192.0.2.2:1"})
        clock.rightNow -= 10
    for _ in range(20):
        attempt("ticket", ANSWER, ticket=8)
        clock.rightNow -= 10
    clock.advance(60)
    return read_audit(tmp_path.iterdir())


def test_each_outcome_of_an_attempt_is_written_and_documented(written: list[dict[str, Any]]) -> None:
    outcomes = {record["outcome"] for record in written}
    assert outcomes == {"accepted", "challenged", "refused", "malformed", "throttled", "unavailable"}
    for outcome in outcomes | {"joined", "left", "ended"}:
        assert outcome in str(module.__doc__)


def test_every_documented_field_is_written_and_every_written_one_documented(
    written: list[dict[str, Any]], tmp_path: Path
) -> None:
    acts.record(tmp_path / "acts.jsonl", "revoke", authid="alice", change="nothing")
    fields = {field for record in [*written, *lines(tmp_path / "acts.jsonl")] for field in record}
    assert fields == set(documented())


def test_the_fields_come_in_the_documented_order(written: list[dict[str, Any]]) -> None:
    for record in written:
        assert list(record) == [field for field in documented() if field in record]


def test_the_fields_have_their_types_and_none_is_null(written: list[dict[str, Any]]) -> None:
    kinds = {"session": int, "duration": float, "count": int}
    for record in written:
        for field, value in record.items():
            assert type(value) is kinds.get(field, str), field


def test_what_each_outcome_says(written: list[dict[str, Any]]) -> None:
    always = {"time", "outcome", "method", "peer", "session", "duration"}
    fields = {
        "accepted": {"claimed", "authid", "credential", "realm", "role"},
        "challenged": {"claimed", "authid", "credential", "realm", "role"},
        "malformed": {"reason"},
        "throttled": {"claimed", "reason"},
        "unavailable": {"claimed", "reason", "reference"},
    }
    for record in written:
        claims = {field for field in record if field.startswith("claimed_")}
        assert claims <= {"claimed_authid", "claimed_realm", "claimed_role"}
        if "count" in record:
            assert set(record) == {"time", "outcome", "peer", "count"}
        elif record["outcome"] == "refused":
            found = {"authid", "credential", "realm"} if record["reason"] == "expired" else set()
            assert set(record) - claims == always | {"claimed", "reason"} | found
        else:
            assert set(record) - claims == always | fields[record["outcome"]]


def test_the_time_is_now_in_utc(tmp_path: Path) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("accepted")
    (record,) = lines(tmp_path / "audit.jsonl")
    time = datetime.fromisoformat(record["time"])
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)


def test_what_does_not_apply_is_left_out(tmp_path: Path) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("joined", reason=None, session=0, claimed="")
    (record,) = lines(tmp_path / "audit.jsonl")
    assert list(record)[1:] == ["outcome", "claimed", "session"]


def test_only_its_owner_can_read_it_also_after_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE", 100)
    file = tmp_path / "audit.jsonl"
    audit = Audit(str(file))
    assert mode(file) == 0o600
    for _ in range(5):
        audit.record("joined", claimed="x" * 100)
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
        Audit(str(tmp_path / "audit.jsonl")).record("joined", session=number)
    assert [record["session"] for record in lines(tmp_path / "audit.jsonl")] == [0, 1, 2]


def test_it_is_rotated_by_size_and_only_so_many_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROTATE", 1000)
    monkeypatch.setattr(module, "KEEP", 3)
    audit = Audit(str(tmp_path / "audit.jsonl"))
    for number in range(500):
        audit.record("joined", session=number)
    files = sorted(tmp_path.glob("audit.jsonl*"))
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
    Audit(str(tmp_path / "audit.jsonl")).record("joined", **{field: text})
    raw = (tmp_path / "audit.jsonl").read_bytes()
    assert raw.count(b"\n") == 1
    assert all(byte in b"\n" or 32 <= byte < 127 for byte in raw)
    assert json.loads(raw)[field] == text


@pytest.mark.parametrize("length", [LONGEST, LONGEST + 1, 1_000_000])
def test_a_long_string_is_cut(tmp_path: Path, length: int) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("joined", claimed="\U0001f600" * length)
    (record,) = lines(tmp_path / "audit.jsonl")
    assert record["claimed"].rstrip("…") == "\U0001f600" * min(length, LONGEST)
    assert len(record["claimed"]) <= LONGEST + 1


def test_a_format_that_a_stranger_chose_is_not_filled_in(tmp_path: Path) -> None:
    Audit(str(tmp_path / "audit.jsonl")).record("joined", claimed="{log_level} {fields} %s {0}")
    assert lines(tmp_path / "audit.jsonl")[0]["claimed"] == "{log_level} {fields} %s {0}"


def test_one_file_has_one_writer(tmp_path: Path) -> None:
    assert open_audit(str(tmp_path / "a.jsonl")) is open_audit(str(tmp_path / "a.jsonl"))
    assert open_audit(str(tmp_path / "a.jsonl")) is not open_audit(str(tmp_path / "b.jsonl"))


def test_a_folder_that_is_not_there_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Audit(str(tmp_path / "nowhere" / "audit.jsonl"))


def test_a_full_disk_is_reported_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = Audit(str(tmp_path / "audit.jsonl"))

    def write(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        audit.record("accepted")


def test_a_record_that_has_only_half_the_room_is_taken_back_and_reported(tmp_path: Path) -> None:
    """Who isn't recorded isn't let in; and the next record mustn't stand on the same line."""
    file = tmp_path / "audit.jsonl"
    audit = Audit(str(file))
    audit.record("joined", claimed="first")
    before = file.read_text()
    with size_limit(len(before) + 40), pytest.raises(OSError, match="No space left"):
        audit.record("accepted", claimed="alice")
    assert file.read_text() == before
    audit.record("joined", claimed="last")
    assert [json.loads(line)["claimed"] for line in file.read_text().splitlines()] == ["first", "last"]


def test_the_audit_goes_to_no_log(tmp_path: Path) -> None:
    """It has true reasons, which are for its readers alone."""
    with capturedLogs() as events:
        Audit(str(tmp_path / "audit.jsonl")).record("joined", reason="revoked")
    assert list(events) == []


# -- what strangers can't push out


def record_flood(audit: Audit, outcome: str, times: int, *peers: str) -> None:
    for number in range(times):
        audit.record(outcome, peer=peers[number % len(peers)], claimed="x" * 200, reason="out of tokens")


@pytest.mark.parametrize(
    ("outcome", "whole"), [("refused", 10), ("malformed", 10), ("throttled", 10), ("unavailable", 100)]
)
def test_a_flood_is_some_records_and_one_that_counts_the_others(tmp_path: Path, outcome: str, whole: int) -> None:
    audit = Audit(str(tmp_path / "audit.jsonl"))
    record_flood(audit, outcome, 100_000, "192.0.2.1")
    audit.summarise()
    *first, last = lines(tmp_path / "audit.attempts.jsonl")
    assert len(first) == whole
    assert {name: value for name, value in last.items() if name != "time"} == {
        "outcome": outcome,
        "peer": "192.0.2.1",
        "count": 100_000 - whole,
    }
    record_flood(audit, outcome, 1, "192.0.2.1")  # another minute has begun
    assert lines(tmp_path / "audit.attempts.jsonl")[-1]["claimed"]


def test_floods_of_other_kinds_and_from_elsewhere_are_counted_apart(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "audit.jsonl"))
    record_flood(audit, "throttled", 40, "192.0.2.1", "192.0.2.2")
    record_flood(audit, "malformed", 15, "2001:db8::1", "2001:db8::2")  # of one /64
    audit.summarise()
    counted = [record for record in lines(tmp_path / "audit.attempts.jsonl") if "count" in record]
    assert [(record["outcome"], record["peer"], record["count"]) for record in counted] == [
        ("throttled", "192.0.2.1", 10),
        ("throttled", "192.0.2.2", 10),
        ("malformed", "2001:db8::/64", 5),
    ]


def test_a_flood_from_everywhere_is_bounded_and_no_attempt_is_uncounted(tmp_path: Path) -> None:
    audit = Audit(str(tmp_path / "audit.jsonl"))
    peers = [f"10.{number >> 8}.{number & 255}.1" for number in range(20_000)]
    record_flood(audit, "throttled", 40_000, *peers)
    assert len(audit._tally._seen) <= module.TOLD_APART + 1
    audit.summarise()
    found = lines(tmp_path / "audit.attempts.jsonl")
    assert len(found) <= module.WHOLE_IN_ALL + module.TOLD_APART + 1
    assert sum(record.get("count", 1) for record in found) == 40_000


@pytest.mark.parametrize("outcome", ["refused", "malformed", "throttled", "unavailable", "challenged"])
def test_strangers_cannot_push_out_who_has_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    monkeypatch.setattr(module, "ROTATE", 2000)
    monkeypatch.setattr(module, "KEEP", 2)
    audit = Audit(str(tmp_path / "audit.jsonl"))
    for what in "accepted", "joined", "ended", "left":
        audit.record(what, session=7)
    for number in range(100):
        record_flood(audit, outcome, 20, f"192.0.2.{number}")
        audit.summarise()
    assert [record["outcome"] for record in lines(tmp_path / "audit.jsonl")] == ["accepted", "joined", "ended", "left"]
    assert sum(file.stat().st_size for file in tmp_path.glob("audit.attempts.jsonl*")) < 3 * 2000


def test_what_was_only_counted_is_written_when_the_process_ends(tmp_path: Path) -> None:
    program = """
import sys
from twisted.internet import reactor
from wampauth.audit import open_audit
audit = open_audit(sys.argv[1])
for _ in range(30):
    audit.record("throttled", peer="192.0.2.1")
reactor.callWhenRunning(reactor.stop)
reactor.run()
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "audit.jsonl")], check=True, timeout=60)
    assert lines(tmp_path / "audit.attempts.jsonl")[-1]["count"] == 20
