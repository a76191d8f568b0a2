"""May a process have as many files open as it may have connections?"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest
from conftest import HERE, MakeBundle, read_config

from wampauth.worker import FOLDER

FEW = 2_000


def lowered(soft: int, hard: int) -> None:
    """In a child, before it begins."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def findings(folder: Path, config: str, hard: int) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "wampauth", "check", "--json", "--directory", str(folder), "--config", config]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=HERE, preexec_fn=lambda: lowered(FEW // 2, hard)
    )
    return [found for line in done.stdout.splitlines() if "open file" in (found := json.loads(line))["text"]]


@pytest.mark.parametrize("config", ["config.json", "hardened.yaml"])
def test_too_few_are_warned_of_in_a_line(make_bundle: MakeBundle, config: str) -> None:
    bundle = make_bundle(config, start=False)
    (found,) = findings(bundle.directory, config, FEW)
    assert (found["severity"], found["place"]) == ("warning", "workers[0].transports")
    assert "can't have more than 1,900" in found["text"]
    assert "LimitNOFILE" in found["text"]


def test_enough_are_not_warned_of(make_bundle: MakeBundle) -> None:
    bundle = make_bundle(start=False)
    bundle.edit_config(lambda config: config["workers"][0]["transports"][0].update(max_connections=FEW - 100))
    assert findings(bundle.directory, "config.json", FEW) == []


def workers(of: int) -> Iterable[psutil.Process]:
    return [one for one in psutil.Process(of).children() if "crossbar" in " ".join(one.cmdline())]


def test_a_worker_has_as_many_as_the_system_allows(make_bundle: MakeBundle) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bundle = make_bundle(start=False)
    lowered(min(1_024, hard), hard)
    try:
        node = bundle.start()
    finally:
        lowered(soft, hard)
    try:
        controller = json.loads((bundle.directory / "node.pid").read_text())["pid"]
        limits = [one.rlimit(psutil.RLIMIT_NOFILE) for one in workers(controller)]
        assert limits == [(hard, hard)]
    finally:
        node.stop()


def test_a_proxy_has_as_many_too() -> None:
    """Which loads nothing of ours but the precautions."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    script = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"
    done = subprocess.run(
        [sys.executable, "-c", script, "crossbar.worker.main"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(FOLDER)},
        preexec_fn=lambda: lowered(min(1_024, hard), hard),
    )
    assert done.stdout == f"{hard} {hard}\n"


def test_a_backlog_and_places_for_many() -> None:
    """What is shipped fits together: see the handbook's table."""
    for name in "config.json", "hardened.yaml", "scaled.yaml":
        for worker in read_config(HERE / ".crossbar" / name)["workers"]:
            for transport in worker.get("transports", ()):
                if transport.get("max_connections", 0) > 1_000:
                    assert transport["endpoint"]["backlog"] == 4_096
                    assert transport["max_connections"] * 0.8 < 10_000 < transport["max_connections"] * 0.9
