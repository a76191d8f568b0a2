"""Does ``wampauth check`` find what is wrong with a node's configuration, and leave alone what is right?"""

import copy
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import HERE, Bundle, Config, read_config

from wampauth import Authenticator, cli
from wampauth import check as package
from wampauth.check import Finding, belonging, between, check, trial
from wampauth.check.worker import Trial
from wampauth.nodeconfig import NodeError, Section, load, walk
from wampauth.settings import SettingsError
from wampauth.store import connect, writing

WS = "workers[0].transports[0].paths.ws.auth"
FUNCTION = "workers[0].transports[0].paths.ws-function.auth"


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lesson's project: a copy, with the demo's principals."""
    return copied(tmp_path_factory.mktemp("lesson"), "config.json")


def copied(folder: Path, config: str) -> Path:
    """A project's node directory, with one of the lesson's configurations."""
    for name in "authenticator.py", "backend.py":
        shutil.copy(HERE / name, folder)
    bundle = Bundle(folder / ".crossbar", config)
    bundle.directory.mkdir(mode=0o700)
    shutil.copy(HERE / ".crossbar" / config, bundle.directory)
    bundle.add_principals()
    if config == "hardened.yaml":
        bundle.make_certificates()
    if config == "scaled.yaml":
        bundle.make_admission_key()
        (bundle.directory / "sockets").mkdir(mode=0o700)
    return bundle.directory


def spoilt(folder: Path, spoil: Callable[[Config], object], module: str = "") -> list[tuple[str, str, str]]:
    """What is found in the lesson's project when its configuration is changed, and its authenticator.py added to."""
    directory = copied(folder, "config.json")
    with (folder / "authenticator.py").open("a") as file:
        file.write(module)
    config = read_config(directory / "config.json")
    spoil(config)
    (directory / "config.json").write_text(json.dumps(config))
    return [(found.severity, found.place, found.text) for found in check(directory)]


def command(directory: Path, *args: str) -> Result:
    return CliRunner().invoke(cli.main, ["check", "--directory", str(directory), *args])


# -- what is right


@pytest.mark.parametrize("config", ["config.json", "hardened.yaml", "scaled.yaml"])
def test_nothing_is_wrong_with_what_we_ship(tmp_path_factory: pytest.TempPathFactory, config: str) -> None:
    directory = copied(tmp_path_factory.mktemp("node"), config)  # whose name is short, for the sockets in it
    before = sorted(directory.rglob("*"))
    result = command(directory, "--config", config)
    assert (result.exit_code, result.output) == (0, f"{config}: nothing is wrong.\n")
    assert command(directory, "--config", config, "--json").output == ""
    assert sorted(directory.rglob("*")) == before  # and no audit is begun, and nothing made


@pytest.mark.parametrize("config", ["config.json", "scaled.yaml"])
@pytest.mark.parametrize("decoy", [["realm1", "frontend"], ["realm1", "frontent"], ["realm2", "frontend"]])
def test_strangers_are_challenged_as_somebody_who_may_join(tmp_path: Path, config: str, decoy: list[str]) -> None:
    def set_decoy(configuration: Config) -> None:
        for worker in configuration["workers"]:
            for component in worker.get("components", ()):
                if component["classname"] == "authenticator.AuthenticatorSession":
                    component["extra"].setdefault("guard", {})["decoy"] = decoy

    directory = copied(tmp_path, config)
    known = read_config(directory / config)
    set_decoy(known)
    (directory / config).write_text(json.dumps(known))
    found = {finding.text for finding in check(directory, config) if finding.place.endswith("guard.decoy")}
    sentence = f"there is no role {decoy[1]} in a realm {decoy[0]}: everybody could see who isn't known"
    assert found == (set() if decoy == ["realm1", "frontend"] else {sentence})


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text("[]")
    with pytest.raises(NodeError, match=r"own\.json isn't a node's configuration: it has no list of workers"):
        check(tmp_path, "own.json")
    result = command(tmp_path)
    sentence = f"Error: There is no config.yaml or config.json in {tmp_path}: `wampauth init` writes one.\n"
    assert (result.exit_code, result.output) == (1, sentence)
    with pytest.raises(NodeError, match=r"There is no /.*/own\.json in .*/nowhere: `wampauth init` writes one"):
        check(tmp_path / "nowhere", str(tmp_path / "own.json"))


