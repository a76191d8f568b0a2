"""Does Prometheus learn what it should, from every process, and a stranger nothing?"""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import CHOSEN, HERE, WRONG, Bundle, Config, MakeBundle
from prometheus_client.parser import text_string_to_metric_families
from promql import evaluate, scraped
from twisted.internet.defer import Deferred

from wampauth import audit, figures, metrics
from wampauth.audit import Audit
from wampauth.figures import Punctuality
from wampauth.methods import METHODS
from wampauth.metrics import AT_ONCE, ENDS, OUTCOMES, Endpoint, Metrics
from wampauth.settings import Settings, SettingsError
from wampauth.testing import free_port
from wampauth.testing.wamp import WELCOME, RawClient

RULES = {
    rule["alert"]: rule
    for rule in yaml.safe_load((HERE / "deploy/prometheus/alerts.yml").read_text())["groups"][0]["rules"]
}
MOST_SERIES = 400  # of one process; a label with values of strangers' would soon have more


def scrape(port: int) -> str:
    """What Prometheus gets."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def value(text: str, name: str, **labels: str) -> float:
    return scraped(text)[f"wampauth_{name}"][frozenset(labels.items())]


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Metrics, Audit]:
    """Metrics that hear of what an audit gets."""
    made = Metrics()
    monkeypatch.setattr(audit, "OBSERVERS", [made.observe])
    return made, Audit(str(tmp_path / "audit.jsonl"))


# -- what is counted


def test_attempts_are_counted_whether_their_records_are_whole_or_not(observed: tuple[Metrics, Audit]) -> None:
    made, written = observed
    for number in range(500):
        written.record("refused", method="ticket", peer="192.0.2.1", duration=0.3)
        written.record("throttled", method="cryptosign", peer=f"192.0.2.{number % 250}", duration=0.0)
    written.record("accepted", method="ticket", duration=0.02)
    text = made.text().decode()
    assert value(text, "attempts_total", method="ticket", outcome="refused") == 500
    assert value(text, "attempts_total", method="cryptosign", outcome="throttled") == 500
    assert value(text, "attempts_total", method="ticket", outcome="accepted") == 1
    assert value(text, "attempts_total", method="ticket", outcome="unavailable") == 0  # there from the beginning
    assert value(text, "tokens_refused_total") == 500
    assert value(text, "login_duration_seconds_bucket", method="ticket", le="0.025") == 1
    assert value(text, "login_duration_seconds_count", method="ticket") == 501


def test_sessions_are_counted(observed: tuple[Metrics, Audit]) -> None:
    made, written = observed
    for outcome in "joined", "left", "joined":
        written.record(outcome, realm="realm1", authid="alice")
    written.record("ended", realm="realm1", reason="com.example.revoked")
    written.record("ended", realm="realm1", reason="org.acme.whatever")
    text = made.text().decode()
    assert value(text, "sessions_joined_total", realm="realm1") == 2
    assert value(text, "sessions_left_total", realm="realm1") == 1
    assert value(text, "sessions_ended_total", realm="realm1", reason="revoked") == 1
    assert value(text, "sessions_ended_total", realm="realm1", reason="other") == 1


def test_a_yes_that_can_not_be_written_is_none(
    observed: tuple[Metrics, Audit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes ``unavailable``, of which the audit hears next."""
    made, written = observed

    def full(line: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(written._proven, "add", full)
    monkeypatch.setattr(written._attempts, "add", full)
    for outcome in "accepted", "unavailable":
        with pytest.raises(OSError):
            written.record(outcome, method="ticket")
    text = made.text().decode()
    assert value(text, "audit_failures_total") == 2
    assert value(text, "attempts_total", method="ticket", outcome="accepted") == 0
    assert value(text, "attempts_total", method="ticket", outcome="unavailable") == 1


def test_no_label_has_values_without_a_bound(observed: tuple[Metrics, Audit]) -> None:
    """Whatever a stranger says, and whatever ends a session: the series are the same."""
    made, written = observed
    for number in range(300):
        for outcome in (*OUTCOMES, "joined", "left", "ended"):
            stranger = {"claimed": f"c{number}", "authid": f"a{number}", "peer": f"10.0.0.{number}", "session": number}
            written.record(outcome, method=f"m{number}", reason=f"r.r{number}", realm="realm1", **stranger)
    samples = [sample for family in text_string_to_metric_families(made.text().decode()) for sample in family.samples]
    assert len(samples) < MOST_SERIES
    labels = {(name, value) for sample in samples for name, value in sample.labels.items() if name != "le"}
    assert {value for name, value in labels if name == "method"} == {*METHODS, "other"}
    assert {value for name, value in labels if name == "reason"} <= {*ENDS, "other"}
    assert {name for name, _ in labels} <= {
        "method",
        "outcome",
        "realm",
        "reason",
        "queue",
        *["implementation", "major", "minor", "patchlevel", "version"],
    }


def test_nothing_is_counted_where_nobody_asks() -> None:
    assert audit.OBSERVERS == [] or metrics.metrics.cache_info().currsize == 1


def test_names_keep_to_the_conventions(observed: tuple[Metrics, Audit]) -> None:
    """https://prometheus.io/docs/practices/naming: one prefix, base units, ``_total`` for counters."""
    made, _ = observed
    text = made.text().decode()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"(wampauth|process|python)_[a-z_]+", family.name)
        assert family.documentation
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith(("_total", "_created"))
    assert "wampauth_login_duration_seconds" in text


