"""Does the command keep to its budget, to its manners, and its secrets to itself? Against a fake router that counts."""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from conftest import HERE
from nacl.signing import SigningKey
from probed import fake
from websockets.sync.server import serve

from wampauth import cli
from wampauth.probe import answers, cases, catalogue, malformed, run
from wampauth.probe.answers import Redactor
from wampauth.probe.budget import Budget, Spent, Used
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, LONGEST, NOT_APPLICABLE, Found, as_text, row
from wampauth.probe.statistics import compare
from wampauth.probe.target import Address, Target, resolve
from wampauth.probe.timing import judge
from wampauth.testing.wamp import pubkey

KEY = SigningKey(bytes([1]) * 32)
TICKET = 'a ticket/with "odd" letters: é'
CREDENTIALS = ["--realm", "realm1", "--authid", "alice"]


def probe(port: int, *args: str, **environment: str) -> Result:
    """What the command line does."""
    command = ["probe", f"ws://127.0.0.1:{port}/ws?token=abc", *CREDENTIALS, *args]
    return CliRunner().invoke(cli.main, command, env=environment)


def at(port: int, **options: object) -> Target:
    return replace(Target(resolve(f"ws://127.0.0.1:{port}/ws"), "realm1", "alice"), **options)  # type: ignore[arg-type]


def silent(line: str) -> None:
    """Nobody looks at the progress."""


@pytest.fixture(autouse=True)
def nothing_of_the_real_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests for how long one waits needn't wait so long."""
    monkeypatch.setattr("wampauth.probe.waiting.LONGEST", 5.0)