# -- keys that stand twice


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"a": [{"b": {"c": 1, "d": 2, "c": 3}}]}'),
        ("config.yaml", "a:\n- b: {c: 1, d: 2, c: 3}\n"),
    ],
)
def test_a_key_that_stands_twice(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    loaded = load(tmp_path / name)
    assert loaded == {"a": [{"b": {"c": 3, "d": 2}}]}  # the last, as for the router
    assert {place: section.doubled for place, section in walk(loaded) if section.doubled} == {"a[0].b": ("c",)}


def test_what_an_anchor_brings_may_be_said_again(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: *a\n")
    loaded = load(file)
    assert loaded == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 1, "y": 2}}
    assert not any(section.doubled for _, section in walk(loaded))


def test_what_an_anchor_brings_may_bring_an_anchor(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "a: {b: {c: &c {x: 1, y: 2}}, d: {e: &e {<<: *c, x: 3}}, f: {<<: *e, z: 4}}\ng: {<<: *c, y: 5, y: 6}\n"
    )
    loaded = load(file)
    assert loaded["a"] == {"b": {"c": {"x": 1, "y": 2}}, "d": {"e": {"x": 3, "y": 2}}, "f": {"x": 3, "y": 2, "z": 4}}
    assert {place: section.doubled for place, section in walk(loaded) if section.doubled} == {"g": ("y",)}


def test_a_doubled_key_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("workers:\n- &w {type: router, id: a, id: b}\n- *w\n")
    assert check(tmp_path) == [Finding("workers[0]", "'id' stands here twice: the router takes the last")]


# -- what a worker's own modules say to their settings


def test_settings_stores_and_factories(tmp_path: Path) -> None:
    """Several mistakes in one node, each with its place. What only follows from them isn't complained of."""

    def spoil(config: Config) -> None:
        (worker,) = config["workers"]
        first, second, third, backend = worker["components"]
        first["extra"]["guard"] = {"audit": "nosuch/audit.jsonl"}
        second["extra"] = {"roles": {"frontend": [{"url": "com.example.topic1"}]}}
        third["classname"] = "authenticator.Session"
        backend["classname"] = "backed.Backend"
        functions = worker["transports"][0]["paths"]["ws-function"]["auth"]
        functions["ticket"]["create"] = "authenticator.create_cryptosign"
        functions["cryptosign"]["create"] = "nosuch.create_cryptosign"

    assert spoilt(tmp_path, spoil) == [
        (
            "error",
            "workers[0].components[0].extra",
            "the audit can't be written: nosuch/audit.jsonl; make its folder first",
        ),
        (
            "error",
            "workers[0].components[1].extra",
            "setting 'roles', role 'frontend': each role must have 'uri' key",
        ),
        ("error", "workers[0].components[2]", "authenticator has no Session"),
        (
            "error",
            "workers[0].components[3]",
            "backed.Backend can't be imported: ModuleNotFoundError: No module named 'backed'",
        ),
        (
            "error",
            f"{FUNCTION}.ticket",
            "authenticator.create_cryptosign is for the method cryptosign, not for ticket",
        ),
        (
            "error",
            f"{FUNCTION}.cryptosign",
            "nosuch.create_cryptosign can't be imported: ModuleNotFoundError: No module named 'nosuch'",
        ),
        ("warning", "workers[0].realms[2].name", f"devices: {belonging.NO_WATCH}"),
        ("warning", "workers[0].components[1].extra.roles.frontend", "no role frontend of realm1 asks the authorizer"),
    ]


