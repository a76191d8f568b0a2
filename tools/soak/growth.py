"""Does something grow that mustn't? Memory and open files of processes, bytes in the node directory, rows of tables."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

EDGE = 5  # the first and the last fifth of a time are compared
NEEDS = 900.0  # seconds: in less, processes and tables have yet to fill with what they keep
ROOM = {  # what may be more in the end: by a share, and by a number
    "memory": (0.05, 8.0),  # MiB of a process
    "files": (0.2, 40.0),  # open in a process, which has some for each session
    "bytes": (0.05, 16_384.0),  # in the node directory, without the audit
    "rows": (0.2, 60.0),  # of a table
}
COUNT = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


@dataclass
class Growth:
    """Samples of what there is, by kind and name: when, in seconds, and how much."""

    samples: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, kind: str, name: str, moment: float, amount: float) -> None:
        self.samples.setdefault((kind, name), []).append((moment, amount))

    def compared(self, since: float, until: float) -> dict[tuple[str, str], tuple[float, float]]:
        """How much there was at the beginning of that time, and at its end: medians."""
        found = {}
        for key, samples in self.samples.items():
            amounts = [amount for moment, amount in samples if since <= moment <= until]
            few = len(amounts) // EDGE
            if few:
                found[key] = statistics.median(amounts[:few]), statistics.median(amounts[-few:])
        return found

    def course(self, kind: str) -> dict[str, list[float]]:
        """The amounts of that kind, all the time: some twenty of each name."""
        return {
            name: [round(amount, 1) for _, amount in samples[:: max(1, len(samples) // 20)]]
            for (known, name), samples in self.samples.items()
            if known == kind
        }

    def faults(self, since: float, until: float) -> list[str]:
        """What has grown by more than it may. In a short time, nobody can say."""
        if until - since < NEEDS:
            return []
        return [
            f"{kind} of {name} grew from {early:.1f} to {late:.1f}"
            for (kind, name), (early, late) in self.compared(since, until).items()
            if late > early * (1 + ROOM[kind][0]) + ROOM[kind][1]
        ]


def of_processes(processes: Mapping[str, psutil.Process]) -> list[tuple[str, str, float]]:
    """Memory in MiB and open files of each."""
    found = []
    for name, process in processes.items():
        with suppress(psutil.Error), process.oneshot():
            found += [("memory", name, process.memory_info().rss / 2**20), ("files", name, process.num_fds())]
    return found


def of_folder(directory: Path) -> list[tuple[str, str, float]]:
    """Bytes in it, without the audit, which another program rotates."""
    sizes = 0
    for file in directory.rglob("*"):
        with suppress(OSError):
            sizes += file.stat().st_size if file.is_file() and not file.name.startswith("audit") else 0
    return [("bytes", "the node directory", float(sizes))]


def of_tables(connection: Any) -> list[tuple[str, str, float]]:
    """Rows of each table, and the size of the whole."""
    tables: Sequence[tuple[str]] = connection.execute(COUNT).fetchall()
    return [
        ("rows", table, float(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])) for (table,) in tables
    ]