# -- figures


class Owner:
    """Somebody who knows a figure."""

    number = 3


def test_a_figure_lives_as_long_as_its_owner() -> None:
    one, other = Owner(), Owner()
    for owner in one, other:
        figures.tell(owner, "x", lambda owner: owner.number, realm="r")
    assert figures.told()["x"] == {(("realm", "r"),): [3, 3]}
    figures.withdraw(other)
    assert figures.told()["x"] == {(("realm", "r"),): [3]}
    del owner, one
    assert "x" not in figures.told()


def test_what_comes_late_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("wampauth.figures.time.monotonic", lambda: now[0])
    punctuality = Punctuality(0.5)
    for step in 100.0, 0.5, 0.9, 1.1, 0.5, 30.0:
        now[0] += step
        punctuality.comes()
    assert punctuality.late == 2


# -- settings


@pytest.mark.parametrize("port", [0, -1, 65_536, "9464", True, 1.5, None])
def test_a_port_that_is_none(port: Any) -> None:
    with pytest.raises(SettingsError, match="setting 'metrics' must be"):
        Settings.from_config({"metrics": port})


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node doesn't start, and says what is missing; without the setting nothing is."""
    monkeypatch.setattr("wampauth.settings.find_spec", lambda name: None)
    assert Settings.from_config({}).metrics == 0
    with pytest.raises(SettingsError, match=r"prometheus_client is needed: `pip install wampauth\[metrics\]`"):
        Settings.from_config({"metrics": 9464})


def test_a_port_that_is_taken() -> None:
    expected = pytest.raises(SettingsError, match="each process needs a port of its own")
    with socket.create_server(("127.0.0.1", 0)) as other, expected:
        metrics.serve.__wrapped__(other.getsockname()[1])


