"""Does each target do what ``make help`` says, and set up what it needs once?

The set-up itself is tested in a copy of the bundle whose virtual environment is ours, so that nothing is installed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import CHOSEN, HERE
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from readme import add_environment

TOLD_TO_SET_UP = "Setting up .venv"
CONFIGURATIONS = ["config.json", "hardened.yaml", "scaled.yaml"]
PINNED = ["build.txt", "run.txt", "dev.txt", "postgresql.txt"]
FOUR_CLIENTS = [
    ("secret123", "client1"),
    ("wrongpassword", "client1 --expect com.example.invalid_ticket"),
    ("", "--key .keys/client01.key"),
    ("", "--key .keys/client01-bad.key --expect com.example.no_such_user"),
]
# Stands in for a program: writes down what it was called with, makes the store it is given, fails at one of the calls.
FAKE = """#!/bin/sh
echo "$MYTICKET|${0##*/} $*" >> calls
[ "$1" != --store ] || echo "$*" >> "$2"
[ "$(wc -l < calls)" -ne "${FAIL_AT:-0}" ]
"""
# Stands in for an old Python: answers the question for its version, and can do nothing else.
OLD = """#!{python}
import sys
sys.version_info = (3, {minor}, 18, "final", 0)
exec(sys.argv[2] if sys.argv[1] == "-c" else "sys.exit('not asked to do this')")
"""


def copy_bundle(folder: Path) -> Path:
    """What is committed, except the library and tests."""
    for file in [*HERE.glob("*.py"), HERE / "Makefile", HERE / "pyproject.toml"]:
        shutil.copy(file, folder)
    for name in ".crossbar", ".keys", "tools":
        (folder / name).mkdir()
    shutil.copy(HERE / "tools" / "demo.sh", folder / "tools")
    shutil.copytree(HERE / "requirements", folder / "requirements", copy_function=shutil.copyfile)
    (folder / "examples" / "interop").mkdir(parents=True)
    for name in "requirements.txt", "package-lock.json":
        shutil.copy(HERE / "examples" / "interop" / name, folder / "examples" / "interop")
    for name in CONFIGURATIONS:
        shutil.copy(HERE / ".crossbar" / name, folder / ".crossbar")
    return folder


def add_fakes(folder: Path) -> None:
    """A bundle that counts as set up, with programs that only take notes."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for program in "python", "wampauth":
        executable(folder / ".venv" / "bin" / program, FAKE)
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
    """What the programs were called with: MYTICKET, their names and arguments."""
    lines = (folder / "calls").read_text().splitlines()
    return [(ticket, args) for ticket, _, args in (line.partition("|") for line in lines)]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A bundle as it was cloned."""
    return copy_bundle(tmp_path)


@pytest.fixture
def faked(fresh: Path) -> Path:
    """A bundle that counts as set up, with programs that only take notes."""
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
    assert set(described) == {*phony.split(), "stage-N", "probe-N"}
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
    assert all(re.search(r"wampauth start|python client\.py", command) for command in commands)


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
    command = [sys.executable, "-m", "wampauth", "export"]
    done = subprocess.run(command, cwd=ready, check=True, capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
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
    made += [".crossbar/admission.key", ".crossbar/sockets/local.sock", "build/lib", "src/wampauth.egg-info/PKG-INFO"]
    made += ["tools/bench/latest.json", "examples/interop/.venv/run", "examples/interop/node_modules/wampy"]
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
    assert not any("start" in args for _, args in calls(faked))


def test_what_an_operator_added_outlives_new_requirements(faked: Path) -> None:
    """The environment is made anew when a requirement changes; the store must not be."""
    store = faked / ".crossbar" / "principals.db"
    store.write_text("somebody was added here")
    newer = store.stat().st_mtime + 100
    os.utime(faked / ".venv" / "run", (newer, newer))
    make(faked, "crossbar")
    assert calls(faked) == [("", "wampauth start")]
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


# -- what is installed


def pinned(name: str) -> dict[tuple[str, str], str]:
    """The versions that a file of requirements pins, by name and marker. Each has hashes, or this fails."""
    text = (HERE / "requirements" / name).read_text().replace("\\\n", " ")
    pins = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            found = re.fullmatch(r"([\w.-]+)==([\w.]+) +(?:; (.*?) +)?((?:--hash=sha256:[0-9a-f]{64} *)+)", line)
            assert found, line
            pins[found[1], found[3] or ""] = found[2]
    assert pins
    return pins


def versions(name: str) -> dict[str, set[str]]:
    """The versions that a file of requirements pins, by name: more than one where they differ by marker."""
    found: dict[str, set[str]] = {}
    for (package, _), version in pinned(name).items():
        found.setdefault(package, set()).add(version)
    return found


def test_requirements_are_pinned_with_hashes() -> None:
    """And to the same version in each file, so that none undoes what another has installed."""
    everywhere: dict[str, set[str]] = {}
    for name in PINNED:
        for package, found in versions(name).items():
            assert everywhere.setdefault(package, found) == found, (name, package)


@pytest.mark.parametrize("name", [*PINNED, "constraints.txt"])
def test_no_requirement_names_where_it_comes_from(name: str) -> None:
    assert "://" not in (HERE / "requirements" / name).read_text()


def test_what_is_pinned_is_what_the_distribution_asks_for() -> None:
    """Each dependency is pinned, at a version that its range and the constraints allow."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text())
    constraints = (HERE / "requirements" / "constraints.txt").read_text().splitlines()
    groups = project["dependency-groups"]
    asked = {
        "run.txt": [*project["project"]["dependencies"], *groups["demo"], *constraints],
        "dev.txt": groups["dev"],
        "build.txt": [*project["build-system"]["requires"], *groups["build"]],
        "postgresql.txt": project["project"]["optional-dependencies"]["postgresql"],
    }
    for name, lines in asked.items():
        for requirement in (Requirement(line.partition("#")[0]) for line in lines if not line.startswith("#")):
            found = versions(name)[canonicalize_name(requirement.name)]
            assert all(requirement.specifier.contains(version) for version in found), requirement


