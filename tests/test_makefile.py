"""Does each target do what ``make help`` says, and set up what it needs once?

The set-up itself is tested in a copy of the bundle whose virtual environment is ours, so that nothing is installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHOSEN, HERE

TOLD_TO_SET_UP = "Setting up .venv"
FOUR_CLIENTS = [
    ("secret123", "client1"),
    ("wrongpassword", "client1 --expect com.example.invalid_ticket"),
    ("", "--key .keys/client01.key"),
    ("", "--key .keys/client01-bad.key --expect com.example.no_such_user"),
]
# Stands in for Python: writes down what it was called with, makes the store it is given, fails at one of the calls.
FAKE = """#!/bin/sh
echo "$MYTICKET|$*" >> calls
[ "$2" != --database ] || echo "$*" >> "$3"
[ "$(wc -l < calls)" -ne "${FAIL_AT:-0}" ]
"""
# Stands in for an old Python: answers the question for its version, and can do nothing else.
OLD = """#!{python}
import sys
sys.version_info = (3, {minor}, 18, "final", 0)
exec(sys.argv[2] if sys.argv[1] == "-c" else "sys.exit('not asked to do this')")
"""


def copy_bundle(folder: Path) -> Path:
    """What is committed, except tests."""
    for file in [*HERE.glob("*.py"), *HERE.glob("*.sql"), *HERE.glob("requirements*.txt"), HERE / "Makefile"]:
        shutil.copy(file, folder)
    for name in ".crossbar", ".keys":
        (folder / name).mkdir()
    for file in (HERE / ".crossbar").glob("config*.json"):
        shutil.copy(file, folder / ".crossbar")
    return folder


def add_environment(folder: Path) -> None:
    """A .venv that counts as set up, and is the one that the tests run in."""
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name not in ("run", "dev"):
            (folder / ".venv" / part.name).symlink_to(part)
    for mark in "run", "dev":
        (folder / ".venv" / mark).touch()


def add_fakes(folder: Path) -> None:
    """A bundle that counts as set up, with a Python that only takes notes."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    executable(folder / ".venv" / "bin" / "python", FAKE)
    for made in ".venv/run", ".venv/dev", ".keys/client01.key", ".keys/client01-bad.key", ".crossbar/principals.db":
        (folder / made).touch()


def executable(file: Path, content: str) -> Path:
    file.write_text(content)
    file.chmod(0o755)
    return file