def test_the_library_can_be_used_without_the_extra() -> None:
    """Only what the setting asks for imports it."""
    check = "import sys; sys.modules['prometheus_client'] = None; import wampauth, wampauth.sessions, wampauth.cli"
    assert subprocess.run([sys.executable, "-c", check], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("broken", ["figures.told", "deferToThread"])
def test_a_scrape_that_fails_keeps_no_place(
    observed: tuple[Metrics, Audit], monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Or a few that fail, when the system has no thread to spare, would be the last."""

    def fails(*_: Any) -> Any:
        raise RuntimeError("can't start new thread")

    codes: list[int] = []
    nothing: Any = lambda *_: None  # noqa: E731
    request = SimpleNamespace(setHeader=nothing, write=nothing, finish=nothing, setResponseCode=codes.append)
    request.getRequestHostname, request.notifyFinish = lambda: b"localhost", Deferred
    endpoint = Endpoint(observed[0])
    monkeypatch.setattr(f"wampauth.metrics.{broken}", fails)
    for _ in range(2 * AT_ONCE):
        with suppress(RuntimeError):
            endpoint.render_GET(request)
    assert 503 not in codes


# -- at a node


@pytest.fixture(scope="module")
def node(make_bundle: MakeBundle) -> tuple[Bundle, int]:
    """A plain node that Prometheus may ask."""
    port = free_port()
    return make_bundle(metrics=port, failures_at_once=1_000_000, refusal_delay=0.05), port


def test_a_scrape_of_a_plain_node(node: tuple[Bundle, int]) -> None:
    """Both wirings count; a session is there while it lasts; a scrape doesn't count as a stranger's connection."""
    bundle, port = node
    before = scrape(port)
    for path in "ws", "ws-function":
        with RawClient(f"ws://127.0.0.1:{bundle.port}/{path}") as client:
            client.login_ticket("client1", WRONG)
    with RawClient(bundle.url) as client, RawClient(bundle.url):
        assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
        during = _until(port, "sessions", 1.0, realm="realm1")
        _until(port, "connections_unjoined", 1.0)
    after = _until(port, "sessions", 0.0, realm="realm1")
    _until(port, "connections_unjoined", 0.0)

    def counted(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert counted("attempts_total", method="ticket", outcome="refused") == 2
    assert counted("attempts_total", method="ticket", outcome="accepted") == 1
    assert counted("login_duration_seconds_count", method="ticket") == 3
    assert value(after, "sessions_joined_total", realm="realm1") == 1
    assert value(during, "store_up", realm="realm1") == value(during, "store_up", realm="devices") == 1
    queues = {dict(labels)["queue"] for labels in scraped(during)["wampauth_queue_length"]}
    assert queues == {"checks", "refusals", "connections", "logins", "sessions", "hashing"}
    assert value(during, "ticks_late_total", realm="realm1") >= 0
    assert scraped(during)["process_resident_memory_bytes"]
    assert "client1" not in after and "127.0.0.1" not in after


def _until(port: int, name: str, expected: float, **labels: str) -> str:
    """Scrape until the figure is there; its tick is half a second."""
    until = time.monotonic() + 15
    while value(text := scrape(port), name, **labels) != expected:
        assert time.monotonic() < until, f"{name} is {value(text, name, **labels)}"
        time.sleep(0.05)
    return text


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1", 200), ("localhost:9", 200), ("evil.example", 403), ("", 403)]
)
def test_a_page_of_a_strangers_can_not_ask(node: tuple[Bundle, int], host: str, status: int) -> None:
    """Not even if the name that it came from leads here (DNS rebinding); and nothing listens at other interfaces."""
    _, port = node
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", "/metrics", skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status
    assert answer.getheader("connection") == "close"
    answer.read()
    for method in "POST", "PUT", "DELETE":
        other = HTTPConnection("127.0.0.1", port, timeout=10)
        other.request(method, "/metrics")
        assert other.getresponse().status in (405, 501)


def test_only_the_loopback_interface_listens(node: tuple[Bundle, int]) -> None:
    _, port = node
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
    assert [address for address in listening if address.endswith(f":{port:04X}")] == [f"0100007F:{port:04X}"]


def test_a_store_that_is_away_is_seen_and_alerted(node: tuple[Bundle, int]) -> None:
    """And comes back."""
    bundle, port = node
    before = scrape(port)
    gone = bundle.store.with_name("gone.db")
    bundle.store.rename(gone)
    try:
        after = _until(port, "store_up", 0.0, realm="realm1")
        for _ in range(2):
            with RawClient(bundle.url) as client:
                client.login_ticket("client1", CHOSEN)
        after = scrape(port)
    finally:
        gone.rename(bundle.store)
    assert {frozenset({("realm", "realm1")})} <= {*fires("StoreAway", before, after)}
    assert fires("LoginsUnavailable", before, after, seconds=60)
    _until(port, "store_up", 1.0, realm="realm1")
    back = _until(port, "store_up", 1.0, realm="devices")
    assert not fires("StoreAway", before, back)


def test_a_scrape_of_each_process_of_a_scaled_node(make_bundle: MakeBundle) -> None:
    """One endpoint a worker: the authenticators count attempts, and the router's worker has the sessions."""
    bundle = make_bundle("scaled.yaml", start=False)
    ports = {name: free_port() for name in ("router", "authenticator1", "authenticator2")}

    def edit(config: Config) -> None:
        for worker in config["workers"]:
            for component in worker.get("components", ()):
                if worker.get("id") in ports and "guard" in component.get("extra", {}):
                    component["extra"]["guard"]["metrics"] = ports[worker["id"]]

    bundle.edit_config(edit)
    running = bundle.start()
    try:
        with RawClient(bundle.url) as client:
            for _ in range(4):
                with RawClient(bundle.url) as other:
                    other.login_ticket("client1", WRONG)
            assert client.login_ticket("client1", CHOSEN)[0] == WELCOME
            _until(ports["router"], "sessions", 1.0, realm="realm1")
            texts = {name: scrape(port) for name, port in ports.items()}
        both = [
            value(texts[name], "attempts_total", method="ticket", outcome="refused")
            for name in texts
            if name != "router"
        ]
        assert sum(both) == 4 and all(both)
        assert value(texts["router"], "store_up", realm="devices") == 1
        assert "wampauth_sessions{" not in texts["authenticator1"]
    finally:
        running.stop()


# -- alerts


def fires(alert: str, before: str, after: str, seconds: float = 300) -> Any:
    return evaluate(RULES[alert]["expr"], before, after, seconds)


@pytest.mark.parametrize(
    ("alert", "outcome", "duration", "quiet", "loud"),
    [
        ("LoginsUnavailable", "unavailable", 0.1, 3, 30),
        ("Guessing", "refused", 0.01, 100, 400),
        ("Guessing", "throttled", 0.0, 100, 400),
        ("SlowLogins", "accepted", 2.0, 0, 1),
    ],
)
def test_an_alert_fires(
    observed: tuple[Metrics, Audit], alert: str, outcome: str, duration: float, quiet: int, loud: int
) -> None:
    made, written = observed
    for _ in range(10):
        written.record("accepted", method="ticket", duration=0.02)
    before = made.text().decode()
    for number in (quiet, loud):
        for _ in range(number):
            written.record(outcome, method="ticket", peer="192.0.2.1", duration=duration)
        assert bool(fires(alert, before, made.text().decode())) == (number == loud)


@pytest.mark.parametrize("up", [0, 1])
def test_a_node_that_does_not_answer_is_alerted(up: int) -> None:
    """Prometheus itself says so, of the job that the handbook's configuration makes."""
    (job,) = {
        one["job_name"]
        for block in (HERE / "docs/metrics.md").read_text().split("```yaml")[1:]
        for one in yaml.safe_load(block.partition("```")[0])["scrape_configs"]
    }
    asked = f'up{{instance="127.0.0.1:9464",job="{job}"}} {up}\nup{{instance="127.0.0.1:9100",job="other"}} 0\n'
    assert {*fires("NodeAway", asked, asked)} == (set() if up else {frozenset({("instance", "127.0.0.1:9464")})})


def test_late_ticks_are_alerted(observed: tuple[Metrics, Audit]) -> None:
    made, _ = observed
    punctuality = Punctuality(0.5)
    figures.tell(punctuality, "ticks_late", lambda own: own.late, realm="realm1")

    def text() -> str:
        made.figures.read()
        return made.text().decode()

    before = text()
    punctuality.late = 5
    assert not fires("LateTicks", before, text())
    punctuality.late = 6
    assert fires("LateTicks", before, text())


@pytest.mark.parametrize(("days", "loud"), [(15, False), (13, True), (-1, True)])
def test_a_certificate_that_runs_out_is_alerted(observed: tuple[Metrics, Audit], days: int, loud: bool) -> None:
    """Each by its file, as a listener tells of it (test_renewal.py)."""
    made, _ = observed
    ends, owners = time.time() + days * 86400, [Punctuality(1), Punctuality(1)]  # whoever they are
    for owner, file, end in zip(owners, ("old.pem", "new.pem"), (ends, ends + 86400 * 365), strict=True):
        figures.tell(owner, "certificate_end_seconds", lambda _, end=end: end, file=file)  # type: ignore[misc]
    made.figures.read()
    text = made.text().decode()
    expected = {frozenset({("file", "old.pem")})} if loud else set()
    assert {*fires("CertificateEnds", text, text)} == expected


def test_there_are_seven_rules_and_all_fire() -> None:
    source = Path(__file__).read_text()
    assert len(RULES) == 7
    assert all(f'"{alert}"' in source for alert in RULES)


def test_the_rules_are_prometheus_own(tmp_path: Path) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool isn't installed (Debian: prometheus)")
    command = [promtool, "check", "rules", str(HERE / "deploy/prometheus/alerts.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and "7 rules found" in done.stdout, done.stderr
