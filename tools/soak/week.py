"""A week in an hour: people come and go, operators do their work, and what goes wrong in a week goes wrong, all at 50
events a second against the scaled node on PostgreSQL. Is nobody let in wrongly, does no session outlive its credential,
does nothing grow?

    python tools/soak/week.py                  # an hour
    python tools/soak/week.py --seconds 120    # so long

The node, and a PostgreSQL server, run in a temporary directory, on free ports of the loopback interface. The exit code
is 1 if something wasn't as it must be.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import click

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "library")]

from churn import Churn  # noqa: E402
from disturbances import Disturbances  # noqa: E402
from growth import Growth, of_folder, of_processes, of_tables  # noqa: E402
from operators import Operator  # noqa: E402
from postgres import AS_POSTGRES, BINARIES, NO_SERVER, Server  # noqa: E402
from service import Service, postgresql  # noqa: E402
from strangers import many_files  # noqa: E402
from told import Run, text  # noqa: E402
from verdicts import Verdicts  # noqa: E402

from wampauth.store import connect, writing  # noqa: E402

RATE = 50.0  # events a second
LONGEST = 6 * 3600.0  # seconds
SAMPLE = 5.0  # seconds between two looks at what there is
TURN = 0.2  # seconds between two looks at who had to wait for a core
ALL_KINDS = 1 / 12  # of the time: at first, and in the last quarter, processes die, too
WARM = 1 / 6  # of the time: ten minutes of an hour, after which nothing may grow
GENTLE_UNTIL = 3 / 4
Waited = dict[tuple[str, int, bool], float]
FULL = f"INSERT INTO change SELECT n, 'nobody', NULL FROM generate_series(1, {writing.KEPT}) AS n"


class Week:
    """One run."""

    def __init__(self, folder: Path, server: Server, seconds: float, seed: int, rate: float) -> None:
        where = server.create()
        self.seconds, self.rate, self.seed = seconds, rate, seed
        self.verdicts, self.growth = Verdicts(), Growth()
        self.loads: list[float] = []
        self.service = Service(folder / "node", where, self._comes_and_goes)
        self.service.prepare()
        with closing(connect(where)) as store:
            store.execute(FULL)  # as many lines as are kept, so that the table doesn't grow any more
        self.operator = Operator(where)
        self.churn = Churn(self.service, self.operator, self.verdicts, random.Random(f"{seed} churn"))
        chosen = random.Random(f"{seed} disturbances")
        self.disturbances = Disturbances(self.service, server, self.verdicts, chosen)

    def _comes_and_goes(self, is_up: bool) -> None:
        self.disturbances.node(is_up)

    async def run(self) -> Run:
        self.began = self.verdicts.began = time.monotonic()
        until = self.began + self.seconds
        pressure = _pressure()
        tasks = [asyncio.create_task(one) for one in (self._sample(), self._feel(), self._progress())]
        try:
            await self.churn.settle()
            tasks.append(asyncio.create_task(self.disturbances.run(self._is_gentle, until)))
            await self.churn.run(self.rate, until)
            await tasks[-1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # a store that is frozen goes on
            self.operator.close()
        waited = (_pressure() - pressure) / (time.monotonic() - self.began)
        return Run(
            self.seed, self.seconds, self.verdicts, self.growth, self.churn, self.disturbances, waited, self.loads
        )

    def _is_gentle(self, moment: float) -> bool:
        return ALL_KINDS <= (moment - self.began) / self.seconds < GENTLE_UNTIL

    @property
    def judged(self) -> tuple[float, float]:
        """When nothing may grow."""
        return self.began + WARM * self.seconds, self.began + GENTLE_UNTIL * self.seconds

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE)
            self.loads.append(round(os.getloadavg()[0], 2))
            found = await asyncio.to_thread(self._look)
            with suppress(Exception):
                found += await self.operator.does(of_tables)
            for kind, name, amount in found:
                self.growth.add(kind, name, time.monotonic(), amount)

    def _look(self) -> list[tuple[str, str, float]]:
        processes = self.service.processes() if self.service.is_ready() else {}
        return [*of_processes(processes), *of_folder(self.service.directory)]

    async def _feel(self) -> None:
        """For how long do they wait for a core who bring an answer or an end to a client?"""
        before, since = self._waited(), time.monotonic()
        while True:
            await asyncio.sleep(TURN)
            now, until = self._waited(), time.monotonic()
            by = {one: max(0.0, seconds - before.get(one, seconds)) for one, seconds in now.items()}
            reactors = [most(by, name, True) for name in ("router", "proxy")]
            threads = [most(by, name, False) for name in ("router", "authenticator")]  # in which the store is asked
            ours = max(most(by, "we", True), until - since - TURN)
            self.verdicts.waits.append((since, until, sum(reactors) + max(threads) + ours))
            before, since = now, until

    def _waited(self) -> Waited:
        """Seconds for which each thread has waited so far: of whom, and whether it is the main one."""
        processes = {name: process.pid for name, process in getattr(self.service, "family", {}).items()}
        return {
            (name, thread, thread == pid): seconds
            for name, pid in {"we": os.getpid(), **processes}.items()
            for thread, seconds in run_delays(pid).items()
        }

    async def _progress(self) -> None:
        told = 0
        while True:
            await asyncio.sleep(min(60.0, self.seconds / 4))
            events, passed = sum(self.churn.done.values()), time.monotonic() - self.began
            sessions, starts = len(self.churn.sessions), self.service.starts
            click.echo(f"{passed:.0f} s: {events} events, {sessions} sessions, {starts} starts", err=True)
            for fault in self.verdicts.faults[told:]:
                click.echo(f"WRONG: {fault}", err=True)
            told = len(self.verdicts.faults)


def run_delays(pid: int) -> dict[int, float]:
    """For how long each thread of a process could have run and had no core, as Linux counts it."""
    found = {}
    for file in Path("/proc", str(pid), "task").glob("*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            found[int(file.parent.name)] = int(file.read_text().split()[1]) / 1e9
    return found


def most(waited: Waited, name: str, main: bool) -> float:
    """The longest of these: of a process whose name begins so, and of its main thread or of the others."""
    some = (seconds for (of, _, is_main), seconds in waited.items() if of.startswith(name) and is_main == main)
    return max(some, default=0.0)


def _pressure() -> float:
    """Seconds for which some process has waited for a core, since the machine was booted; 0 where nobody knows."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/pressure/cpu").read_text().split("\n")[0].rpartition("=")[2]) / 1e6
    return 0.0


