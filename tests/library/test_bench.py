"""Does the benchmark still run? Only whether it comes to its end with figures; what they are is another matter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE


def measure(file: Path, *only: str, **environment: str) -> tuple[str, dict[str, Any]]:
    """What a quick run says, and the tables that it keeps, by key."""
    command = [sys.executable, str(HERE / "tools" / "bench" / "run.py"), "--quick", "--json", str(file)]
    command += [word for name in only for word in ("--only", name)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, {table["key"]: table for table in json.loads(file.read_text())["tables"]}


@pytest.mark.slow
def test_a_crowd_comes_back_and_nobody_is_refused(tmp_path: Path) -> None:
    """And where NATS isn't installed, that is said."""
    (tmp_path / "nats.py").write_text("raise ImportError\n")
    paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    told, tables = measure(tmp_path / "results.json", "storms", PYTHONPATH=paths)
    assert "NATS isn't measured: `pip install" in told
    rows = tables["storms"]["rows"]
    assert {name.rpartition(", ")[2] for name in rows} == {"smallest", "our dynamic", "our function"}
    assert [name for name, cells in rows.items() if (cells["refused"], cells["never in"]) != ("0", "0")] == []


@pytest.mark.slow
def test_a_run_of_a_part_leaves_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results = HERE / "tools" / "bench" / "results.json"
    file.write_bytes(results.read_bytes())
    before = {table["key"] for table in json.loads(file.read_text())["tables"]}
    told, tables = measure(file, "ticks")
    assert "nothing has changed" in told
    assert set(tables) == before | {"ticks"}
    shown = [sys.executable, str(HERE / "tools" / "bench" / "report.py"), "--brief", "--json", str(file)]
    assert "10. CPU of a tick" in subprocess.run(shown, capture_output=True, text=True, check=True).stdout
