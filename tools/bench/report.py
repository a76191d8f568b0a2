"""What came out? Tables with medians and their spread, the bars that were set, and how both are shown and kept.

python tools/bench/report.py            # shows the figures of results.json again
python tools/bench/report.py --brief    # only what was promised
"""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

RESULTS = Path(__file__).with_name("results.json")
PACKAGES = ("crossbar", "autobahn", "twisted")


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing: the median, and what their middle half lies between."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        quarters = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
        return cls(quarters[1], quarters[0], quarters[2])

    @classmethod
    def of_ratios(cls, values: Sequence[float], others: Sequence[float]) -> "Spread":
        """Of what was measured side by side: the ratio of each pair, so that a slow moment of the machine hits both."""
        return cls.of([value / other for value, other in zip(values, others, strict=True)])

    def __str__(self) -> str:
        digits = _digits(self.median)
        return f"{self.median:.{digits}f} ({self.lower:.{digits}f}–{self.upper:.{digits}f})"


Cell = Spread | float | str


@dataclass
class Bar:
    """A promise: `value` stays at or below `limit`, or else at or above it."""

    promise: str
    value: float
    limit: float
    unit: str = "×"
    at_most: bool = True

    @property
    def is_held(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        verdict, limits = "held  " if self.is_held else "MISSED", "at most" if self.at_most else "at least"
        value, unit = (f"{self.value:6.3f}", f" {self.unit}") if self.unit else (f"{self.value:6g}", "")
        return f"{verdict}  {value}{unit} of {limits} {self.limit:g}{unit}: {self.promise}"


@dataclass
class Table:
    """One of the questions, and its answer."""

    key: str
    title: str
    plotted: str  # the column that the plot shows, and that is printed with its spread
    rows: dict[str, dict[str, Cell]] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unplotted: list[str] = field(default_factory=list)  # rows that would dwarf the others

    def show(self) -> None:
        """Print it, its bars and its notes."""
        columns = list(next(iter(self.rows.values())))
        lines = [["", *columns]]
        for name, cells in self.rows.items():
            lines.append([name, *(_text(cells[column], column == self.plotted) for column in columns)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns) + 1)]
        click.echo(f"\n{self.title}\n")
        for line in lines:
            first, *others = (text.rjust(width) for text, width in zip(line, widths, strict=True))
            click.echo("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())
        click.echo()
        for remark in (*self.bars, *self.notes):
            click.echo(str(remark))

    def show_bars(self) -> None:
        """Print what was promised, or the medians where nothing was."""
        click.echo(f"\n{self.title}")
        for bar in self.bars:
            click.echo(f"  {bar}")
        for name, cells in self.rows.items() if not self.bars else ():
            click.echo(f"  {_text(cells[self.plotted], False)} {self.plotted}: {name}")

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> "Table":
        """What :func:`keep` has kept."""
        rows = {
            name: {column: Spread(**cell) if isinstance(cell, dict) else cell for column, cell in cells.items()}
            for name, cells in kept["rows"].items()
        }
        return cls(**{**kept, "rows": rows, "bars": [Bar(**bar) for bar in kept["bars"]]})


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many of a hundred don't exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _text(cell: Cell, whole: bool) -> str:
    if isinstance(cell, Spread) and not whole:
        cell = cell.median
    return f"{cell:.{_digits(cell)}f}" if isinstance(cell, float) else str(cell)


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def load(file: Path) -> tuple[dict[str, Any], list[Table]]:
    """The circumstances of a run, and its tables.

    :raises click.ClickException: if that isn't what the file holds.
    """
    try:
        kept = json.loads(file.read_text())
        tables = [Table.of_json(table) for table in kept.pop("tables")]
        return {name: kept[name] for name in ("when", "processor", "cores", "python", *PACKAGES)}, tables
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        raise click.ClickException(f"{file} doesn't hold what tools/bench/run.py keeps: run that first") from None


def keep(file: Path, tables: Sequence[Table], quick: bool) -> None:
    """Write all of it, and what it was measured on, as JSON."""
    tables = sorted(tables, key=lambda table: int(table.title.partition(".")[0]))
    file.write_text(
        json.dumps({**circumstances(quick), "tables": [asdict(table) for table in tables]}, indent=1) + "\n"
    )


def circumstances(quick: bool) -> dict[str, Any]:
    """Where and when."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "quick": quick,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


@click.command()
@click.option("--json", "file", default=RESULTS, type=click.Path(path_type=Path), help="What run.py kept.")
@click.option("--brief", is_flag=True, help="Only what was promised.")
def main(file: Path, brief: bool) -> None:
    """Show the figures of a run."""
    run, tables = load(file)
    packages = ", ".join(f"{package} {run[package]}" for package in PACKAGES)
    click.echo(f"{run['when'][:10]}, {run['processor']}, {run['cores']} cores, Python {run['python']}, {packages}")
    for table in tables:
        table.show_bars() if brief else table.show()


if __name__ == "__main__":
    main()
