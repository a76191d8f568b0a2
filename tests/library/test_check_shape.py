"""Whatever stands in a node's configuration, ``wampauth check`` says a sentence about it, or passes it over."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from test_check_production import CONFIG, Spoil, directory, found, look, model, ready, spoil

from wampauth import nodeconfig
from wampauth.check import Finding, check, trial

__all__ = ["directory", "model"]  # fixtures


@pytest.mark.parametrize("odd", [5, [[]]], ids=str)
def test_whatever_stands_where_something_else_belongs_is_told_or_passed_over(
    tmp_path: Path, odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing in the configuration in turn: findings in sentences, and never an exception."""
    directory = ready(tmp_path)
    loaded = nodeconfig.load(directory / CONFIG)
    done = trial.subprocess.run  # type: ignore[attr-defined]
    told: list[Any] = []

    def run(*args: Any, **options: Any) -> Any:
        told[:] = told or [done(*args, **options)]
        return told[0]

    monkeypatch.setattr(trial.subprocess, "run", run)  # type: ignore[attr-defined]
    check(directory, CONFIG, for_production=True)
    text = json.dumps(loaded)
    for *path, last in list(places(loaded)):
        config = json.loads(text, object_pairs_hook=nodeconfig.Section)
        reduce(lambda part, key: part[key], path, config)[last] = odd
        monkeypatch.setattr(nodeconfig, "load", lambda _, config=config: config)
        with suppress(nodeconfig.NodeError):
            assert all(isinstance(one, Finding) for one in check(directory, CONFIG, for_production=True))


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a configuration."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*place, name)
        yield from places(one, (*place, name))


def test_a_name_that_is_too_long_for_a_file(directory: Path) -> None:
    spoil(directory, lambda c: c["workers"][0]["transports"][0]["endpoint"]["tls"].update(key="y" * 300))
    ((severity, place, text),) = found(directory)
    assert (severity, place) == ("error", "workers[0].transports[0].endpoint.tls.key")
    assert text.endswith("y: File name too long")


def test_what_must_be_a_list_is_told_to_be_none(directory: Path) -> None:
    spoil(directory, lambda c: c["workers"][0].update(components={}, options={"pythonpath": "..", "env": []}))
    assert found(directory) == [
        ("error", "workers[0].components", "it must be a list"),
        ("error", "workers[0].options.pythonpath", "it must be a list"),
        ("error", "workers[0].options.env", "it must be an object"),
    ]


@pytest.mark.parametrize(
    ("change", "place", "text"),
    [
        (
            lambda w: w["components"][0]["extra"].update(store="a\0b"),
            "workers[0].components[0].extra",
            "'a\\x00b' can't be the name of a file",
        ),
        (
            lambda w: w["options"].update(env={"vars": {"A=B": "c"}}),
            "workers[0].options.env.vars",
            "no environment can hold these variables",
        ),
        (lambda w: w["components"][0].pop("classname"), "workers[0].components[0]", "classname is missing"),
    ],
)
def test_what_no_worker_could_be_tried_with(directory: Path, change: Spoil, place: str, text: str) -> None:
    spoil(directory, lambda c: change(c["workers"][0]))
    told = found(directory)
    assert ("error", place, text) in told
    assert [said for _, _, said in told].count(text) == 1


def test_a_configuration_that_nobody_could_walk_through(directory: Path) -> None:
    (directory / CONFIG).write_text("workers: &w [{type: router, options: *w}]")
    result = look(directory)
    assert result.exit_code == 1
    assert "isn't a node's configuration: maximum recursion depth exceeded" in result.stderr