def test_a_project_of_ones_own_gets_nothing_that_is_known_to_break() -> None:
    """Where somebody installs the distribution, nobody reads our pins."""
    asked = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["dependencies"]
    (bjdata,) = (one for one in map(Requirement, asked) if one.name == "bjdata")
    assert not bjdata.specifier.contains("0.6.6")  # built for NumPy 1: a traceback in each process
    assert bjdata.specifier.contains("0.6.7")


def installs(folder: Path, target: str) -> list[str]:
    """What pip would be told to install, in order."""
    return re.findall(r"-m pip install (.*)", make(folder, "-n", target).stdout.replace(" && ", "\n"))


@pytest.mark.parametrize("target", ["crossbar", "test", "postgresql", "examples/interop/.venv/run"])
def test_nothing_is_fetched_that_is_not_pinned(fresh: Path, target: str) -> None:
    """Nor is anything built apart from the environment, since pip would fetch for that what isn't pinned."""
    assert installs(fresh, target)
    for options in installs(fresh, target):
        assert {"--no-deps", "--no-build-isolation"} <= set(options.split())
        assert re.search(r"--require-hashes -r \S*requirements\S*\.txt$|-e \.$", options)


def test_what_sources_build_with_comes_first(fresh: Path) -> None:
    last = [options.split()[-1] for options in installs(fresh, "crossbar")]
    assert last == ["requirements/build.txt", "requirements/run.txt", "."]


# -- clients


@pytest.mark.parametrize(
    ("target", "options"), [("clients", ""), ("clients-function", " --url ws://localhost:8080/ws-function")]
)
def test_the_four_clients(faked: Path, target: str, options: str) -> None:
    assert make(faked, target).returncode == 0
    ran = [(ticket, set(args.replace(options, "").split())) for ticket, args in calls(faked)]
    assert ran == [(ticket, {"python", "client.py", *args.split()}) for ticket, args in FOUR_CLIENTS]
    assert all(options in args for _, args in calls(faked))


@pytest.mark.parametrize(
    ("target", "failing"),
    [*((target, failing) for target in ("clients", "clients-function") for failing in (1, 2, 3, 4)), ("demo", 1)],
)
def test_one_client_that_fails_is_enough(faked: Path, target: str, failing: int) -> None:
    assert make(faked, target, FAIL_AT=str(failing)).returncode != 0


def test_the_demo_runs_the_clients_at_both_transports(faked: Path) -> None:
    assert make(faked, "demo").returncode == 0
    ((_, args),) = calls(faked)
    assert re.fullmatch(r"wampauth start \S*make --no-print-directory clients clients-function", args)


# -- the other nodes


@pytest.mark.parametrize("target", ["hardened", "scaled"])
def test_the_other_nodes(faked: Path, target: str) -> None:
    """They start from their own configurations, with sockets in a folder that is only their owner's."""
    (faked / ".crossbar" / "certs").mkdir()
    (faked / ".crossbar" / "certs" / "server.pem").touch()
    assert make(faked, f"crossbar-{target}").returncode == 0
    assert calls(faked) == [("", f"wampauth start --config {target}.yaml")]
    assert (faked / ".crossbar" / "sockets").stat().st_mode & 0o777 == 0o700


def test_the_admission_key(faked: Path) -> None:
    """Made once, at random, for its owner alone."""
    key = faked / ".crossbar" / "admission.key"
    make(faked, "crossbar-scaled")
    first = key.read_bytes()
    assert (len(first), key.stat().st_mode & 0o777) == (32, 0o600)
    make(faked, "crossbar-scaled")
    assert key.read_bytes() == first
    key.unlink()
    make(faked, "crossbar-scaled")
    assert key.read_bytes() != first


# -- tests


def test_only_make_test_all_runs_what_is_slow(fresh: Path) -> None:
    quick, everything = (make(fresh, "-n", target).stdout for target in ("test", "test-all"))
    assert '-m "not slow"' in quick
    assert "slow" not in everything
    assert quick.replace(' -m "not slow"', "") == everything


# -- clean


def test_clean_removes_what_was_made_and_nothing_else(faked: Path) -> None:
    before = {file for file in copied(faked) if not str(file).startswith(".venv")}
    made = [".crossbar/key.priv", ".crossbar/node.pid", ".crossbar/audit.jsonl", ".crossbar/principals.db-wal"]
    made += [".crossbar/admission.key", ".crossbar/certs/server.key", ".crossbar/certs/old.yaml"]
    made += [".keys/client01.key.pub", "tools/bench/latest.json", "build/lib.py", "src/wampauth.egg-info/PKG-INFO"]
    made += ["__pycache__/client.pyc", "src/wampauth/store/__pycache__/sqlite.pyc"]
    for name in made:
        (faked / name).parent.mkdir(parents=True, exist_ok=True)
        (faked / name).touch()
    (faked / ".keys" / "README.md").touch()
    assert make(faked, "clean").returncode == 0
    gone = {Path(".keys/client01.key"), Path(".keys/client01-bad.key"), Path(".crossbar/principals.db")}
    assert copied(faked) == before - gone | {Path(".keys/README.md")}
    assert sorted(file.name for file in (faked / ".crossbar").iterdir()) == CONFIGURATIONS


def copied(folder: Path) -> set[Path]:
    """All files in a folder, by their path in it."""
    return {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
