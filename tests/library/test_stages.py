"""Does each stage of the lesson run, and add only what it says?"""

import ast
import difflib
import re
from operator import le
from pathlib import Path

import pytest
from conftest import HERE, read_config
from probing import MAY_BE, STAGES, known, probe
from readme import shell

from wampauth.probe.catalogue import ROWS
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, NOT_APPLICABLE

FUNCTIONS = {
    'create_ticket = authenticator.function("ticket")',
    'create_cryptosign = authenticator.function("cryptosign")',
}
SESSIONS = {"Sessions = authenticator.sessions"}
stages = pytest.mark.parametrize("stage", STAGES)

# How many lines each stage adds to the one before, and takes away: in Python, and in the node's configuration.
MOST = {
    ("1", "2"): ((20, 27), (0, 0)),
    ("2", "3"): ((5, 9), (3, 1)),
    ("3", "4"): ((2, 1), (18, 7)),
    ("4", "5"): ((0, 0), (48, 8)),
}


def authenticator(stage: str) -> Path:
    return HERE / "stages" / stage / "authenticator.py"


def config(stage: str) -> Path:
    return HERE / "stages" / stage / ".crossbar" / "config.yaml"


def changed(old: Path, new: Path) -> tuple[int, int]:
    """How many lines are new, and how many are gone."""
    marks = [line[0] for line in difflib.ndiff(old.read_text().splitlines(), new.read_text().splitlines())]
    return marks.count("+"), marks.count("-")


def statements(file: Path) -> list[str]:
    """What a module does, without comments and docstrings."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.AsyncFunctionDef, ast.FunctionDef)):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return [ast.unparse(node).replace("'", '"') for node in tree.body]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize(("before", "after"), MOST)
def test_a_stage_adds_one_thing(before: str, after: str) -> None:
    python, yaml = MOST[before, after]
    assert all(map(le, changed(authenticator(before), authenticator(after)), python))
    assert all(map(le, changed(config(before), config(after)), yaml))


def test_the_lesson_is_the_last_stage_with_the_lines_for_functions() -> None:
    root = statements(HERE / "authenticator.py")
    assert root == [*statements(authenticator("4")), *sorted(FUNCTIONS, reverse=True)]
    assert statements(authenticator("4")) == [*statements(authenticator("3")), *SESSIONS]
    assert authenticator("5").read_text() == authenticator("4").read_text()


def test_the_last_stage_is_the_hardened_node() -> None:
    """But for the places of files, and for a word on what it is."""
    last = config("5").read_text().replace("../../../.crossbar/", "").replace('"..", "../../.."', '".."')
    hardened = (HERE / ".crossbar" / "hardened.yaml").read_text()
    assert last.partition("\n")[2] == hardened.partition("\n")[2], (
        "stages/5/.crossbar/config.yaml is .crossbar/hardened.yaml with other paths: change both"
    )


@stages
def test_the_names_are_those_of_the_lesson(stage: str) -> None:
    """Each node has the lesson's realms and roles, and asks the lesson's procedures."""
    (worker,) = read_config(config(stage))["workers"]
    (lesson,) = read_config(HERE / ".crossbar" / "config.json")["workers"]

    def roles(of: dict[str, list[dict[str, list[dict[str, str]]]]]) -> dict[str, list[str]]:
        return {str(realm["name"]): [role["name"] for role in realm["roles"]] for realm in of["realms"]}

    assert roles(worker) == roles(lesson)
    assert worker["transports"][0]["paths"]["ws"]["auth"] == lesson["transports"][0]["paths"]["ws"]["auth"]


@stages
def test_its_clients_end_as_expected(stage: str) -> None:
    clients = "clients-hardened" if stage == "5" else "clients"
    with shell() as copy:
        copy.run("make -s .crossbar/certs/server.pem")
        printed = copy.run(f"wampauth start --directory stages/{stage}/.crossbar make -s {clients}; echo exit code $?")
    assert printed[-1] == "exit code 0", "\n".join(printed)


@stages
def test_make_starts_it_and_attacks_it(stage: str) -> None:
    directory = f"wampauth start --directory stages/{stage}/.crossbar"
    with shell() as copy:
        copy.run("make -s .crossbar/certs/server.pem")
        assert copy.run(f"make -n stage-{stage}") == [directory]
        (attack,) = copy.run(f"make -n probe-{stage}")
    url = "wss://localhost:8443/ws --ca .crossbar/certs/client.pem" if stage == "5" else "ws://localhost:8080/ws"
    assert attack.startswith(f'MYTICKET="secret123" {directory} wampauth probe {url} --realm realm1 --authid client1 ')


def test_what_is_shown_was_found_by_these_probes() -> None:
    verdicts = known()
    assert list(verdicts) == list(ROWS)
    for name, row in verdicts.items():
        assert set(row) == set(STAGES), name
        assert set(row.values()) <= {HOLDS, FALLS, CANT_TELL, NOT_APPLICABLE}, name


@pytest.mark.slow
@stages
def test_what_is_shown_is_found_today(stage: str) -> None:
    """If not, ``python tests/library/probing.py`` writes it anew."""
    with shell() as copy:
        copy.run("export MYTICKET=secret123; make -s .crossbar/certs/server.pem")
        found = probe(stage, copy)
    for name, row in known().items():
        assert found[name] in {row[stage], *MAY_BE.get(name, ())} or row[stage] == CANT_TELL, name


def test_no_stage_falls_to_what_an_earlier_one_has_mended() -> None:
    for name, row in known().items():
        marks = "".join("f" if row[stage] == FALLS else "." for stage in STAGES)
        assert re.fullmatch(r"f*\.*", marks), name