# -- the whole command


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All probes, once, at a strong router."""
    file = tmp_path_factory.mktemp("keys") / "alice.key"
    file.write_bytes(bytes(KEY))
    with pytest.MonkeyPatch.context() as patch, fake.running(pubkey(KEY), TICKET) as (router, port):
        patch.setattr("wampauth.probe.waiting.LONGEST", 5.0)
        done = probe(port, "--json", "--ticket-env", "TICKET", "--key", str(file), TICKET=TICKET)
    return SimpleNamespace(done=done, router=router, report=json.loads(done.stdout))


def test_nothing_falls_at_a_strong_router_and_the_exit_code_says_so(whole: SimpleNamespace) -> None:
    rows = whole.report["rows"]
    assert [one for one in rows if one["verdict"] == FALLS] == []
    assert whole.done.exit_code == 0
    assert {one["name"] for one in rows if one["verdict"] == CANT_TELL} == {"prefix-topic", "forward-for"}
    assert {one["name"] for one in rows if one["verdict"] == NOT_APPLICABLE} == {"channel-binding", "clear-ticket"}


def test_the_report_has_every_row_in_the_order_of_the_catalogue(whole: SimpleNamespace) -> None:
    assert [one["name"] for one in whole.report["rows"]] == list(catalogue.ROWS)
    assert all(one["tried"] and one["came"] and one["why"] and one["page"] for one in whole.report["rows"])


def test_no_secret_is_in_the_report(whole: SimpleNamespace) -> None:
    forms = [TICKET, json.dumps(TICKET)[1:-1], bytes(KEY).hex(), "token=abc"]
    assert [form for form in forms if form in whole.done.output] == []


def test_what_is_counted_is_what_the_router_gets(whole: SimpleNamespace) -> None:
    used, limit = whole.report["budget"]["used"], whole.report["budget"]["limit"]
    assert used["connections"] == whole.router.connections <= limit["connections"]
    assert whole.router.messages <= used["messages"] <= limit["messages"]
    assert used["messages"] - whole.router.messages < 30  # header lines, and frames to a connection that was closed
    assert used["seconds"] < limit["seconds"]


def test_progress_and_budget_are_told_while_it_runs(whole: SimpleNamespace) -> None:
    first, *others = whole.done.stderr.splitlines()
    assert first.endswith("at most 400 connections, 1500 messages, 60 seconds.")
    assert any("guesses-connection: holds" in line for line in others)


# -- the budget


def test_a_budget_says_no_beyond_its_limits() -> None:
    budget = Budget(connections=2, messages=1)
    budget.connection()
    budget.connection()
    budget.message()
    with pytest.raises(Spent, match="all 2 connections are used"):
        budget.connection()
    with pytest.raises(Spent, match="all 1 messages are used"):
        budget.message()
    assert (budget.used().connections, budget.used().messages) == (2, 1)


@pytest.mark.parametrize("take", [Budget.connection, Budget.message, lambda budget: budget.patience(1)])
def test_a_budget_says_no_when_its_time_is_over(take: Callable[[Budget], object]) -> None:
    with pytest.raises(Spent, match="all 0 seconds are used"):
        take(Budget(seconds=0))


def test_nobody_waits_longer_than_the_budget_lasts() -> None:
    assert Budget(seconds=10).patience(99) <= 10
    assert Budget(seconds=10).patience(1) == 1


@pytest.mark.parametrize(
    "budget", [{"connections": 40}, {"messages": 60}, {"connections": 3}], ids=lambda budget: str(budget)
)
def test_a_router_never_gets_more_than_the_budget(budget: dict[str, int]) -> None:
    with fake.running(pubkey(KEY), TICKET) as (router, port):
        probed = at(port, ticket=TICKET, key=KEY, budget=Budget(**budget))
        rows = run.probe(probed, silent)
    used, limit = probed.budget.used(), probed.budget.limit
    assert used.connections == router.connections <= limit.connections
    assert router.messages <= used.messages <= limit.messages
    assert [one.name for one in rows] == list(catalogue.ROWS)
    left = [one for one in rows if "the budget is spent" in one.came or "are used" in one.came]
    assert left
    assert {one.verdict for one in left} == {CANT_TELL}


def test_it_ends_in_time_at_a_router_that_is_slow() -> None:
    with fake.running(pubkey(KEY), TICKET, "slow", "grace") as (_, port):
        probed, began = at(port, budget=Budget(seconds=8)), time.monotonic()
        rows = run.probe(probed, silent)
        assert time.monotonic() - began < 8 + 5  # to hang up takes a moment, too
    assert any("all 8 seconds are used" in one.came for one in rows)


# -- manners


def test_a_foreign_address_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the name stands for is looked at, and nothing is sent."""
    found = [(2, 1, 6, "", ("127.0.0.1", 80)), (2, 1, 6, "", ("192.0.2.1", 80))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("socket.create_connection", lambda *_: pytest.fail("it was connected to"))
    done = CliRunner().invoke(cli.main, ["probe", "ws://router.example/ws", *CREDENTIALS])
    assert done.exit_code == 2
    assert "router.example isn't this machine (127.0.0.1, 192.0.2.1)" in done.output
    assert "--i-may-test-this-host" in done.output


def test_and_probed_where_the_user_says_that_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be, if it answered; the name is looked up once, and the address that was checked is used."""
    found = [(2, 1, 6, "", ("192.0.2.1", 80))]
    tried = []

    def refuse(address: object, *_: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("socket.create_connection", refuse)
    done = CliRunner().invoke(cli.main, ["probe", "ws://router.example/ws", *CREDENTIALS, "--i-may-test-this-host"])
    assert (done.exit_code, tried) == (2, [("192.0.2.1", 80)])
    assert "Connection refused" in done.output


def test_the_true_ticket_is_not_sent_through_a_network_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[Target] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("192.0.2.1", 80))])

    def take(target: Target, tell: object) -> list[object]:
        probed.append(target)
        return []

    monkeypatch.setattr(run, "probe", take)
    command = ["probe", "ws://router.example/ws", *CREDENTIALS, "--i-may-test-this-host", "--ticket-env", "TICKET"]
    done = CliRunner().invoke(cli.main, command, env={"TICKET": TICKET})
    assert done.exit_code == 0
    assert probed[0].ticket is None
    missing = run.lacks("true-ticket", replace(probed[0], methods={"ticket"}))
    assert missing
    assert "isn't sent through a network without TLS" in missing.came


# -- what it can't do


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["http://localhost/"], "begins with ws:// or wss://"),
        (["ws://user:password@localhost/"], "has neither a user's name"),
        (["ws://localhost/", "--ticket-env", "NOT_THERE"], "no environment variable NOT_THERE"),
        (["ws://localhost/", "--key", "not-there.key"], "No such file"),
        (["ws://localhost/", "--key", str(HERE / "LICENSE")], "neither 32 bytes nor 64 hexadecimal digits"),
        (["wss://localhost/", "--ca", "not-there.pem"], "No such file"),
        (["wss://localhost/", "--ca", str(HERE / "LICENSE")], "--ca"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(args: list[str], told: str) -> None:
    done = CliRunner().invoke(cli.main, ["probe", *args, *CREDENTIALS])
    assert done.exit_code == 2
    assert told in done.output
    assert "password" not in done.output


def test_no_router_is_told_from_a_weak_one() -> None:
    with fake.running(pubkey(KEY), TICKET) as (_, port):
        pass
    done = probe(port)
    assert done.exit_code == 2
    assert "Connection refused" in done.output
    assert "token=abc" not in done.output


def test_a_credential_that_is_none_judges_nobody(tmp_path: Path) -> None:
    """What a wrong "true" ticket gets says nothing of the router."""
    key = tmp_path / "other.key"
    key.write_bytes(bytes(SigningKey.generate()))
    with fake.running(pubkey(KEY), TICKET) as (_, port):
        for credential in ("--ticket-env", "WRONG"), ("--key", str(key)):
            command = ["probe", f"ws://127.0.0.1:{port}/ws", *CREDENTIALS, *credential, "--json"]
            done = CliRunner().invoke(cli.main, command, env={"WRONG": "wrong-password"})
            assert (done.exit_code, done.stdout) == (2, "")
            assert f"the true {credential[0].strip('-').partition('-')[0]} must be right" in done.stderr
            assert "ABORT" in done.stderr and "wrong-password" not in done.stderr


def test_nor_is_one_that_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "GRACE", 0.2)
    with fake.running(pubkey(KEY), TICKET, "mute") as (_, port):
        done = probe(port)
    assert done.exit_code == 2
    assert "doesn't answer HELLO as a WAMP router does: closed 1008: too late" in done.output


def test_nor_is_a_server_that_speaks_something_else() -> None:
    with serve(lambda connection: connection.close(), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = probe(server.socket.getsockname()[1])
        server.shutdown()
        thread.join()
    assert done.exit_code == 2
    assert "doesn't take wamp.2.json" in done.output


def test_what_falls_is_told_by_the_exit_code_and_the_remedy() -> None:
    with fake.running(pubkey(KEY), TICKET, "guesses") as (_, port):
        done = probe(port)
    assert done.exit_code == 1
    assert "falls      guesses-connection    30 wrong tickets" in done.stdout
    assert "Remedy: docs/refusals.md" in done.stdout


def test_without_credentials_it_says_which_option_is_missing() -> None:
    lacking = {name: run.lacks(name, at(1, methods={"ticket", "cryptosign"})) for name in catalogue.ROWS}
    told = {name: found.came for name, found in lacking.items() if found}
    assert told["true-ticket"] == "needs --ticket-env"
    assert told["replayed"] == "needs --key"
    assert told["meta-kill"] == "needs --ticket-env or --key"
    assert told["forward-for"] == "needs --ticket-env or --key and --procedure"
    assert {found.verdict for found in lacking.values() if found} == {CANT_TELL}
    assert "guesses-connection" not in told


def test_what_the_router_does_not_offer_is_no_weakness() -> None:
    found = run.lacks("guesses-hello", at(1, methods={"cryptosign"}))
    assert found
    assert (found.verdict, found.came) == (NOT_APPLICABLE, "the router doesn't offer ticket")


def test_a_probe_that_breaks_off_says_so_in_each_of_its_rows() -> None:
    def breaks(_: Target) -> object:
        yield Found("idle-tcp", HOLDS, "closed")
        raise OSError("gone")

    found = run._play(run.Probe(breaks, ("idle-tcp", "idle-headers")), at(1))  # type: ignore[arg-type]
    assert found["idle-tcp"].verdict == HOLDS
    assert found["idle-headers"] == Found("idle-headers", CANT_TELL, "the probe broke off: OSError: gone")


def test_a_ticket_in_clear_falls_only_where_there_is_a_network() -> None:
    with fake.running(pubkey(KEY), TICKET) as (_, port):
        here = at(port, methods={"ticket"})
        there = at(port, methods={"ticket"}, address=Elsewhere(**vars(here.address)))
        assert run.play("clear-ticket", here).verdict == NOT_APPLICABLE
        assert run.play("clear-ticket", there).verdict == FALLS
    assert run.play("clear-ticket", replace(here, address=replace(here.address, is_secure=True))).verdict == HOLDS


class Elsewhere(Address):
    """An address that is taken for one of another machine."""

    is_loopback = False


# -- what is said


@pytest.mark.parametrize("secret", [TICKET, "plain", b"\x00\xff" * 16])
def test_a_secret_is_found_in_whatever_form_it_comes_back(secret: str | bytes) -> None:
    forms = answers._forms(secret)
    redact = Redactor([secret])
    assert all(redact(f"it is {form}!") == "it is ***!" for form in forms)
    assert redact.found == "it is ***!"
    assert len(forms) >= 3


def test_what_a_router_sends_cannot_write_on_the_terminal() -> None:
    about = catalogue.ROWS["origin"]
    came = row(about, Found("origin", FALLS, "\x1b[2J\r\n" + "x" * 1_000)).came
    assert came.startswith("\\x1b[2J\\x0d\\x0a")
    assert len(came) == LONGEST
    assert "\x1b" not in as_text([row(about, Found("origin", FALLS, "\x1b[2J"))])


@pytest.mark.parametrize(
    "text",
    [
        "'NoneType' object has no attribute 'get'",
        "KeyError: 'x'",
        "dynamic authenticator failed: 'x'",
        "Traceback (most",
    ],
)
def test_the_text_of_an_exception_is_known(text: str) -> None:
    assert malformed.tells_exception(answers.Answer("ABORT", "org.x.no", text))


@pytest.mark.parametrize("text", ["invalid ticket for principal alice", "no", "authentication is unavailable"])
def test_a_sentence_is_not_taken_for_one(text: str) -> None:
    assert not malformed.tells_exception(answers.Answer("ABORT", "com.example.invalid_ticket", text))


@pytest.mark.parametrize(
    "message", [None, 1, [], ["x"], [2], [2, 1], [2, 1, []], [3], [3, 1, 2], [8, 48], [True], {"a": 1}, [4, "x", 1]]
)
def test_whatever_a_router_answers_is_an_answer(message: object) -> None:
    found = answers.read(message, 0.0, Redactor([]))
    assert found.kind in {"other", "ABORT", "ERROR", "CHALLENGE"}
    assert str(found)
    assert (found.details, found.challenge) == ({}, "")


def test_answers_that_differ_in_what_was_claimed_have_the_same_shape() -> None:
    one = answers.Answer("ABORT", "no", "no ticket 'x' for alice, reference 0a1b2c3d, wait 2 s")
    other = answers.Answer("ABORT", "no", "no ticket 'x' for bob, reference ffffffff, wait 12 s")
    assert one.shape("alice") == other.shape("bob")
    assert one.shape() != other.shape()


@pytest.mark.parametrize("claimed", ["ann", "no", "channel binding", "a.b", "(", "wait"])
def test_a_name_may_be_in_the_text_by_chance(claimed: str) -> None:
    """As "ann" is in "channel": then the text is the same for a stranger."""
    text = "no login as {}: say it with channel binding, or wait"
    known, unknown = (answers.Answer("ABORT", "no", text.format(name)) for name in (claimed, "stranger"))
    assert known.shape(claimed, "stranger") == unknown.shape(claimed, "stranger")
    assert answers.Answer("ABORT", "no", "no channel").shape("ann") == "ABORT no no channel"


def test_there_are_some_thirty_malformed_things_and_none_twice() -> None:
    names = [case.name for case in cases.all_of("realm1", "alice", "realm1")]
    assert len(set(names)) == len(names) >= 60


# -- statistics


def test_a_difference_is_found_and_its_interval_has_it() -> None:
    draw = random.Random(7)
    slow, fast = ([draw.gauss(mean, 0.003) for _ in range(16)] for mean in (0.05, 0.03))
    found = compare(slow, fast)
    assert judge(found) == FALLS
    assert found.low < 0.02 < found.high
    assert found.tries == (16, 16)


def test_none_is_found_where_there_is_none() -> None:
    draw = random.Random(7)
    verdicts = [judge(compare(*([draw.gauss(0.05, 0.003) for _ in range(16)] for _ in range(2)))) for _ in range(20)]
    assert set(verdicts) == {HOLDS}


def test_where_it_is_too_noisy_it_says_so() -> None:
    draw = random.Random(7)
    assert judge(compare(*([draw.uniform(0, 0.3) for _ in range(16)] for _ in range(2)))) == CANT_TELL


def test_equal_times_share_their_ranks() -> None:
    assert compare([1.0, 1.0], [1.0, 1.0]).chance == 1.0


# -- the handbook


@pytest.mark.parametrize("name", catalogue.ROWS)
def test_the_handbook_has_each_row_and_the_page_with_its_remedy(name: str) -> None:
    about, page = catalogue.ROWS[name], (HERE / "docs" / "probe.md").read_text()
    assert (HERE / "docs" / about.page).is_file()
    assert f"| `{name}` | {about.tried} | {about.why} | [{about.page}]({about.page}) |" in page


def test_the_handbook_has_the_budget() -> None:
    limit = Budget().limit
    assert limit == Used(400, 1500, 60.0)
    assert "400 connections, 1,500 messages and 60 seconds" in (HERE / "docs" / "probe.md").read_text()