@pytest.mark.parametrize(
    ("spoil", "place", "sentence"),
    [
        (
            lambda worker: worker["components"][0]["extra"].update(guard={"deadlin": 3}),
            "components[0].extra",
            "unknown setting 'deadlin' under 'guard'",
        ),
        (
            lambda worker: worker["components"][0]["extra"].update(guard={"private_files": ["no.key"]}),
            "components[0].extra",
            "setting 'private_files': no.key: No such file or directory",
        ),
        (
            lambda worker: worker["components"][0]["extra"].update(guard={"admission_key": "no.key"}),
            "components[0].extra",
            "setting 'admission_key': there is no file no.key: in the node directory, `(umask 077; head -c 32 /dev/ur",
        ),
        (
            lambda worker: worker["components"][0]["extra"].update(store="nosuch.db"),
            "components[0].extra",
            "there is no store at nosuch.db",
        ),
        (
            lambda worker: worker["components"][1].update(extra={"guard": {"deadline": 3}}),
            "components[1].extra",
            "setting 'guard' isn't what the component before this one has said: one Authenticator has one",
        ),
        (
            lambda worker: worker["components"][1].update(extra={"connections": {}, "guard": {"deadlin": 1}}),
            "components[1].extra",
            "unknown setting",
        ),
        (
            lambda worker: worker["transports"][0]["paths"]["ws-function"]["auth"]["ticket"].update(config={"a": 1}),
            "transports[0].paths.ws-function.auth.ticket",
            'a factory takes no "config" in this worker',
        ),
    ],
)
def test_a_wrong_setting(tmp_path: Path, spoil: Callable[[Config], object], place: str, sentence: str) -> None:
    (found,) = [one for one in spoilt(tmp_path, lambda config: spoil(config["workers"][0])) if one[0] == "error"]
    assert found[1] == f"workers[0].{place}"
    assert found[2].startswith(sentence)


def test_a_listener_whose_files_are_missing(tmp_path: Path) -> None:
    """The router would say so in a screenful. What else can be wrong with them: test_check_production.py."""
    tls = {"key": "no.key", "certificate": "no.pem", "ca_certificates": ["none.pem"]}
    found = spoilt(tmp_path, lambda config: config["workers"][0]["transports"][0]["endpoint"].update(tls=tls))
    place = "workers[0].transports[0].endpoint.tls"
    assert [(where, Path(text).name) for severity, where, text in found if severity == "error"] == [
        (f"{place}.certificate", "no.pem: No such file or directory"),
        (f"{place}.ca_certificates[0]", "none.pem: No such file or directory"),
    ]


def test_a_socket_whose_name_is_too_long(tmp_path: Path) -> None:
    """As in a folder that lies deep: the router can't listen there."""
    endpoint = {"type": "unix", "path": f"{'s' * 107}/raw.sock"}
    found = spoilt(tmp_path, lambda config: config["workers"][0]["transports"][0].update(endpoint=endpoint))
    (text,) = [text for severity, where, text in found if where == "workers[0].transports[0].endpoint.path"]
    assert text.endswith("is longer than the 107 bytes that a Unix domain socket's name may have")


def test_a_factory_without_a_component(tmp_path: Path) -> None:
    """It would refuse everybody: its settings stand in a component of its worker, and in a proxy in ``config``."""

    def spoil(config: Config) -> None:
        (worker,) = config["workers"]
        del worker["components"][:3]
        ways = worker["transports"][0]["paths"]
        ways.pop("ws")
        ways["ws-function"]["auth"].pop("cryptosign")

    found = [one for one in spoilt(tmp_path, spoil) if one[0] == "error"]
    assert [(place, text[:57]) for _, place, text in found] == [
        (f"{FUNCTION}.ticket", "no component of this Authenticator has brought settings i")
    ]


