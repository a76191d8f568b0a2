"""Does each file keep to its floor? Imports in ``src/wampauth`` run downwards only, without circles, and the lesson at
the root uses the library through its public face."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import HERE

import wampauth

# From the top down. A package stands for all that lies in it.
FLOORS = [
    {"__main__", "cli", "probe", "init"},
    {"check", "supervision"},
    {"testing"},
    {"authenticator", "component", "functions", "sessions", "recognition", "authorizing", "operating"}
    | {"watch", "service", "fallback"},
    {"guard", "turns", "decoys", "proofs", "reports", "refusals", "later", "checks", "permissions", "admission"}
    | {"lookup", "live", "ending", "endings", "health", "metrics", "answering"},
    {
        "throttle",
        "audit",
        "settings",
        "store",
        "rules",
        "connections",
        "nodeconfig",
        "http",
        "history",
        "acts",
    },
    {"claims", "methods", "scram", "names", "keys", "forwarded", "places", "records", "logs", "worker", "pubkeys"}
    | {"origins", "enrolment", "gathering", "certificates", "served", "figures", "told", "starting"}
    | {"calling", "pipes", "ownership"},
]
DIALECTS = {"wampauth.store.sqlite", "wampauth.store.postgresql"}
DRIVERS = {"sqlite3": "wampauth.store.sqlite", "psycopg": "wampauth.store.postgresql"}
LESSON = {
    "authenticator.py": {"wampauth", "typing"},
    "client.py": {"wampauth", "autobahn", "twisted", "txaio", "click", *sys.stdlib_module_names},
    "backend.py": {"wampauth", "autobahn", "twisted", "click", *sys.stdlib_module_names},
}
LINES = {"Makefile": 100, "authenticator.py": 80, "client.py": 200, "backend.py": 40}
ROOT = {
    *("README.md", "LICENSE", "CHANGELOG.md", "Makefile", "pyproject.toml", "requirements"),
    *("authenticator.py", "client.py", "backend.py", ".crossbar", ".keys"),
    *("src", "tests", "tools", "examples", "docs", "stages", "deploy", ".ci", ".gitignore"),
}


def modules() -> dict[str, Path]:
    """The library's modules, by name."""
    found = {}
    for file in (HERE / "src").rglob("*.py"):
        parts = file.relative_to(HERE / "src").with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = file
    return found


MODULES = modules()


def imports(file: Path) -> Iterator[str]:
    """What a file imports, wherever in it: dotted names of modules, or of what is in them."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def library_imports(module: str) -> set[str]:
    """The library's modules that one of them imports."""
    found = {name for name in imports(MODULES[module]) if name.partition(".")[0] == "wampauth"}
    return {name if name in MODULES else name.rpartition(".")[0] for name in found}


def floor(module: str) -> int:
    """On which floor a module lies; 0 is the top. The face lies with what it shows."""
    first = module.removeprefix("wampauth").removeprefix(".").partition(".")[0] or "authenticator"
    found = [number for number, names in enumerate(FLOORS) if first in names]
    assert len(found) == 1, f"on which floor is {first}? Add it to one of FLOORS"
    return found[0]


# -- floors


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downwards(module: str) -> None:
    upwards = {name for name in library_imports(module) if floor(name) < floor(module)}
    assert upwards == set()


def test_there_are_no_circles() -> None:
    graph = {module: library_imports(module) for module in MODULES}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)  # or it raises CycleError, with the circle


def test_no_module_leans_on_the_face() -> None:
    """``wampauth`` shows what its modules have made; none of them takes it from there."""
    assert [module for module in MODULES if "wampauth" in library_imports(module)] == []


def test_the_dialects_meet_only_where_a_store_is_opened() -> None:
    who = {module for module in MODULES if library_imports(module) & DIALECTS}
    assert who == {"wampauth.store"}


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_driver_is_known_to_its_dialect_alone(driver: str) -> None:
    who = {module for module, file in MODULES.items() if driver in {name.partition(".")[0] for name in imports(file)}}
    assert who == {DRIVERS[driver]}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if not name.startswith("wampauth.testing")))
def test_the_prefix_is_the_authors(module: str) -> None:
    """No URI of the lesson's stands in the library: each follows from the prefix."""
    strings = [node for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Constant)]
    assert [node.value for node in strings if str(node.value).startswith("com.example")] == []


# -- the root


@pytest.mark.parametrize("name", LESSON)
def test_the_lesson_imports_what_its_reader_knows(name: str) -> None:
    assert {module.partition(".")[0] for module in imports(HERE / name)} <= LESSON[name]


@pytest.mark.parametrize("name", LESSON)
def test_the_lesson_uses_the_library_by_its_face(name: str) -> None:
    used = {module for module in imports(HERE / name) if module.partition(".")[0] == "wampauth"}
    assert used <= {f"wampauth.{shown}" for shown in wampauth.__all__}


@pytest.mark.parametrize("name", LINES)
def test_the_lesson_is_short(name: str) -> None:
    assert len((HERE / name).read_text().splitlines()) <= LINES[name]


def test_nothing_else_lies_in_the_root() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=HERE, check=False, capture_output=True, text=True)
    if done.returncode == 128:
        pytest.skip("this isn't a git checkout")
    files = [Path(name) for name in done.stdout.split("\0") if name and (HERE / name).exists()]
    assert {file.parts[0] for file in files} <= ROOT
    assert {file.name for file in files if file.parent == Path(".crossbar")} == {
        "config.json",
        "hardened.yaml",
        "scaled.yaml",
    }
