"""Is what is found at a router's transports found at a scaled node's proxies, too? And between its processes?"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import certify
from test_check_production import BETWEEN, CONFIG, CONFIGURED, GUARD, HOST, MISSING, TRANSPORT, ready

from wampauth.check import Finding, between, inside, machine, production, trial
from wampauth.nodeconfig import Section, load

SCALED, ROUTER = "scaled.yaml", "workers[0]"
Ready = tuple[Path, list[trial.Report]]
Change = Callable[[Any], object]

ROUTED = (TRANSPORT, f"{TRANSPORT}.", GUARD)  # what is there a router's, and here a proxy's or a container's
SPREAD = {"workers[4]": "workers[2]", "workers[5]": "workers[3]"}  # each proxy, and the authenticator beside it


def at_the_proxies(found: Finding) -> list[Finding]:
    """What is to be found there for what is found in a router's transports, and in the settings of its component."""
    return [
        replace(found, place=found.place.replace(TRANSPORT, f"{proxy}.transports[0]").replace(ROUTER, container))
        for proxy, container in SPREAD.items()
    ][: 2 if found.place else 1]


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """A scaled node that is ready, and what its workers say to their settings."""
    return reported(ready(tmp_path_factory.mktemp("scaled"), SCALED), SCALED)


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """The hardened one, likewise."""
    return reported(ready(tmp_path_factory.mktemp("routed")), CONFIG)


def reported(directory: Path, name: str) -> Ready:
    reports = [trial.report(directory, worker) for worker in load(directory / name)["workers"]]
    assert [found for report in reports for found in report.findings] == []
    return directory, reports