@pytest.mark.parametrize("config", [{}, {"store": "other.db"}])
def test_functions_of_a_proxy_that_bring_different_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    """Whoever logs in first would settle with which ones the others are asked."""

    class Both:
        def __init__(self, settings: Config) -> None: ...

        async def ticket(self, claim: Any) -> None: ...

        cryptosign = ticket

    authenticator, tried = Authenticator(Both, prefix="org.acme."), Trial("proxy")
    ways = {f"create_{name}": authenticator.function(name) for name in ("ticket", "cryptosign")}
    monkeypatch.setitem(sys.modules, "acme_ways", SimpleNamespace(**ways))
    monkeypatch.chdir(tmp_path)
    for name in "ticket", "cryptosign":
        tried._function(name, {"create": f"acme_ways.create_{name}", "config": {"store": "principals.db"}})
    with pytest.raises(SettingsError, match='its "config" isn\'t the one of the function before it'):
        tried._function("cryptosign", {"create": "acme_ways.create_cryptosign", "config": config})


def test_what_a_module_may_do_to_us(tmp_path: Path) -> None:
    """It prints, it warns, it exits: we say so, in one sentence, and nothing of it gets into the report."""
    found = spoilt(tmp_path, lambda config: None, "print('{')\nimport sys\nsys.exit('open-sesame')\n")
    assert found[0][:2] == ("error", "workers[0].components[0]")
    assert found[0][2] == "authenticator.AuthenticatorSession can't be imported: SystemExit (authenticator.py:36)"


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("int('open-sesame')", "can't be imported: ValueError (authenticator.py:34)"),
        ("import jwt_of_ours", "ModuleNotFoundError: No module named 'jwt_of_ours' (authenticator.py:34)"),
        ("'open-sesame", "can't be imported: SyntaxError (authenticator.py:34)"),
        (
            "Checks.__init__ = lambda *_: int('open-sesame')",
            "the checks can't be made: ValueError (authenticator.py:34)",
        ),
        (
            "def open_sesame(self): ...\nChecks.__init__ = open_sesame",
            "open_sesame() takes 1 positional argument but 2",
        ),
        ("import sys\nprint('open-sesame', file=sys.stderr)\nimport os\nos._exit(3)", "exit code 3"),
    ],
)
def test_what_an_authors_code_raises_is_told_without_its_text(tmp_path: Path, module: str, sentence: str) -> None:
    """It may hold a secret, and a terminal is seen by others, and kept by CI."""
    found = spoilt(tmp_path, lambda config: None, module + "\n")
    assert sentence in found[0][2]
    assert "open-sesame" not in str(found)


def test_a_module_that_ends_the_process(tmp_path: Path) -> None:
    (_, place, text), *_ = spoilt(tmp_path, lambda config: None, "import os\nos._exit(3)\n")
    assert (place, text) == ("workers[0]", "it ends while its modules are loaded: exit code 3")


def test_a_module_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.5)
    found = spoilt(tmp_path, lambda config: None, "import time\ntime.sleep(600)\n")
    assert found[0] == ("warning", "workers[0]", "its modules weren't loaded after 0.5 seconds")


def test_a_method_that_is_misspelt_is_asked_about(tmp_path: Path) -> None:
    module = "Checks.tickets = Checks.ticket\ndel Checks.ticket\n"
    told = ("warning", "workers[0].components[0].extra", "Checks has a method tickets(): is ticket() meant?")
    assert told in spoilt(tmp_path, lambda config: None, module)


def test_a_name_beside_that_of_a_method_is_an_authors_own(tmp_path: Path) -> None:
    assert spoilt(tmp_path, lambda config: None, "Checks._ticket = Checks.ticket\n") == []


# -- what stands in one place, and what in another


@pytest.fixture(scope="module")
def reports(lesson: Path) -> list[trial.Report]:
    """What the workers of the lesson's node report."""
    return [trial.report(lesson, worker) for worker in load(lesson / "config.json")["workers"]]


