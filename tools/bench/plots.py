"""What does it look like? One picture for each table of a run, for the README.

python tools/bench/plots.py    # reads tools/bench/results.json, writes tools/bench/plots/*.svg
"""

import textwrap
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot
from report import RESULTS, Cell, Spread, Table, load

HERE = Path(__file__).parent
FILE = click.Path(path_type=Path)
OURS, OTHERS, LIMIT = "#1f6feb", "#8b949e", "#d1242f"
LOGARITHMIC = 10  # times between the largest and the smallest, from which on the axis is logarithmic
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # letters stay letters
    "svg.hashsalt": "bench",  # the same figures give the same file
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def value(cell: Cell) -> tuple[float, float, float]:
    """Median, lower and upper quartile of a cell."""
    if isinstance(cell, Spread):
        return cell.median, cell.lower, cell.upper
    return float(cell), float(cell), float(cell)


def plot(table: Table, file: Path) -> None:
    """A bar for each row, with a line across the middle half of what was measured."""
    rows = {name: cells for name, cells in table.rows.items() if name not in table.unplotted}
    values = [value(cells[table.plotted]) for cells in rows.values()]
    medians = [median for median, _, _ in values]
    spread = [[median - lower for median, lower, _ in values], [upper - median for median, _, upper in values]]
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.3 * len(rows)), layout="constrained")
    colours = [OURS if "our" in name else OTHERS for name in rows]
    bars = axes.barh(list(rows), medians, xerr=spread, color=colours, ecolor="#57606a", height=0.7)
    axes.bar_label(bars, [f"{median:.3g}" for median in medians], padding=4, fontsize="small")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    if min(medians) > 0 and max(medians) / min(medians) >= LOGARITHMIC:
        axes.set_xscale("log")
    for bar in table.bars:
        if bar.unit == table.plotted.rpartition(" ")[2]:  # a limit on what is plotted, and not on a ratio
            axes.axvline(bar.limit, color=LIMIT, linestyle="--", linewidth=1)
    axes.set_xlabel(table.plotted)
    figure.suptitle(textwrap.fill(table.title.partition(". ")[2], 80), fontsize="medium")
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


@click.command()
@click.option("--json", "results", default=RESULTS, type=FILE, help="What run.py kept.")
@click.option("--into", default=HERE / "plots", type=FILE, help="Where the pictures go.")
def main(results: Path, into: Path) -> None:
    """Draw a picture of each table."""
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{into}: {error.strerror}") from None
    with mpl.rc_context(STYLE):
        for table in load(results)[1]:
            plot(table, into / f"{table.key}.svg")
            click.echo(into / f"{table.key}.svg")


if __name__ == "__main__":
    main()
