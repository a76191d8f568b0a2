"""Does the project that ``wampauth init`` writes run, for somebody who types what it says?"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import HERE, free_port
from nacl.signing import SigningKey

from wampauth import cli
from wampauth.testing import ABORT, CALL, GOODBYE, REGISTER, SUBSCRIBE, SUBSCRIBED, WELCOME, RawClient, pubkey

PATIENCE = 90.0  # seconds
OPTIONS = ("--prefix", "org.acme.", "--realm", "office", "--role", "member")
FILES = {".crossbar/config.yaml", "authenticator.py", ".gitignore"}
Run = Callable[[Path, str], "subprocess.Popen[str]"]


def init(folder: Path, *options: str, **more: str) -> Result:
    return CliRunner().invoke(cli.main, ["init", str(folder), *options], **more)  # type: ignore[arg-type]


def written(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def run() -> Iterator[Run]:
    """Runs a line as a shell does, in a folder."""
    started: list[subprocess.Popen[str]] = []
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def begin(folder: Path, line: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore"}
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(line.split(), cwd=folder, stdout=pipe, stderr=pipe, text=True, env=environment))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def done(process: "subprocess.Popen[str]") -> str:
    """What a command says on standard output; it must succeed."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output + errors
    return output


def test_what_it_says_is_followed(tmp_path: Path, run: Run) -> None:
    """init, add, ticket, start, each as printed; then somebody logs in, is revoked, and has to go."""
    port, key, folder = free_port(), SigningKey.generate(), tmp_path / "acme"
    said = done(run(tmp_path, f"wampauth init acme --port {port} {' '.join(OPTIONS)}"))
    add, ticket, start = re.findall(r"^  (wampauth .*)$", said, re.MULTILINE)
    assert done(run(folder, add)) == ""
    secret = done(run(folder, ticket)).strip()
    assert done(run(folder, "wampauth check")) == "config.yaml: nothing is wrong.\n"
    node = run(folder, start)
    assert node.stdout is not None
    assert [node.stdout.readline() for _ in range(2)] == [
        "Starting the node ...\n",
        "The node is ready. Ctrl-C stops it.\n",
    ]
    done(run(folder, f"wampauth key alice {pubkey(key)}"))
    url = f"ws://127.0.0.1:{port}/ws"
    with RawClient(url) as first, RawClient(url) as second, RawClient(url) as third:
        for kind, _, details in first.login_ticket("alice", secret, "office"), second.login_key(key):
            assert (kind, details["realm"], details["authrole"]) == (WELCOME, "office", "member")
        assert first.request(SUBSCRIBE, {}, "org.acme.news")[0] == SUBSCRIBED
        for request in (  # what the probe's rows prefix-topic, forward-for and any-uri try
            (SUBSCRIBE, {"match": "prefix"}, "org.acme.news"),
            (CALL, {"forward_for": [{"session": 1, "authid": "bob", "authrole": "trusted"}]}, "org.acme.add2"),
            (REGISTER, {}, "org.acme.public.anything"),
        ):
            assert first.request(*request)[4] == "wamp.error.not_authorized"
        assert first.request(CALL, {}, "org.acme.add2")[4] == "wamp.error.no_such_procedure"
        assert third.login_ticket("alice", "wrong", "office")[::2] == [ABORT, "org.acme.invalid_ticket"]
        done(run(folder, "wampauth revoke alice --yes"))
        for client in first, second:
            assert client.receive()[::2] == [GOODBYE, "org.acme.revoked"]
    with RawClient(url) as back:
        assert back.login_ticket("alice", secret, "office")[::2] == [ABORT, "org.acme.invalid_ticket"]
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=PATIENCE)
    done(run(folder, "git init -q"))
    kept = done(run(folder, "git ls-files --others --exclude-standard"))
    assert set(kept.split()) == FILES  # what the node has left isn't committed