def set_in(*path: Any, value: Any) -> Callable[[Any], None]:
    """A change of a configuration."""

    def change(config: Any) -> None:
        *way, last = path
        for step in way:
            config = config[step]
        config[last] = value

    return change


WORKER = ("workers", 0)
TICKET = (*WORKER, "transports", 0, "paths", "ws", "auth", "ticket")


@pytest.mark.parametrize(
    ("change", "place", "sentence"),
    [
        (
            set_in(*TICKET, "authenticator", value="com.example.authenticate.tickets"),
            f"{WS}.ticket.authenticator",
            "no component registers com.example.authenticate.tickets: is com.example.authenticate.ticket meant?",
        ),
        (
            set_in(*TICKET, "authenticator", value="com.example.authenticate.cryptosign"),
            f"{WS}.ticket.authenticator",
            "com.example.authenticate.cryptosign is for another method than ticket",
        ),
        (
            set_in(*TICKET, "authenticator-realm", value="realm-aut"),
            f"{WS}.ticket.authenticator-realm",
            "there is no realm realm-aut: is realm-auth meant?",
        ),
        (
            set_in(*TICKET, "authenticator-realm", value="devices"),
            f"{WS}.ticket.authenticator-realm",
            "com.example.authenticate.ticket is registered in realm-auth, not in devices",
        ),
        (
            set_in(*TICKET, "authenticator_realm", value="realm-auth"),
            f"{WS}.ticket.authenticator_realm",
            "the router doesn't know 'authenticator_realm' here: is authenticator-realm meant?",
        ),
        (
            set_in(*TICKET, "authenticator-role", value="authenticator"),
            f"{WS}.ticket.authenticator-role",
            "with a role, each client hangs here: leave it out in a router worker",
        ),
        (
            set_in(*WORKER, "components", 0, "realm", value="realm-aut"),
            "workers[0].components[0].realm",
            "there is no realm realm-aut: is realm-auth meant?",
        ),
        (
            set_in(*WORKER, "components", 0, "role", value="nobody"),
            "workers[0].components[0].role",
            "the realm realm-auth has no role nobody (there is authenticator)",
        ),
        (
            set_in(*WORKER, "realms", 0, "roles", 0, "permissions", 0, "match", value="exact"),
            "workers[0].components[0].role",
            "the role authenticator may not register com.example.authenticate.ticket in realm-auth",
        ),
        (
            set_in(*WORKER, "components", 2, "realm", value="realm-auth"),
            "workers[0].components[2].realm",
            "realm-auth is the authenticators' own: nobody is let in there",
        ),
        (
            set_in(*WORKER, "realms", 2, "roles", 0, value=Section(name="device", authorizer="com.example.authorize")),
            "workers[0].realms[2]",
            "the role device asks com.example.authorize, and no `Sessions` in devices has rules for it",
        ),
    ],
)
def test_what_does_not_fit(
    lesson: Path, reports: list[trial.Report], change: Callable[[Any], None], place: str, sentence: str
) -> None:
    config = load(lesson / "config.json")
    change(config)
    found = between(config["workers"], reports)
    assert (place, sentence, "error") in [(one.place, one.text, one.severity) for one in found]


