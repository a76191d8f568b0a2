"""Does the router lay out for its log only what somebody sees, and nothing that nobody may?"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from autobahn.wamp.exception import ApplicationError
from twisted.python.failure import Failure

from wampauth.told import Stopped
from wampauth.worker import importing, unseen

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


@pytest.mark.parametrize("name", importing.MODULES)
def test_a_module_that_cannot_be_imported_is_told_without_the_text(
    router: dict[str, ModuleType], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it holds a component, or the factory of a transport."""
    for module in importing.MODULES:
        monkeypatch.setattr(importlib.import_module(module), "importlib", importlib)  # as it will be again
    importing.of_components()
    importing.of_factories()
    (tmp_path / "vault.py").write_text("import sys\nsys.exit('open-sesame')\n")
    monkeypatch.syspath_prepend(tmp_path)
    used = sys.modules[name]
    with pytest.raises((Stopped, ApplicationError)) as raised:
        if name == "crossbar.worker":
            used._appsession_loader({"type": "class", "classname": "vault.Session"})
        else:
            used._authenticator_for_name({"create": "vault.create"})
    told = Failure(raised.value).getTraceback() + str(raised.value)
    assert "SystemExit (vault.py:2)" in told
    assert "open-sesame" not in told