def told(ready: Ready, name: str, change: Change, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What is found when a node that is ready is changed. Nothing of the machine's."""
    monkeypatch.setattr(machine, "findings", lambda *_: ())
    directory, reports = ready
    workers = load(directory / name)["workers"]
    change(workers)
    workers = json.loads(json.dumps(workers), object_pairs_hook=Section)
    return [*between(workers, reports), *production.findings(directory, workers, reports)]


def test_nothing_is_wrong_with_a_scaled_node_that_is_ready(scaled: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor with the sockets inside it, at which nobody has to prove anything."""
    assert told(scaled, SCALED, lambda workers: None, monkeypatch) == []


@pytest.mark.parametrize(
    "case", [case for case, (_, (_, place, _)) in CONFIGURED.items() if not place or place.startswith(ROUTED)]
)
def test_each_thing_is_found_at_the_proxies_too(
    routed: Ready, scaled: Ready, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, (severity, place, text) = CONFIGURED[case]

    def change_all(workers: Any) -> None:
        for proxy, container in (4, 2), (5, 3):
            parts = {"transports": workers[proxy]["transports"], "components": workers[container]["components"]}
            change({"workers": [parts]})

    def change_router(workers: Any) -> None:
        change({"workers": workers})

    one, others = told(routed, CONFIG, change_router, monkeypatch), told(scaled, SCALED, change_all, monkeypatch)
    assert (severity, place, text) in [(found.severity, found.place, found.text) for found in one]
    assert sorted(others, key=str) == sorted([same for found in one for same in at_the_proxies(found)], key=str)


@pytest.mark.parametrize("days", [-2, 5, 60])
@pytest.mark.parametrize("organization", ["Acme", None])
def test_a_certificate_is_looked_at_there_too(
    scaled: Ready, days: int, organization: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = datetime.now(UTC) + timedelta(days=days)
    terms = {"not_before": end - timedelta(days=90), "not_after": end}
    certify(tmp_path / "other", trustme.CA(organization_name=organization), HOST, **terms)
    own = Section(certificate=str(tmp_path / "other" / "server.pem"), key=str(tmp_path / "other" / "server.key"))
    tls = "workers[4].transports[0].endpoint.tls"

    def change(workers: Any) -> None:
        workers[4]["transports"][0]["endpoint"]["tls"] = own

    assert told(scaled, SCALED, change, monkeypatch) == [*machine.certificate(tmp_path, tls, own)]


PLAIN = Section(type="tcp", host="192.0.2.1", port=8081)
CLEAR = "it connects to 192.0.2.1 without TLS: who is on the way reads along, and can speak in its name"


def function_ways(workers: Any) -> None:
    """One proxy asks by functions, which bring their settings."""
    for name, way in workers[4]["transports"][0]["paths"]["ws"]["auth"].items():
        way.clear()
        settings = Section(store="principals.db", guard=Section(admission_key="admission.key"))
        way.update(type="function", create=f"authenticator.create_{name}", config=settings)


@pytest.mark.parametrize(
    ("change", "expected"),
    {
        "to a router elsewhere": (
            lambda workers: workers[4]["connections"]["router"]["transport"].update(endpoint=PLAIN),
            [("error", "workers[4].connections.router.transport.endpoint", CLEAR)],
        ),
        "over TLS": (
            lambda workers: workers[4]["connections"]["router"]["transport"].update(
                endpoint=Section(PLAIN, tls=Section(hostname="acme.example"))
            ),
            [],
        ),
        "from a container": (
            lambda workers: workers[2]["components"][0]["transport"].update(endpoint=PLAIN),
            [("error", "workers[2].components[0].transport.endpoint", CLEAR)],
        ),
        "a meeting that others reach": (
            lambda workers: workers[0]["transports"][0]["endpoint"].update(type="tcp", port=8081),
            [
                (
                    "error",
                    "workers[0].transports[0].endpoint",
                    "it listens on all interfaces, since none is named without TLS: tickets can be read on the way",
                ),
                (
                    "error",
                    "workers[0].transports[0]",
                    "max_connections is missing: strangers can take all file descriptors",
                ),
                ("error", "workers[0].transports[0].options", f"max_message_size {MISSING}"),
                ("error", "workers[0].transports[0].auth.anonymous-proxy", "it lets in everybody"),
            ],
        ),
        "a role that asks nobody": (
            lambda workers: (
                workers[0]["realms"][1]["roles"][0].update({"permissions": []})
                or workers[0]["realms"][1]["roles"][0].pop("authorizer")
            ),
            [("warning", "workers[0].realms[1].roles[0]", inside.UNANNOUNCED.format(role="device"))],
        ),
    }.values(),
)
def test_what_only_a_node_of_several_processes_has(
    scaled: Ready, change: Change, expected: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = told(scaled, SCALED, change, monkeypatch)
    assert [(one.severity, one.place, one.text) for one in found if "asks the authorizer" not in one.text] == expected


def test_settings_of_functions_in_a_proxy(scaled: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, reports = scaled
    known = {
        f"authenticator.create_{name}": {"prefix": "org.acme.", "method": name} for name in ("ticket", "cryptosign")
    }
    changed = [replace(one, functions=known if number == 4 else {}) for number, one in enumerate(reports)]
    found = told((directory, changed), SCALED, function_ways, monkeypatch)
    auth = "workers[4].transports[0].paths.ws.auth"
    assert [(one.severity, one.place, one.text) for one in found] == [
        ("error", f"{auth}.ticket.config.guard", "require_tls isn't true: tickets are taken without TLS, too"),
        ("error", f"{auth}.cryptosign.config.guard", "require_tls isn't true: tickets are taken without TLS, too"),
        ("warning", f"{auth}.cryptosign.config.guard", f"require_channel_binding isn't true: {BETWEEN}"),
    ]


@pytest.mark.parametrize(("number", "name"), [(0, CONFIG), (4, SCALED)])
@pytest.mark.parametrize("tls", [Section(), None, Section(ca_certificates=["certs/devices.pem"])])
@pytest.mark.parametrize("kind", ["dynamic", "function"])
def test_who_is_to_show_a_certificate_is_asked_for_it(
    routed: Ready,
    scaled: Ready,
    number: int,
    name: str,
    tls: Section | None,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def change(workers: Any) -> None:
        transport = workers[number]["transports"][0]
        transport["paths"]["ws"]["auth"]["tls"] = Section(type=kind)
        transport["endpoint"] = Section(transport["endpoint"], tls=tls)

    place = f"workers[{number}].transports[0].paths.ws.auth.tls"
    found = {one.place: one.text for one in told(routed if number == 0 else scaled, name, change, monkeypatch)}
    assert (found.get(place, "").startswith("nobody is asked for a certificate here")) == (not tls)
    assert (f"{place}.type" in found) == (kind == "function")


def test_a_folder_of_sockets_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can open one that is inside the node is believed."""
    monkeypatch.setattr(machine, "FLAWS", {})
    (tmp_path / "own").mkdir(mode=0o755)
    socket = Section(type="unix", path="own/realms.sock")
    found = [one.text for one in machine.findings(tmp_path, [Section(transports=[Section(endpoint=socket)])])]
    sentence = f"{tmp_path}/own can be read or written by others (mode 0755): `chmod 700 {tmp_path}/own`"
    assert sentence in found