@pytest.mark.parametrize(
    ("change", "place", "sentence"),
    [
        (
            lambda worker: worker["transports"][0]["paths"]["ws"]["auth"]["ticket"].pop("authenticator-realm"),
            f"{WS}.ticket",
            "authenticator-realm is missing: the router asks in whichever realm the client names. The component is in "
            "realm-auth",
        ),
        (
            lambda worker: worker["components"][1].update(realm="devices"),
            "workers[0].realms[1].name",
            f"realm1: {belonging.NO_WATCH}",
        ),
        (
            lambda worker: worker["components"][1].update(extra=Section(roles={"frontend": []})),
            "workers[0].components[1].extra.roles.frontend",
            "no role frontend of realm1 asks the authorizer",
        ),
        (
            lambda worker: worker["realms"][1].update(name="realm2"),
            "workers[0].components[0].extra.store",
            "client1 is stored for the realm realm1, which isn't there: is realm2 meant?",
        ),
        (
            lambda worker: worker["realms"][2]["roles"][0].update(name="gadget"),
            "workers[0].components[0].extra.store",
            "client01@example.com is stored for the role device, which devices doesn't have (there is gadget)",
        ),
        (
            lambda worker: worker["realms"][1]["roles"][1]["permissions"].append(
                {"uri": "com.example.topic1.salaries", "allow": {"publish": True}}
            ),
            "workers[0].realms[1]",
            "role 'frontend' in realm 'realm1', rule 'com.example.topic1': with match=prefix it may subscribe to what "
            "others publish under 'com.example.topic1.salaries', too",
        ),
    ],
)
def test_what_may_be_meant(
    lesson: Path, reports: list[trial.Report], change: Callable[[Any], object], place: str, sentence: str
) -> None:
    config = load(lesson / "config.json")
    change(config["workers"][0])
    found = between(config["workers"], reports)
    assert (place, sentence, "warning") in [(one.place, one.text, one.severity) for one in found]


def test_sessions_of_another_authenticator_watch_nothing(lesson: Path, reports: list[trial.Report]) -> None:
    workers, components = load(lesson / "config.json")["workers"], reports[0].components
    other = {**components, 0: {**components[0], "prefix": "org.acme."}}
    found = between(workers, [replace(reports[0], components=other)])
    assert ("workers[0].components[0]", belonging.NOT_WATCHED) in [(one.place, one.text) for one in found]


def test_nothing_does_not_fit(lesson: Path, reports: list[trial.Report]) -> None:
    assert between(load(lesson / "config.json")["workers"], reports) == []


@pytest.mark.parametrize("is_shared", [False, True])
def test_two_that_register_the_same(lesson: Path, reports: list[trial.Report], is_shared: bool) -> None:
    """Such as two Authenticators with one prefix, of which the second one would keep the node from starting."""
    (worker,) = load(lesson / "config.json")["workers"]
    components, known = worker["components"], reports[0].components
    components[1]["extra"] = Section(roles=Section(frontend=[]))
    number = len(components)
    worker["components"] = [*components, *components[:2]]
    again = {number: {**known[0], "shared": is_shared}, number + 1: known[1]}
    found = between([worker], [replace(reports[0], components={**known, **again})])
    twice = [(one.place, one.text.partition(", too")[0]) for one in found if "a prefix of its own" in one.text]
    asked = [
        (
            f"workers[0].components[{number}]",
            f"workers[0].components[0] registers com.example.authenticate.{method} in realm-auth",
        )
        for method in ("ticket", "cryptosign")
    ]
    authorizer = "workers[0].components[1] registers com.example.authorize in realm1"
    assert twice == [*([] if is_shared else asked), (f"workers[0].components[{number + 1}]", authorizer)]


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Section], list[trial.Report]]:
    directory = copied(tmp_path_factory.mktemp("scaled"), "scaled.yaml")
    workers = load(directory / "scaled.yaml")["workers"]
    return workers, [trial.report(directory, worker) for worker in workers]


@pytest.mark.parametrize(
    ("named", "count"),
    [("./principals.db", 0), ("second.db", 2), ("postgresql://db/acme", 2)],
)
def test_sessions_that_follow_another_store(
    scaled: tuple[list[Section], list[trial.Report]], named: str, count: int
) -> None:
    workers, reports = copy.deepcopy(scaled)
    for number in 2, 3:
        workers[number]["components"][0]["extra"]["store"] = named
    found = [one.place for one in between(workers, reports) if one.text == belonging.OTHER_STORE]
    assert found == [f"workers[0].components[{number}].extra.store" for number in (1, 2)][:count]


