"""How is a worker tried? In a process of its own, for a limited time. This is the side of those who ask."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wampauth.check.finding import Finding
from wampauth.nodeconfig import Section, walk

PATIENCE = 60.0  # seconds that a worker's modules may take, also on a busy machine: as long as a node may
NO_MODULE = re.compile(r"No module named '?[\w.]+'?\s*\Z")  # of a last line, what Python itself has written


@dataclass
class Report:
    """What was found in one worker.

    :ivar findings: their places are relative to the worker.
    :ivar components: by their number: ``kind`` (component, sessions, foreign), and of ours ``prefix``, ``methods``, and
        whether they are ``shared``.
    :ivar functions: by the name under ``create``: ``prefix`` and ``method`` of those that are ours.
    :ivar principals: realm, role, number of principals and one of them, for each store that is looked after here.
    """

    findings: list[Finding] = field(default_factory=list)
    components: dict[int, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, dict[str, str]] = field(default_factory=dict)
    principals: list[tuple[str, str, str, int, str]] = field(default_factory=list)


def methods(worker: Section) -> Iterator[tuple[str, str, Section]]:
    """Place, name and configuration of each way to log in at the worker's transports."""
    for place, section in walk(worker.get("transports"), "transports"):
        if isinstance(section.get("auth"), Section):
            for name, method in section["auth"].items():
                if isinstance(method, Section):
                    yield f"{place}.auth.{name}", name, method


def report(directory: Path, worker: Section) -> Report:
    """Try what a worker names: classes of components, and factories."""
    components = [
        (number, component)
        for number, component in enumerate(worker.get("components") or ())
        if isinstance(component, Section) and component.get("type") == "class"
    ]
    functions = [found for found in methods(worker) if found[2].get("type") == "function"]
    if not components and not functions:
        return Report()
    job = {"type": worker.get("type"), "components": components, "functions": functions}
    try:
        done = _run(directory, worker.get("options") or {}, json.dumps(job, default=str))
    except subprocess.TimeoutExpired:
        return Report([Finding("", f"its modules weren't loaded after {PATIENCE:g} seconds", "warning")])
    except OSError as error:
        return Report([Finding("options.python", f"this can't be run: {error.strerror}")])
    except ValueError:  # a null byte, or a name with a "="
        return Report([Finding("options.env.vars", "no environment can hold these variables")])
    try:
        told = json.loads(done.stdout)
    except ValueError:
        why = NO_MODULE.search(done.stderr) or [f"exit code {done.returncode}"]
        return Report([Finding("", f"it ends while its modules are loaded: {why[0]}")])
    return Report(
        [Finding(*finding) for finding in told["findings"]],
        {int(number): known for number, known in told["components"].items()},
        told["functions"],
        told["principals"],
    )


def _run(directory: Path, options: dict[str, Any], job: str) -> "subprocess.CompletedProcess[str]":
    paths = [str((directory / path).resolve()) for path in options.get("pythonpath") or ()]
    given = (options.get("env") or {}).get("vars") or {}
    environment = {**os.environ, **{str(name): str(value) for name, value in given.items()}}
    environment["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, sys.path)])  # as the router does it
    command = [options.get("python") or sys.executable, "-m", "wampauth.check.worker"]
    return subprocess.run(
        command,
        check=False,
        input=job,
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment,
        timeout=PATIENCE,
    )
