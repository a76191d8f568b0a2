"""Which audits belong to a store, by the configurations beside it?"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE

from wampauth.nodeconfig import AUDIT, audits
from wampauth.settings import Settings


def names(store: Path | str, **options: Any) -> list[str]:
    return [path.name for path in audits(str(store), **options)]


def configure(folder: Path, *extras: dict[str, Any], name: str = "config.json") -> None:
    components = [{"type": "class", "classname": "a.B", "extra": extra} for extra in extras]
    (folder / name).write_text(json.dumps({"workers": [{"type": "router", "components": components}]}))


def test_the_default_is_the_settings_own() -> None:
    assert Settings().audit == AUDIT


def test_without_a_configuration_it_lies_beside_the_store(tmp_path: Path) -> None:
    assert audits(str(tmp_path / "principals.db")) == [tmp_path / "audit.jsonl"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("config.json", ["audit.jsonl"]),
        ("hardened.yaml", ["audit.jsonl"]),
        ("scaled.yaml", ["audit.jsonl", "audit1.jsonl", "audit2.jsonl"]),
    ],
)
def test_the_lessons_nodes(tmp_path: Path, config: str, expected: list[str]) -> None:
    shutil.copy(HERE / ".crossbar" / config, tmp_path)
    assert names(tmp_path / "principals.db") == expected


def test_what_belongs_to_another_store_is_left_out(tmp_path: Path) -> None:
    mine = {"store": "./principals.db", "guard": {"audit": "logs/mine.jsonl"}}
    absolute = {"store": str(tmp_path / "principals.db"), "guard": {"audit": "/var/log/absolute.jsonl"}}
    configure(tmp_path, mine, absolute, {"store": "other.db", "guard": {"audit": "other.jsonl"}})
    found = audits(str(tmp_path / "principals.db"))
    assert found == [tmp_path / "logs/mine.jsonl", Path("/var/log/absolute.jsonl")]


@pytest.mark.parametrize("extra", [{"store": 7}, {"store": "principals.db", "guard": 7}, {"guard": {"audit": "x"}}])
def test_what_makes_no_sense_is_passed_over(tmp_path: Path, extra: dict[str, Any]) -> None:
    (tmp_path / "broken.json").write_text("{")
    configure(tmp_path, extra)
    assert names(tmp_path / "principals.db") == ["audit.jsonl"]


def test_for_a_database_server_they_lie_in_the_node_directory(tmp_path: Path) -> None:
    configure(tmp_path, {"store": "postgresql://node:secret@db.example/w", "guard": {"audit": "mine.jsonl"}})
    assert names("postgresql://operator@db.example/w", directory=tmp_path) == ["mine.jsonl"]
    assert names("postgresql://operator@db.example/other", directory=tmp_path) == []
