"""Does ``make soak-attack`` tell when something isn't as it must be? And does a short run of it go well?"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attacks import ATTACKS
from conftest import HERE
from honest import Honest, Login
from soak import AUDIT, FLAT, LONGEST, Soak, faults

KINDS = ("chosen ticket", "made ticket", "key")
SHORT = 30  # seconds


class Written:
    """A node that has written so much, and holds so much."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes

    def written(self, pattern: str) -> int:
        return self.sizes.get("attempts" if "attempts" in pattern else "log" if "log" in pattern else "all", 0)


def seen(node: Any = None, **more: Any) -> tuple[Soak, Honest]:
    """A run in which all went well, but for what is given."""
    node = node or Written()
    soak = Soak(node, 600, 1)
    soak.memory = [(0.0, held) for held in more.get("memory", [100.0] * 6 * len(ATTACKS))]
    honest = Honest(node)
    honest.logins = [Login(who, "nonsense", 0.1) for who in KINDS] + more.get("logins", [])
    honest.lost = more.get("lost", [])
    return soak, honest


def test_a_run_that_went_well() -> None:
    assert faults(*seen()) == []


GROWING = [100.0 + number for number in range(6 * len(ATTACKS))]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"logins": [Login("key", "nonsense", 0.1, 1, "com.example.too_many_attempts")]}, "key was refused during"),
        ({"logins": [Login("key", "nonsense", 5.1)]}, "key took 5.1 s during nonsense"),
        ({"lost": ["ConnectionResetError during nonsense"]}, "one who had joined was lost"),
        ({"memory": GROWING}, "memory grew from"),
        ({"node": Written(log=10_000_000)}, "10000000 bytes of log"),
        ({"node": Written(attempts=AUDIT + 1)}, "more records of attempts"),
    ],
)
def test_what_is_not_as_it_must_be_is_told(more: Any, fault: str) -> None:
    assert len(GROWING) > FLAT
    (told,) = faults(*seen(**more))
    assert fault in told


@pytest.mark.parametrize("got", ["joined", "h2"])
def test_who_gets_in_is_told(got: str) -> None:
    soak, honest = seen()
    soak.rows["http2"].got[got] += 1
    assert len(faults(soak, honest)) == 1


def test_a_kind_of_client_that_never_got_in_is_told() -> None:
    soak, honest = seen()
    honest.logins = [one for one in honest.logins if one.who != "key"]
    assert faults(soak, honest) == ["nobody has logged in with a key"]


def test_an_attack_lasts_longer_than_a_waiting_connection_is_spared() -> None:
    assert LONGEST > 2 * 5


@pytest.mark.slow
def test_a_short_run(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "tools" / "soak" / "soak.py"), "--seconds", str(SHORT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.stdout.endswith("All is as it must be.\n"), done.stdout + done.stderr
    assert done.returncode == 0
    assert {name for name in ATTACKS if f"\n{name} " in done.stdout} == {*ATTACKS}
