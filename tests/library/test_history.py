"""Is the audit read back whole, in order of time, whatever has become of its files?"""

import gzip
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from wampauth.audit import Audit
from wampauth.history import History, moment
from wampauth.records import Records

BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


def line(second: float, outcome: str = "accepted", **fields: Any) -> bytes:
    time = (BEGIN + timedelta(seconds=second)).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "outcome": outcome, **fields}).encode() + b"\n"


def seconds(records: Iterator[dict[str, Any]] | History) -> list[float]:
    return [round(moment(record) - BEGIN.timestamp(), 3) for record in records]


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_both_files_are_merged_by_time(audit: Path) -> None:
    audit.write_bytes(line(1) + line(3) + line(5))
    audit.with_name("audit.attempts.jsonl").write_bytes(line(2, "refused") + line(4, "refused"))
    assert seconds(History([audit])) == [1, 2, 3, 4, 5]


def test_several_audits_are_merged(audit: Path, tmp_path: Path) -> None:
    """Each process of a scaled node writes its own."""
    audit.write_bytes(line(2))
    (tmp_path / "audit1.jsonl").write_bytes(line(1) + line(3))
    assert seconds(History([audit, tmp_path / "audit1.jsonl"])) == [1, 2, 3]


@pytest.mark.parametrize("ending", ["1", "2.gz", "10"])
@pytest.mark.parametrize("separator", [".", "-20191231.", "-20191231-1."])
def test_rotated_and_compressed_files_are_read(audit: Path, separator: str, ending: str) -> None:
    audit.write_bytes(line(3))
    rotated = audit.with_name(f"audit.jsonl{separator}{ending}")
    with gzip.open(rotated, "wb") if ending.endswith("gz") else rotated.open("wb") as file:
        file.write(line(1) + line(2))
    assert seconds(History([audit])) == [1, 2, 3]


def test_what_only_has_a_similar_name_is_left_alone(audit: Path) -> None:
    audit.write_bytes(line(1))
    for name in "audit.jsonl.bak", "audit.jsonl~", "audit.jsonl.1.swp", "audit2.jsonl", "xaudit.jsonl":
        audit.with_name(name).write_bytes(line(2))
    assert seconds(History([audit])) == [1]


def test_what_the_audit_writes_is_read_back(audit: Path) -> None:
    writer = Audit(str(audit))
    written = {"refused", "accepted", "joined", "throttled", "left"}
    for outcome in written:
        writer.record(outcome, peer="192.0.2.1")
    assert {record["outcome"] for record in History([audit])} == written


@pytest.mark.parametrize(
    "broken",
    [
        b"\n",
        b"{\n",
        b"\xff\xfe\n",
        b"7\n",
        b"[]\n",
        b"null\n",
        b"{}\n",
        b'{"time": 7, "outcome": "left"}\n',
        b'{"time": "soon", "outcome": "left"}\n',
        b'{"time": "2020-01-01T00:00:00Z"}\n',
        b'{"time": "0001-01-01T00:00:00+23:59", "outcome": 7}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000 + b"\n",
        line(1)[:-9] + b"\n",
    ],
)
def test_a_line_that_is_no_record_is_passed_over(audit: Path, broken: bytes) -> None:
    audit.write_bytes(line(1) + broken + line(2))
    history = History([audit])
    assert seconds(history) == [1, 2]
    assert history.broken == 1


def test_the_rest_of_a_damaged_file_is_passed_over(audit: Path) -> None:
    whole = gzip.compress(b"".join(line(second) for second in range(2000)))
    audit.with_name("audit.jsonl.1.gz").write_bytes(whole[: len(whole) // 2])
    audit.write_bytes(line(5000))
    history = History([audit])
    read = seconds(history)
    assert read[0] == 0 and read[-1] == 5000 and len(read) < 2001
    assert history.broken == 1


def test_a_line_that_is_not_whole_yet_is_read_later(audit: Path) -> None:
    audit.write_bytes(line(1) + line(2)[:10])
    history = History([audit])
    assert seconds(history) == [1]
    with audit.open("ab") as file:
        file.write(line(2)[10:] + line(3))
    assert seconds(history) == [2, 3]
    assert history.broken == 0


def test_nothing_there_is_no_records(audit: Path) -> None:
    assert seconds(History([audit])) == []


def test_since_leaves_out_what_was_before(audit: Path) -> None:
    audit.write_bytes(line(1) + line(2) + line(3))
    assert seconds(History([audit], since=BEGIN.timestamp() + 2)) == [2, 3]


def test_the_newest_of_a_kind(audit: Path) -> None:
    """It is found wherever it is, also if another program has touched the files."""
    audit.write_bytes(line(5, authid="bob"))
    audit.with_name("audit.jsonl.1").write_bytes(line(3, authid="alice") + line(4, authid="alice", session=7))
    audit.with_name("audit.jsonl.2").write_bytes(line(1, authid="alice"))
    found = History([audit]).newest(lambda record: record.get("authid") == "alice")
    assert found and found["session"] == 7
    assert History([audit]).newest(lambda record: record.get("authid") == "carol") is None


# -- following


class Writer:
    """Does one thing more each time that the follower has read everything."""

    def __init__(self, *steps: Any) -> None:
        self._steps = list(steps)

    def __call__(self, _: float) -> None:
        if self._steps:
            self._steps.pop(0)()


def append(audit: Path, *records: bytes) -> None:
    with audit.open("ab") as file:
        file.write(b"".join(records))


def followed(history: History, count: int, *steps: Any) -> list[float]:
    return seconds(islice(history.follow(Writer(*steps)), count))


def test_what_is_written_is_followed_through_a_rotation(audit: Path) -> None:
    """The library's own: files are moved on by one."""
    records = Records(str(audit), rotate=200)  # bytes: each third line begins a new file
    records.add(line(0))

    def write(second: int) -> Any:
        return lambda: records.add(line(second))

    assert followed(History([audit]), 12, *map(write, range(1, 12))) == list(range(12))
    assert audit.with_name("audit.jsonl.3").exists()


def test_following_survives_logrotate(audit: Path) -> None:
    """``create``, ``compress`` and ``copytruncate``; a line that was written into the old file after all is read."""
    audit.write_bytes(line(0))
    old = audit.with_name("audit.jsonl.1")

    def create() -> None:
        audit.rename(old)
        audit.touch()
        append(old, line(1))
        append(audit, line(2))

    def compress() -> None:
        with gzip.open(f"{old}.gz", "wb") as file:
            file.write(old.read_bytes())
        old.unlink()
        append(audit, line(3))

    def copytruncate() -> None:
        shutil.copyfile(audit, old)
        audit.write_bytes(b"")

    steps = create, compress, copytruncate, lambda: append(audit, line(4))
    assert followed(History([audit]), 5, *steps) == [0, 1, 2, 3, 4]


def test_following_waits_for_files_that_are_not_there_yet(audit: Path) -> None:
    steps = audit.unlink, lambda: None, lambda: append(audit, line(1))
    audit.touch()
    assert followed(History([audit]), 1, *steps) == [1]


def test_following_holds_no_old_file_open(audit: Path) -> None:
    audit.write_bytes(line(0))
    history = History([audit])

    def rotate(second: int) -> Any:
        def step() -> None:
            audit.rename(audit.with_name(f"audit.jsonl.{second}"))
            append(audit, line(second))

        return step

    assert followed(history, 50, *map(rotate, range(1, 50))) == list(range(50))
    assert len(history._files) <= 3
