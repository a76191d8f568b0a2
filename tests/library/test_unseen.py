"""Does the router lay out for its log only what somebody sees?"""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from wampauth.worker import unseen

FUNCTIONS = [("hl", name) for name in unseen.COLOURED] + [("pformat", name) for name in unseen.LAID_OUT]


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The router's modules, as they are."""
    limit = sys.getrecursionlimit()
    found = {name: importlib.import_module(name) for _, name in FUNCTIONS}
    sys.setrecursionlimit(limit)  # which py_ecc has raised
    for function, name in FUNCTIONS:
        monkeypatch.setattr(found[name], function, getattr(found[name], function))  # is put back afterwards
    yield found


@pytest.mark.parametrize("level", ["none", "critical", "error", "warn"])
def test_what_nobody_sees_is_plain(router: dict[str, Any], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "get_global_log_level", lambda: level)
    unseen.leave_plain()
    for function, name in FUNCTIONS:
        assert getattr(router[name], function)({"a": ["\n"] * 99}) == str({"a": ["\n"] * 99}), name
    for name in unseen.COLOURED:
        assert router[name].hltype(Iterator) == "<collections.abc.Iterator>"
        assert router[name].hlid(23) == "23"


@pytest.mark.parametrize("level", ["info", "debug", "trace"])
def test_who_reads_along_sees_it_all(router: dict[str, Any], level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "get_global_log_level", lambda: level)
    unseen.leave_plain()
    assert not any(getattr(router[name], function) is unseen.plain for function, name in FUNCTIONS)


def test_what_another_version_lacks_is_passed_over(router: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unseen, "get_global_log_level", lambda: "error")
    gone, renamed, *_ = unseen.LAID_OUT
    monkeypatch.delitem(sys.modules, gone)
    monkeypatch.delattr(router[renamed], "pformat")
    unseen.leave_plain()
    assert not hasattr(router[renamed], "pformat")
    assert router[unseen.LAID_OUT[-1]].pformat is unseen.plain
