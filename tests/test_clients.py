"""The lesson's client, as a user runs it; and what an operator does to a session that is live."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Lesson, Operator
from wampauth.testing import ABORT, GOODBYE, WELCOME, RawClient

Client = Callable[..., subprocess.CompletedProcess[str]]


def test_a_good_ticket(client: Client, lesson: Lesson) -> None:
    done = client("client1", ticket=lesson.ticket)
    assert (done.returncode, done.stderr) == (0, "")
    assert "call result: 5" in done.stdout
    assert lesson.ticket not in done.stdout


def test_a_bad_ticket(client: Client) -> None:
    done = client("client1", ticket="wrongpassword")
    assert (done.returncode, done.stderr) == (1, "Refused: com.example.invalid_ticket.\n")
    assert client("client1", "--expect", "com.example.invalid_ticket", ticket="wrongpassword").returncode == 0


@pytest.mark.parametrize(("known", "code"), [(True, 0), (False, 1)])
def test_a_key(client: Client, lesson: Lesson, tmp_path: Path, known: bool, code: int) -> None:
    key = tmp_path / "client.key"
    key.write_bytes(bytes(lesson.key) if known else bytes(32))
    done = client("--key", str(key))
    assert done.returncode == code, done.stderr
    assert ("OK, successfully authenticated with WAMP-cryptosign" in done.stdout) is known


def test_a_session_ends_when_its_ticket_is_revoked(lesson: Lesson, operator: Operator) -> None:
    ticket = operator("ticket", "client1", "--label", "laptop")
    with RawClient(lesson.url("ws")) as laptop, RawClient(lesson.url("ws")) as other:
        assert laptop.login_ticket("client1", ticket)[0] == WELCOME
        assert other.login_ticket("client1", lesson.ticket)[0] == WELCOME
        operator("revoke", "client1", "--credential", "laptop")
        assert laptop.receive()[::2] == [GOODBYE, "com.example.revoked"]
        with pytest.raises(TimeoutError):
            other.receive(timeout=1)  # the other one goes on
    with RawClient(lesson.url("ws")) as laptop:
        assert laptop.login_ticket("client1", ticket)[::2] == [ABORT, "com.example.invalid_ticket"]