def make(folder: Path, *args: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run make as a user would, not as the child of a make that runs these tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *args],
        cwd=folder,
        env={**environment, **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def calls(folder: Path) -> list[tuple[str, str]]:
    """What the fake Python was called with: MYTICKET, and its arguments."""
    lines = (folder / "calls").read_text().splitlines()
    return [(ticket, args) for ticket, _, args in (line.partition("|") for line in lines)]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A bundle as it was cloned."""
    return copy_bundle(tmp_path)


@pytest.fixture
def faked(fresh: Path) -> Path:
    """A bundle that counts as set up, with a Python that only takes notes."""
    add_fakes(fresh)
    return fresh


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose keys and store were really made, by the first target that needs them."""
    folder = copy_bundle(tmp_path_factory.mktemp("bundle"))
    add_environment(folder)
    done = make(folder, ".crossbar/principals.db")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("Adding the demo's principals ...\n", "")
    return folder


# -- help


def test_help_has_a_line_for_each_target(fresh: Path) -> None:
    (phony,) = re.findall(r"(?m)^\.PHONY: (.*)$", (fresh / "Makefile").read_text())
    done = make(fresh, "help")
    described = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert set(described) == set(phony.split())
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    assert done.stderr == ""


def test_a_bare_make_helps_and_sets_nothing_up(fresh: Path) -> None:
    assert make(fresh).stdout == make(fresh, "help").stdout
    assert not (fresh / ".venv").exists()


# -- set-up


@pytest.mark.parametrize("target", ["crossbar", "clients", "clients-function", "keys", "test", "lint"])
def test_set_up_is_part_of_each_target(fresh: Path, target: str) -> None:
    assert TOLD_TO_SET_UP in make(fresh, "-n", target).stdout


@pytest.mark.parametrize("target", ["crossbar", "clients", "clients-function"])
def test_a_second_run_does_no_set_up(ready: Path, target: str) -> None:
    commands = make(ready, "-n", target).stdout.splitlines()
    assert commands
    assert all(re.search(r"python (node|client)\.py", command) for command in commands)


@pytest.mark.parametrize("made", ["keys", ".crossbar/principals.db"])
def test_what_is_made_is_not_made_again(ready: Path, made: str) -> None:
    done = make(ready, made)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("Nothing to be done|is up to date", done.stdout)


def test_the_demos_keys(ready: Path) -> None:
    """32 raw bytes for their owner alone, with the public half beside them, and no other key left over."""
    assert sorted(file.name for file in (ready / ".keys").iterdir()) == [
        "client01-bad.key",
        "client01-bad.key.pub",
        "client01.key",
        "client01.key.pub",
    ]
    for name in "client01.key", "client01-bad.key":
        file = ready / ".keys" / name
        assert (file.stat().st_size, file.stat().st_mode & 0o777) == (32, 0o600)
        assert re.fullmatch(r"[0-9a-f]{64}\n", file.with_name(name + ".pub").read_text())


def test_the_demos_principals(ready: Path) -> None:
    command = [sys.executable, str(ready / "manage.py"), "export"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    found = {principal["authid"]: principal for principal in map(json.loads, lines)}
    credentials = {authid: principal["credentials"] for authid, principal in found.items()}
    assert {
        authid: (
            principal["realm"],
            principal["role"],
            principal["extra"],
            [credential["kind"] for credential in credentials[authid]],
        )
        for authid, principal in found.items()
    } == {
        "client1": ("realm1", "frontend", {}, ["chosen"]),
        "client01@example.com": ("devices", "device", {"foo": 23}, ["key"]),
        "client02@example.com": ("devices", "device", {"foo": 42, "bar": "baz"}, ["key", "key"]),
    }
    registered = (ready / ".keys" / "client01.key.pub").read_text().strip()
    assert credentials["client01@example.com"][0]["verifier"] == registered
    assert credentials["client1"][0]["verifier"].startswith("$argon2id$")


def test_the_store_is_its_owners(ready: Path) -> None:
    assert (ready / ".crossbar" / "principals.db").stat().st_mode & 0o777 == 0o600
    assert CHOSEN.encode() not in (ready / ".crossbar" / "principals.db").read_bytes()


def test_nothing_that_is_made_is_committed() -> None:
    made = [
        ".venv/run",
        ".keys/client01.key",
        ".keys/client01.key.pub",
        ".crossbar/principals.db",
        ".crossbar/key.priv",
    ]
    made += [".crossbar/node.pid", ".crossbar/audit.jsonl", ".crossbar/certs/server.key", "__pycache__/x.pyc"]
    done = subprocess.run(["git", "check-ignore", *made], cwd=HERE, check=False, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("this isn't a git checkout")
    assert done.stdout.split() == made


def test_a_store_is_whole_or_not_there(faked: Path) -> None:
    """A command that fails half-way leaves no store behind, and the next run makes one."""
    (faked / ".crossbar" / "principals.db").unlink()
    done = make(faked, "crossbar", FAIL_AT="3")
    assert done.returncode != 0
    assert not (faked / ".crossbar" / "principals.db").exists()
    assert not any("node.py" in args for _, args in calls(faked))


def test_what_an_operator_added_outlives_new_requirements(faked: Path) -> None:
    """The environment is made anew when a requirement changes; the store must not be."""
    store = faked / ".crossbar" / "principals.db"
    store.write_text("somebody was added here")
    newer = store.stat().st_mtime + 100
    os.utime(faked / ".venv" / "run", (newer, newer))
    make(faked, "crossbar")
    assert calls(faked) == [("", "node.py")]
    assert store.read_text() == "somebody was added here"


@pytest.mark.parametrize("minor", [9, 10])
def test_a_python_that_is_too_old(fresh: Path, tmp_path: Path, minor: int) -> None:
    old = executable(tmp_path / "old-python", OLD.format(python=sys.executable, minor=minor))
    done = make(fresh, "crossbar", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed: try `make PYTHON=" in done.stderr
    assert "Traceback" not in done.stderr
    assert TOLD_TO_SET_UP not in done.stdout


def test_a_python_that_is_new_enough(fresh: Path, tmp_path: Path) -> None:
    new = executable(tmp_path / "new-python", OLD.format(python=sys.executable, minor=11))
    done = make(fresh, "crossbar", f"PYTHON={new}")
    assert "is needed" not in done.stderr
    assert TOLD_TO_SET_UP in done.stdout


def test_no_python_at_all(fresh: Path) -> None:
    assert "Python 3.11 or newer is needed" in make(fresh, "crossbar", "PYTHON=no-such-python").stderr


def test_requirements_are_pinned_with_hashes() -> None:
    for file in HERE.glob("requirements*.txt"):
        lines = file.read_text().replace("\\\n", " ").splitlines()
        requirements = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        assert requirements
        for requirement in requirements:
            assert re.match(r"[\w.\-\[\],]+==[\w.]+ .*--hash=sha256:[0-9a-f]{64}", requirement), requirement
    assert all("--require-hashes" in line for line in (HERE / "Makefile").read_text().splitlines() if "-r req" in line)


# -- clients


@pytest.mark.parametrize(
    ("target", "options"), [("clients", ""), ("clients-function", " --url ws://localhost:8080/ws-function")]
)
def test_the_four_clients(faked: Path, target: str, options: str) -> None:
    assert make(faked, target).returncode == 0
    ran = [(ticket, set(args.replace(options, "").split())) for ticket, args in calls(faked)]
    assert ran == [(ticket, {"client.py", *args.split()}) for ticket, args in FOUR_CLIENTS]
    assert all(options in args for _, args in calls(faked))


@pytest.mark.parametrize(
    ("target", "failing"),
    [*((target, failing) for target in ("clients", "clients-function") for failing in (1, 2, 3, 4)), ("demo", 1)],
)
def test_one_client_that_fails_is_enough(faked: Path, target: str, failing: int) -> None:
    assert make(faked, target, FAIL_AT=str(failing)).returncode != 0


def test_the_demo_runs_the_clients_at_both_doors(faked: Path) -> None:
    assert make(faked, "demo").returncode == 0
    ((_, args),) = calls(faked)
    assert re.fullmatch(r"node\.py \S*make --no-print-directory clients clients-function", args)


# -- clean


def test_clean_removes_what_was_made_and_nothing_else(faked: Path) -> None:
    before = {file for file in copied(faked) if not str(file).startswith(".venv")}
    made = [".crossbar/key.priv", ".crossbar/node.pid", ".crossbar/audit.jsonl", ".crossbar/principals.db-wal"]
    for name in (*made, ".keys/client01.key.pub"):
        (faked / name).touch()
    (faked / "__pycache__").mkdir()
    (faked / ".keys" / "README.md").touch()
    assert make(faked, "clean").returncode == 0
    gone = {Path(".keys/client01.key"), Path(".keys/client01-bad.key"), Path(".crossbar/principals.db")}
    assert copied(faked) == before - gone | {Path(".keys/README.md")}


def copied(folder: Path) -> set[Path]:
    """All files in a folder, by their path in it."""
    return {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