@click.command()
@click.option("--seconds", default=3600.0, show_default=True, type=click.FloatRange(30, LONGEST), help="How long.")
@click.option("--seed", default=None, type=int, help="Of what happens, and in which order; it is printed.")
@click.option("--rate", default=RATE, show_default=True, type=click.FloatRange(1, 500), help="Events a second.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, too.")
def main(seconds: float, seed: int | None, rate: float, file: Path | None) -> None:
    """Let a week pass at a scaled node, and tell how it went."""
    if not BINARIES:
        raise click.ClickException(NO_SERVER)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop the node
    seed = random.randrange(10_000) if seed is None else seed
    click.echo(f"a week in {seconds:g} s, by --seed {seed}", err=True)
    with tempfile.TemporaryDirectory(prefix="week-") as directory, many_files():
        folder = Path(directory)
        folder.chmod(0o711)  # the server may be another user's
        (folder / "server").mkdir()
        if AS_POSTGRES:
            shutil.chown(folder / "server", "postgres", "postgres")
        with postgresql(folder / "server") as server:
            week = Week(folder, server, seconds, seed, rate)
            with week.service.running():
                run = asyncio.run(week.run())
            found = run.faults(week.judged, week.service.log.stat().st_size)
            log = week.service.log.read_text()
    click.echo(text(run, week.judged))
    if file:
        file.write_text(json.dumps({**run.as_json(week.judged), "wrong": found}, indent=2))
    for sentence in found[:40]:
        click.echo(f"WRONG: {sentence}")
    if found:
        click.echo(f"The node's log ends:\n{log[-3000:]}", err=True)
    click.echo(f"{len(found)} things weren't as they must be" if found else "All is as it must be.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
