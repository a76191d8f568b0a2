"""What does the router keep of what its clients make up? A limited number of decisions."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock

from wampauth import worker
from wampauth.worker.decided import LONGEST, MOST, keep_few

RULES = [
    {"uri": "com.example.add2", "match": "exact", "allow": {"call": True}},
    {"uri": "com.example.open.", "match": "prefix", "allow": {"call": True}, "cache": True},
]


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The router's own, with a role that has static rules."""
    from crossbar.router.role import RouterRoleStaticAuth
    from crossbar.router.router import Router

    monkeypatch.setattr(Router, "__init__", Router.__init__)
    keep_few()
    made = Router(SimpleNamespace(_reactor=Clock()), SimpleNamespace(config={"name": "realm1"}, session=None))
    made.add_role(RouterRoleStaticAuth(made, "frontend", RULES))
    return made


def may_call(router: Any, uri: str) -> bool:
    found: list[Any] = []
    session = SimpleNamespace(_realm="realm1", _authrole="frontend", _session_id=1, _authid="alice")
    router.authorize(session, uri, "call", {}).addBoth(found.append)
    return bool(found[0]["allow"])


@pytest.mark.parametrize("made_up", ["nothing.{}", "com.example.add2.{}", "com.example.open.{}"])
def test_names_that_are_made_up_do_not_fill_the_memory(router: Any, made_up: str) -> None:
    for number in range(MOST + 100):
        assert may_call(router, made_up.format(number)) is ("open" in made_up)
    assert len(router._authorization_cache) == MOST
    assert may_call(router, "com.example.add2")
    kept = sum(len(uri) for _, _, uri, _ in router._authorization_cache)
    for number in range(100):
        may_call(router, made_up.format(number) + "x" * LONGEST)
    assert sum(len(uri) for _, _, uri, _ in router._authorization_cache) == kept


def test_a_decision_is_kept_as_the_rule_says(router: Any) -> None:
    for _ in range(2):
        assert may_call(router, "com.example.open.door")
        assert not may_call(router, "com.example.shut")
        assert may_call(router, "com.example.add2")
    assert sorted(uri for _, _, uri, _ in router._authorization_cache) == ["com.example.open.door", "com.example.shut"]


def test_so_it_is_in_each_worker() -> None:
    script = "from crossbar.router.router import Router; print(hasattr(Router.__init__, '__wrapped__'))"
    path = ":".join(map(str, (worker.FOLDER, worker.FOLDER.parents[1])))
    command = [sys.executable, "-W", "ignore", "-c", script, "crossbar.worker.main"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "", "PYTHONPATH": path}, check=True)
    assert done.stdout == "True\n"
