"""What does it cost, on this machine? Measures, shows tables, and keeps them as JSON.

    python tools/bench/run.py            # some fifteen minutes
    python tools/bench/run.py --quick    # one or two, with figures that are as rough

The nodes that are measured run in temporary directories, on free ports; no other needs to be stopped for it.
"""

import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import click

HERE = Path(__file__).parent
LATEST = HERE / "latest.json"  # results.json is the run that README.md shows
sys.path[:0] = [str(HERE.parent), str(HERE)]

import callout  # noqa: E402
from bench import QUICK, Bench, Effort  # noqa: E402
from flood import flood  # noqa: E402
from latency import latency  # noqa: E402
from load import Load  # noqa: E402
from nodes import BenchNode, Kind  # noqa: E402
from report import Table, keep  # noqa: E402
from report import load as read  # noqa: E402
from restart import restart  # noqa: E402
from revocation import revocation  # noqa: E402
from scale import scale  # noqa: E402
from storms import storms  # noqa: E402
from tables import authorizer, principals, soak  # noqa: E402
from thousands import thousands  # noqa: E402
from ticks import ticks  # noqa: E402

TABLES = (storms, flood, restart, latency, principals, authorizer, soak, revocation, scale, ticks, thousands)


def progress(text: str) -> None:
    """One line that is written over; in a log, a line each."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{text}", nl=False, err=True)
    elif text:
        click.echo(text, err=True)


class Running:
    """The nodes that are measured: each is booted when it is first asked for."""

    def __init__(self) -> None:
        """None, to begin with."""
        self._nodes: dict[Kind, BenchNode] = {}
        self._nats: callout.NatsNode | None = None

    def boot(self, *kinds: Kind) -> list[BenchNode]:
        """The nodes of these kinds."""
        missing = [kind for kind in kinds if kind not in self._nodes]
        with ThreadPoolExecutor() as threads:
            self._nodes.update(zip(missing, threads.map(start, missing), strict=True))
        return [self._nodes[kind] for kind in kinds]

    def nats(self) -> callout.NatsNode | None:
        """The other system, if it is installed."""
        if self._nats is None and callout.IS_INSTALLED:
            nats = callout.NatsNode()
            nats.start()
            self._nats = nats
        return self._nats

    def close(self) -> None:
        """Stop all of them."""
        progress("stopping the nodes")
        with ThreadPoolExecutor() as threads:
            threads.map(BenchNode.stop, self._nodes.values())
        if self._nats:
            self._nats.stop()
        progress("")


def start(kind: Kind) -> BenchNode:
    progress(f"booting the node {kind.kind!r} with {kind.principals:,} principals")
    node = BenchNode(kind)
    node.start()
    return node


def others(file: Path, only: tuple[str, ...]) -> list[Table]:
    """With --only, the other tables that the file has stay in it."""
    return [table for table in read(file)[1] if table.key not in only] if only and file.exists() else []


@click.command()
@click.option("--quick", is_flag=True, help="One or two minutes, with fewer turns and a smaller store.")
@click.option("--only", type=click.Choice([table.__name__ for table in TABLES]), multiple=True, help="Only this table.")
@click.option("--json", "file", default=LATEST, type=click.Path(path_type=Path), help="Where to keep the results.")
def main(quick: bool, only: tuple[str, ...], file: Path) -> None:
    """Measure what logins, authorization and revocation cost on this machine."""
    if not file.parent.is_dir():
        raise click.ClickException(f"{file.parent} isn't there: make it first, or give another --json")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop the nodes
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a crowd has a file descriptor each, here and in the node
    chosen = [table for table in TABLES if not only or table.__name__ in only]
    done = []
    absent = [] if callout.IS_INSTALLED else [callout.MISSING]
    with closing(Running()) as running, Load() as load, Load() as witness:
        bench = Bench(QUICK if quick else Effort(), load, witness, running.boot, running.nats, progress, absent)
        for measure in chosen:
            table = measure(bench)
            progress("")
            table.show()
            done.append(table)
    keep(file, [*done, *others(file, only)], quick)
    click.echo(f"\nKept in {file}.")
    if missed := [bar for table in done for bar in table.bars if not bar.is_held]:
        click.echo(f"\n{len(missed)} of {sum(len(table.bars) for table in done)} bars missed.")


if __name__ == "__main__":
    main()
