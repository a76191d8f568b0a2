"""What does a probe of our own nodes show? Takes a minute each: the whole command, with its real patience."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import CHOSEN, Bundle, MakeBundle
from probing import MAY_BE

from wampauth import cli
from wampauth.probe.catalogue import ROWS
from wampauth.probe.report import FALLS, HOLDS, NOT_APPLICABLE

# What each still falls to, and why. All else holds, or isn't applicable.
LESSON = {
    "after-goodbye",  # the router takes an old signature; `Sessions` ends those that were revoked
    "deep-nesting",  # the recursion limit that a library of Crossbar.io sets
    "idle-headers",  # there is no login grace time yet
    "idle-websocket",
    "idle-challenge",
    "prefix-topic",  # static permissions
    "forward-for",
}


Rows = dict[str, dict[str, str]]


def probe(bundle: Bundle, url: str, *args: str) -> Rows:
    """What the command line reports, by row."""
    key: Path = bundle.device_key_file()
    command = ["probe", url, "--realm", "realm1", "--authid", "client1", "--ticket-env", "MYTICKET", "--json"]
    command += ["--key", str(key), "--key-authid", "client01@example.com", "--key-realm", "devices"]
    command += ["--topic", "com.example.topic1", "--procedure", "com.example.add2", *args]
    done = CliRunner().invoke(cli.main, command, env={"MYTICKET": CHOSEN})
    rows = json.loads(done.stdout)["rows"]
    assert done.exit_code == any(row["verdict"] == FALLS for row in rows)
    return {row["name"]: row for row in rows}


def check(rows: Rows, falling: set[str]) -> None:
    """That nothing falls but these, and that the others hold."""
    assert set(rows) == set(ROWS)
    for name, row in rows.items():
        right = {HOLDS, NOT_APPLICABLE, *MAY_BE.get(name, ()), *([FALLS] if name in falling else [])}
        assert row["verdict"] in right, f"{name}: {row['came']}"


@pytest.mark.slow
def test_the_lesson(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    check(probe(bundle, bundle.url), LESSON)


@pytest.mark.slow
def test_the_lesson_where_checks_are_called_as_functions(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    check(probe(bundle, bundle.function_url), LESSON)


@pytest.mark.slow
def test_the_hardened_node(make_bundle: MakeBundle) -> None:
    bundle = make_bundle("hardened.yaml", start=False)
    (bundle.directory / "sockets").mkdir(mode=0o700)
    node = bundle.start()
    try:
        check(probe(bundle, bundle.tls_url, "--ca", str(bundle.ca)), set())
    finally:
        node.stop()