@pytest.mark.parametrize(
    ("role", "sentence"),
    [
        (None, "authenticator-role is missing, which a proxy needs"),
        ("frontend", "the proxy has no route for the role frontend in realm-auth"),
        ("authenticator", "the role authenticator may not call com.example.authenticate.ticket in realm-auth"),
    ],
)
def test_who_asks_from_a_proxy(
    scaled: tuple[list[Section], list[trial.Report]], role: str | None, sentence: str
) -> None:
    workers, reports = copy.deepcopy(scaled)
    ticket = workers[4]["transports"][0]["paths"]["ws"]["auth"]["ticket"]
    ticket.pop("authenticator-role")
    if role:
        ticket["authenticator-role"] = role
    if role == "authenticator":
        workers[4]["routes"]["realm-auth"]["authenticator"] = "authentication"
    found = [one.text for one in between(workers, reports) if ".ws.auth.ticket" in one.place]
    assert sentence in found


def test_a_proxy_that_cannot_tell_of_a_right_proof(scaled: tuple[list[Section], list[trial.Report]]) -> None:
    workers, reports = copy.deepcopy(scaled)
    assert [one.text for one in between(workers, reports)] == []
    (proxy,) = (role for role in workers[1]["realms"][0]["roles"] if role["name"] == "proxy")
    exact = [
        {"uri": f"com.example.authenticate.{method}", "allow": {"call": True}} for method in ("ticket", "cryptosign")
    ]
    proxy["permissions"] = exact
    found = [one for one in between(workers, reports) if ".ws.auth." in one.place]
    assert {(one.place.rpartition(".ws.auth.")[2], one.severity) for one in found} == {
        ("cryptosign.authenticator-role", "warning")
    }
    assert "may not call what begins with com.example.authenticate.proven. in realm-auth" in found[0].text


def test_somebody_who_is_stored_for_the_authenticators_realm(tmp_path: Path) -> None:
    directory = copied(tmp_path, "config.json")
    with closing(connect(str(directory / "principals.db"))) as store:
        for authid in "slip", "slip2":
            writing.add(store, {"authid": authid, "realm": "realm-auth", "role": "authenticator"})
    (found,) = check(directory)
    assert found.severity == "warning"
    assert found.text == "slip and 1 more is stored for realm-auth, the authenticators' own realm, and isn't let in"


# -- at the command line


FOUND = [Finding("workers[0].id", "this is wrong"), Finding("", "this may be meant", "warning")]


@pytest.mark.parametrize(("found", "code"), [(FOUND, 1), (FOUND[1:], 0)])
def test_the_command(lesson: Path, monkeypatch: pytest.MonkeyPatch, found: list[Finding], code: int) -> None:
    monkeypatch.setattr("wampauth.cli.checking.look", lambda directory, config, production=False: found)
    result = command(lesson)
    lines = ["config.json: workers[0].id: this is wrong", "config.json: warning: this may be meant"]
    assert (result.exit_code, result.output.splitlines()) == (code, lines[-len(found) :])
    result = command(lesson, "--json")
    assert result.exit_code == code
    assert [json.loads(line) for line in result.output.splitlines()] == [
        {"file": "config.json", "place": one.place, "text": one.text, "severity": one.severity} for one in found
    ]


def test_an_error_stops_the_start(lesson: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wampauth.cli.checking.look", lambda directory, config: FOUND)
    monkeypatch.setattr(importlib.import_module("wampauth.cli.start"), "Node", None)  # the router isn't asked
    result = CliRunner().invoke(cli.main, ["start", "--directory", str(lesson)])
    assert (result.exit_code, result.output.splitlines()) == (
        1,
        [
            "Starting the node ...",
            "config.json: workers[0].id: this is wrong",
            "config.json: warning: this may be meant",
            "Error: The node isn't started: mend config.json first.",
        ],
    )


def test_the_package_shows_what_others_use() -> None:
    assert package.__all__ == ["Finding", "check"]
