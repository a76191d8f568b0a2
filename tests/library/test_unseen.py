"""Does the router lay out for its log only what somebody sees?"""

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from wampauth.worker import unseen

USES = {  # modules in the way of a login, and what they use
    "autobahn.util": ["hl", "hlid", "hlval", "hltype"],
    "autobahn.websocket.protocol": ["pformat", "hltype"],
    "crossbar._util": ["hl", "hlid", "hlval", "hltype"],
    "crossbar.router.router": ["pformat", "hltype"],
    "crossbar.router.session": ["pformat", "hltype"],
    "crossbar.router.auth.pending": ["hltype"],
}


@pytest.fixture
def router() -> Iterator[dict[str, ModuleType]]:
    """Its modules, as they are; afterwards they are so again."""
    limit = sys.getrecursionlimit()
    used = {name: importlib.import_module(name) for name in USES}
    sys.setrecursionlimit(limit)  # which py_ecc has raised
    were = {name: dict(vars(module)) for name, module in list(sys.modules.items()) if name.startswith(unseen.ROUTER)}
    yield used
    for name, known in were.items():
        vars(sys.modules[name]).update(known)


@pytest.mark.parametrize("level", ["none", "critical", "error", "warn"])
def test_what_nobody_sees_is_plain(router: dict[str, ModuleType], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "get_global_log_level", lambda: level)
    unseen.leave_plain()
    for name, functions in USES.items():
        assert [getattr(router[name], function) for function in functions] == [unseen.PLAIN[one] for one in functions]
    util = router["autobahn.util"]
    assert util.hltype(Iterator) == "<Iterator>"
    assert util.hltype(23) == "<unknown>"
    assert f"{util.hlid(23)} {util.hlval(None)}" == "23 None"
    assert router["crossbar.router.session"].pformat({"a": ["\n"] * 99}) == str({"a": ["\n"] * 99})


@pytest.mark.parametrize("level", ["info", "debug", "trace"])
def test_who_reads_along_sees_it_all(
    router: dict[str, ModuleType], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: dict(vars(module)) for name, module in router.items()}
    monkeypatch.setattr(unseen, "get_global_log_level", lambda: level)
    unseen.leave_plain()
    assert {name: dict(vars(module)) for name, module in router.items()} == before


@pytest.mark.usefixtures("router")
def test_what_others_use_and_what_is_no_module_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pretty = importlib.import_module("pprint").pformat
    monkeypatch.setattr(unseen, "get_global_log_level", lambda: "error")
    monkeypatch.setitem(sys.modules, "crossbar.absent", None)  # type: ignore[arg-type]
    author = ModuleType("author")
    author.hl = len  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "author", author)
    unseen.leave_plain()
    assert author.hl is len  # type: ignore[attr-defined]
    assert importlib.import_module("pprint").pformat is pretty
