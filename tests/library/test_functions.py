"""Is what keeps a function from working in the log before somebody wants to log in?"""

from pathlib import Path

import pytest
from conftest import Config, MakeBundle

from wampauth import Authenticator
from wampauth.functions import look

ELSEWHERE = """
from wampauth import Authenticator

class Checks:
    def __init__(self, settings): pass
    def ticket(self, claim): pass

create_ticket = Authenticator(Checks, prefix="org.acme.").function("ticket")
"""


class Checks:
    """Know nobody."""

    def __init__(self, settings: object) -> None:
        """:param settings: not used."""

    def ticket(self, claim: object) -> None:
        """No."""


authenticator = Authenticator(Checks, prefix="org.acme.")
create_ticket = authenticator.function("ticket")
create_cryptosign = authenticator.function("cryptosign")


def asking(create: str, **more: object) -> Config:
    way = {"type": "websocket", "auth": {"ticket": {"type": "function", "create": create, **more}}}
    return {"type": "web", "paths": {"ws": way}}


def test_a_node_tells_when_it_starts(make_bundle: MakeBundle) -> None:
    """Also without `wampauth start`, which would refuse to. The other ways to log in work."""
    bundle = make_bundle(start=False)
    (bundle.directory / "elsewhere.py").write_text(ELSEWHERE)

    def spoil(config: Config) -> None:
        (worker,) = config["workers"]
        worker["options"]["pythonpath"].append(str(bundle.directory))
        ways = worker["transports"][0]["paths"]["ws-function"]["auth"]
        ways["ticket"]["config"] = {"guard": {"require_tls": True}}
        ways["cryptosign"]["create"] = "elsewhere.create_ticket"

    bundle.edit_config(spoil)
    bundle.start().stop()
    log = bundle.log
    assert 'authenticator.create_ticket can\'t work: a transport of type "function" takes no "config" here' in log
    assert "elsewhere.create_ticket can't work: no component of this Authenticator has brought settings" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("create", "why"),
    [
        ("test_functions.create_ticket", "no component of this Authenticator has brought settings"),
        ("test_functions.create_tickets", "AttributeError: create_tickets"),
        ("nowhere_at_all.create", "No module named 'nowhere_at_all'"),
    ],
)
def test_what_cannot_work(logged: list[str], create: str, why: str) -> None:
    look(asking(create))
    (line,) = logged
    assert f"the function authenticator {create} can't work: " in line
    assert why in line


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component has brought settings."""
    monkeypatch.setattr(authenticator, "_settings", {"guard": {"audit": str(tmp_path / "audit.jsonl")}})
    monkeypatch.setattr(authenticator, "_service", None)
    monkeypatch.setattr(authenticator, "_admissions", None)


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("create", ["json.loads", "test_functions.create_ticket"])
def test_what_can(logged: list[str], create: str) -> None:
    """Functions of somebody else's are none of our business."""
    look(asking(create))
    assert logged == []


@pytest.mark.usefixtures("configured")
def test_a_method_that_the_checks_do_not_have(logged: list[str]) -> None:
    look(asking("test_functions.create_cryptosign"))
    (line,) = logged
    assert "test_functions.create_cryptosign can't work: Checks has no method cryptosign()" in line