def test_it_asks_for_what_is_not_given(tmp_path: Path) -> None:
    asked = init(tmp_path / "asked", "--role", "member", input="org.acme.\noffice\n")
    assert asked.exit_code == 0
    assert "Prefix of your URIs, like com.example.: " in asked.output
    assert "Realm that your clients join: " in asked.output
    assert init(tmp_path / "given", *OPTIONS).exit_code == 0
    for name in FILES:
        assert (tmp_path / "asked" / name).read_text() == (tmp_path / "given" / name).read_text()


def test_where_nobody_can_be_asked_it_says_what_to_give(tmp_path: Path) -> None:
    result = init(tmp_path / "acme", input="")
    assert result.exit_code == 1 and not (tmp_path / "acme").exists()
    assert "Error: nobody is there to be asked: in a script, say --prefix, --realm and --role\n" in result.output


def test_it_writes_these_files_and_nothing_else(tmp_path: Path) -> None:
    init(tmp_path, *OPTIONS)
    assert written(tmp_path) == FILES
    assert (tmp_path / ".crossbar").stat().st_mode & 0o777 == 0o700
    for name in FILES:
        text = (tmp_path / name).read_text()
        assert "com.example" not in text
        assert "$" not in text  # all is filled in


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    result = init(tmp_path, *OPTIONS)
    assert (result.exit_code, result.output) == (1, f"Error: {file} exists already, and nothing is overwritten.\n")
    assert written(tmp_path) == {name}
    assert file.read_text() == "mine"


def test_a_node_with_a_configuration_in_json_stays_the_one_that_starts(tmp_path: Path) -> None:
    (tmp_path / ".crossbar").mkdir()
    (tmp_path / ".crossbar" / "config.json").write_text("{}")
    result = init(tmp_path, *OPTIONS)
    assert (result.exit_code, "config.json exists already, and nothing is overwritten" in result.output) == (1, True)
    assert written(tmp_path) == {".crossbar/config.json"}


def test_what_lies_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert init(tmp_path, *OPTIONS).exit_code == 0
    assert written(tmp_path) == FILES | {"README.md"}


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--prefix", "org.acme", "a prefix is like com.example. and ends in a dot"),
        ("--realm", "no", "a realm is 3 to 255 letters"),
        ("--realm", "realm-auth", "realm-auth is for the authenticators"),
        ("--role", "trusted", "the role 'trusted' belongs to the router"),
        ("--role", '"', "a role is 1 to 128 letters"),
    ],
)
def test_names_that_cannot_be(tmp_path: Path, option: str, value: str, rule: str) -> None:
    result = init(tmp_path, *OPTIONS, option, value)
    assert result.exit_code == 2
    assert rule in result.output
    assert written(tmp_path) == set()


def test_names_that_yaml_would_take_for_something_else(tmp_path: Path) -> None:
    init(tmp_path, "--prefix", "1.2.", "--realm", "null", "--role", "no")
    (worker,) = yaml.safe_load((tmp_path / ".crossbar" / "config.yaml").read_text())["workers"]
    assert (worker["realms"][1]["name"], worker["realms"][1]["roles"][0]["name"]) == ("null", "no")
    assert worker["transports"][0]["paths"]["ws"]["auth"]["ticket"]["authenticator"] == "1.2.authenticate.ticket"


def test_its_limits_are_the_lessons(tmp_path: Path) -> None:
    """Nobody should find a weaker node there than in the lesson."""
    init(tmp_path, *OPTIONS)
    (own,) = yaml.safe_load((tmp_path / ".crossbar" / "config.yaml").read_text())["workers"][0]["transports"]
    (lesson,) = yaml.safe_load((HERE / ".crossbar" / "config.json").read_text())["workers"][0]["transports"]
    assert own["endpoint"] == lesson["endpoint"]
    assert (own["max_connections"], own["options"]) == (lesson["max_connections"], lesson["options"])
    limits = lesson["paths"]["ws"]["options"]
    assert own["paths"]["ws"]["options"] == {**limits, "allowed_origins": ["http://localhost:8080"]}
