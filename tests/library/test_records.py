"""Do lines arrive whole in their file, whatever others do to it?"""

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from grp import getgrgid
from pathlib import Path
from pwd import getpwuid

import pytest
from conftest import HERE
from twisted.logger import Logger, formatEvent

from wampauth.audit import attempts
from wampauth.history import History
from wampauth.records import Records

LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "node"
    folder.mkdir(mode=0o700)
    return folder / "audit.jsonl"


def move_away(file: Path) -> None:
    """logrotate, ``nocreate``."""
    file.rename(file.with_suffix(".old"))


def move_away_and_create(file: Path) -> None:
    """logrotate, ``create 0644``."""
    move_away(file)
    file.touch(0o644)


def copy_and_truncate(file: Path) -> None:
    """logrotate, ``copytruncate``."""
    shutil.copy(file, file.with_suffix(".old"))
    with file.open("r+") as opened:
        opened.truncate(0)


def replace(file: Path) -> None:
    """As editors do."""
    new = file.with_suffix(".new")
    new.write_text('{"edited": true}\n')
    new.replace(file)


WAYS = {way.__name__: way for way in (move_away, move_away_and_create, copy_and_truncate, replace, Path.unlink)}


@pytest.mark.parametrize("do", WAYS.values(), ids=WAYS)
def test_what_another_program_does_is_noticed_at_the_next_line(file: Path, do: Callable[[Path], object]) -> None:
    records = Records(str(file))
    for number in range(3):
        records.add(b'{"before": %d}\n' % number)
    do(file)
    records.add(b'{"after": 0}\n')
    assert [json.loads(line) for line in file.read_text().splitlines()][-1] == {"after": 0}
    assert b"\0" not in file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    if (old := file.with_suffix(".old")).exists():
        assert len(old.read_text().splitlines()) == 3


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate isn't installed")
@pytest.mark.parametrize("way", ["create 0640", "nocreate", "copytruncate"])
def test_logrotate(file: Path, way: str, tmp_path: Path) -> None:
    config = tmp_path / "logrotate.conf"
    config.write_text(f"{file} {{\n  rotate 3\n  size 1\n  {way}\n}}\n")
    config.chmod(0o600)
    records = Records(str(file))
    for number in range(3):
        records.add(b'{"number": %d}\n' % number)
        command = [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(config)]
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    records.add(b'{"number": 3}\n')
    files = [file, *(file.with_name(f"{file.name}.{number}") for number in (1, 2, 3))]
    assert [json.loads(one.read_text())["number"] for one in files] == [3, 2, 1, 0]


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate isn't installed")
def test_the_file_for_logrotate(file: Path, tmp_path: Path) -> None:
    """Both files of the audit are moved away and made anew, and nothing is lost that is read back."""
    text = (HERE / "deploy/logrotate/wampauth").read_text()
    user, group = getpwuid(os.geteuid()).pw_name, getgrgid(os.getegid()).gr_name
    for old, new in ("/srv/wampauth/.crossbar", str(file.parent)), ("su wampauth wampauth", f"su {user} {group}"):
        assert old in text
        text = text.replace(old, new)
    config = tmp_path / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o600)
    audits = [Records(str(file)), Records(str(attempts(str(file))))]
    command = [str(LOGROTATE), "--force", "--state", str(tmp_path / "state"), str(config)]
    for number in range(3):
        for records in audits:
            records.add(b'{"time": "2026-11-21T12:00:0%d+00:00", "outcome": "joined"}\n' % number)
        if number < 2:
            subprocess.run(command, check=True, timeout=60, capture_output=True)
            done = time.time() // 1
            while time.time() // 1 == done:  # the names end in a second
                time.sleep(0.05)
    assert len(list(History([file]))) == 6
    assert len(list(file.parent.glob("*.gz"))) == 2  # the older ones
    assert {one.stat().st_mode & 0o777 for one in file.parent.iterdir()} == {0o600}


def test_a_file_that_grew_by_another_hand_is_rotated_at_its_size(file: Path) -> None:
    one, other = Records(str(file), 100, 2), Records(str(file), 100, 2)
    for number in range(30):
        (one if number % 2 else other).add(b"%018d\n" % number)
    kept = [file.with_name(f"{file.name}.{number}") for number in (2, 1)]
    numbers = [int(line) for each in [*kept, file] for line in each.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 30))
    assert max(each.stat().st_size for each in file.parent.iterdir()) <= 100


def test_a_folder_that_is_gone_is_told_and_a_new_one_is_used(file: Path) -> None:
    records = Records(str(file))
    shutil.rmtree(file.parent)
    with pytest.raises(FileNotFoundError):
        records.add(b"lost\n")
    file.parent.mkdir()
    records.add(b"kept\n")
    assert file.read_text() == "kept\n"


def test_a_folder_in_which_nothing_can_be_moved_is_told_long_before_nobody_gets_in(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since nobody gets in unrecorded. What is kept stays bounded, as if the file were rotated."""
    told: list[str] = []
    monkeypatch.setattr(Records, "log", Logger(observer=lambda event: told.append(formatEvent(event))))
    monkeypatch.setattr(Path, "replace", no_right_to)
    records = Records(str(file), rotate=100, keep=3)
    for _ in range(41):
        records.add(b"123456789\n")
    with pytest.raises(PermissionError):
        records.add(b"123456789\n")
    assert file.stat().st_size == 410
    assert len(told) == 31
    assert told[0].endswith(
        "audit.jsonl can't be rotated (Permission denied): at 400 bytes nothing is added any more. "
        "May we write into its folder?"
    )
    monkeypatch.undo()
    records.add(b"123456789\n")
    assert [file.stat().st_size, file.with_name("audit.jsonl.1").stat().st_size] == [10, 410]


def no_right_to(file: Path, other: Path) -> None:
    """Root alone has it, as whom tests may run."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_line_that_is_longer_than_the_file_may_be_is_written_all_the_same(file: Path) -> None:
    records = Records(str(file), 10, 2)
    records.add(b"x" * 50 + b"\n")
    assert file.stat().st_size == 51
