"""Is everything of ours in a node's configuration right? Asked before the router is.

Each worker is tried in a process of its own (``worker.py``), with its path and in the node directory, as it will run.
What only shows between workers (``wiring.py``, ``belonging.py``) is looked at here, and so is the file itself.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from wampauth import nodeconfig
from wampauth.check import belonging, files, layout, listeners, production, shape, trial, wiring
from wampauth.check.finding import Finding

__all__ = ["Finding", "check"]


def check(directory: Path, config: str | None = None, for_production: bool = False) -> list[Finding]:
    """What is wrong with a node's configuration, or may be.

    :param directory: the node's.
    :param config: the file's name; None: the one that Crossbar.io takes.
    :param for_production: look also for what keeps the node from facing the internet.
    :raises nodeconfig.NodeError: if it can't be read.
    """
    name = nodeconfig.choose(directory, config)
    loaded = nodeconfig.load(directory / name)
    if not isinstance(loaded, nodeconfig.Section) or not isinstance(loaded.get("workers"), list):
        raise nodeconfig.NodeError(f"{directory / name} isn't a node's configuration: it has no list of workers.")
    doubled = _doubled(loaded)
    if odd := list(shape.findings(loaded)):
        return [*doubled, *odd]
    workers = [
        worker if isinstance(worker, nodeconfig.Section) else nodeconfig.Section() for worker in loaded["workers"]
    ]
    with ThreadPoolExecutor(len(workers) + 1) as pool:
        pool.submit(layout.load)  # in the meantime
        reports = list(pool.map(lambda worker: trial.report(directory, worker), workers))
    found = [
        Finding(f"workers[{number}].{finding.place}".rstrip("."), finding.text, finding.severity)
        for number, report in enumerate(reports)
        for finding in report.findings
    ]
    found += [*between(workers, reports), *listeners.findings(directory, workers), *files.findings(workers)]
    found = [*doubled, *found]
    if for_production:
        unwatched = (belonging.NO_WATCH, belonging.NOT_WATCHED)
        found = [replace(one, severity="error") if one.text.endswith(unwatched) else one for one in found]
        found += production.findings(directory, workers, reports)
    return found


def between(workers: list[nodeconfig.Section], reports: list[trial.Report]) -> list[Finding]:
    """What only shows when all workers are looked at."""
    there = layout.Layout(workers, reports)
    return [*wiring.Wiring(there).findings(), *belonging.Belonging(there).findings()]


def _doubled(config: nodeconfig.Section) -> list[Finding]:
    """Each object once, though it may be taken in at several places."""
    seen: set[int] = set()
    found = []
    for place, section in nodeconfig.walk(config):
        if section.doubled and id(section) not in seen:
            seen.add(id(section))
            found += [
                Finding(place, f"{name!r} stands here twice: the router takes the last") for name in section.doubled
            ]
    return found
