"""Can strangers take the node down? All attacks in random order, against the hardened node, with honest clients all the
while: none may be refused, none slower than 5 s, nobody wrong may get in, and the memory must stay as it is.

    python tools/soak/soak.py                  # ten minutes
    python tools/soak/soak.py --seconds 60     # so long; about a second an attack at least

The node runs in a temporary directory, on free ports. The exit code is 1 if something wasn't as it must be.
"""

import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

from attacks import ATTACKS  # noqa: E402
from honest import Honest  # noqa: E402
from soaked import OWN, Soaked  # noqa: E402
from strangers import many_files  # noqa: E402

LONGEST = 12.0  # seconds of one attack; twice as long as a waiting connection is spared, at least
WITHIN = 5.0  # seconds in which an honest client is in
FLAT = 40.0  # MiB that the node may hold at the end beyond what it held once each attack had been made
LOG = 64_000  # bytes of log a minute
AUDIT = 12 * 10 * 2**20  # bytes of records of attempts, of joins as many again
LINE = "{:<27}{:>7}{:>8}{:>9}{:>9}{:>6}{:>10}{:>11}"


@dataclass
class Row:
    """What was seen during one kind of attack."""

    seconds: float = 0.0
    cpu: float = 0.0  # seconds
    log: int = 0  # bytes
    audit: int = 0  # bytes; negative where files were thrown away
    got: Counter[str] = field(default_factory=Counter)


@dataclass
class Soak:
    """One run."""

    node: Soaked
    seconds: float
    seed: int
    rows: dict[str, Row] = field(default_factory=lambda: {name: Row() for name in ATTACKS})
    memory: list[tuple[float, float]] = field(default_factory=list)  # when, and MiB

    def run(self) -> Honest:
        rounds = max(1, round(self.seconds / LONGEST / len(ATTACKS)))
        chosen = random.Random(self.seed)
        order = [name for _ in range(rounds) for name in chosen.sample([*ATTACKS], len(ATTACKS))]
        job = {
            "directory": str(self.node.directory),
            "port": self.node.port,
            "tls_port": self.node.tls_port,
            "ca": str(self.node.ca),
            "seed": bytes(OWN).hex(),
            "attacks": order,
            "seconds": self.seconds / len(order),
            "number": self.seed,
        }
        command = [sys.executable, str(HERE / "attacks.py"), json.dumps(job)]
        with Honest(self.node) as honest, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attacker:
            assert attacker.stdout
            for line in attacker.stdout:
                self._note(json.loads(line), honest)
        if attacker.returncode:
            raise click.ClickException("the attacker has failed")
        return honest

    def _note(self, said: dict[str, Any], honest: Honest) -> None:
        now = time.monotonic(), self.node.cpu(), self.node.written("node.log"), self.node.written("*.jsonl*")
        self.memory.append((now[0], self.node.memory()))
        if "begins" in said:
            honest.during, self._began = said["begins"], now
            return
        row = self.rows[said["ends"]]
        passed = [after - before for before, after in zip(self._began, now, strict=True)]
        row.seconds, row.cpu = row.seconds + passed[0], row.cpu + passed[1]
        row.log, row.audit = row.log + int(passed[2]), row.audit + int(passed[3])
        row.got.update(said["got"])
        click.echo(f"{said['ends']}: {passed[0]:.0f} s, {json.dumps(said['got'])}", err=True)


def report(soak: Soak, honest: Honest) -> None:
    """A line for each attack: how long honest clients took to join meanwhile, and what the node used and wrote."""
    click.echo(LINE.format("attack", "turns", "logins", "median", "slowest", "CPU", "log", "audit"))
    for name, row in soak.rows.items():
        seconds = [one.seconds for one in honest.logins if one.during == name] or [0.0]
        times = f"{statistics.median(seconds):.2f} s", f"{max(seconds):.2f} s", f"{row.cpu / (row.seconds or 1):.0%}"
        bytes_ = f"{row.log / 1000:.1f} kB", f"{row.audit / 1000:.1f} kB"
        click.echo(LINE.format(name, row.got["turns"], len(seconds), *times, *bytes_))
    again = sum(1 for one in honest.logins if one.tries > 1)
    click.echo(f"{len(honest.logins)} logins, {again} of them after being cut off or told to come again; ")
    click.echo(f"calls of those who had joined: the slowest in {honest.slowest_call:.2f} s")


def faults(soak: Soak, honest: Honest) -> list[str]:
    """What isn't as it must be."""
    found = [f"{one.who} was refused during {one.during}: {one.refused}" for one in honest.logins if one.refused]
    found += [
        f"{one.who} took {one.seconds:.1f} s during {one.during}" for one in honest.logins if one.seconds > WITHIN
    ]
    found += [f"one who had joined was lost: {why}" for why in honest.lost]
    found += [f"{row.got['joined']} got in by: {name}" for name, row in soak.rows.items() if row.got["joined"]]
    found += ["HTTP/2 was offered"] if soak.rows["http2"].got["h2"] else []
    missing = {"chosen ticket", "made ticket", "key"} - {one.who for one in honest.logins if not one.refused}
    found += [f"nobody has logged in with a {who}" for who in sorted(missing)]
    early, late = flatness(soak)
    click.echo(f"memory: {early:.0f} MiB once each attack had been made, {late:.0f} MiB at the end")
    if late > early + FLAT:
        found.append(f"memory grew from {early:.0f} to {late:.0f} MiB")
    log, minutes = soak.node.written("node.log"), 1 + soak.seconds / 60
    click.echo(f"log: {log / 1000:.0f} kB; audit: {soak.node.written('*.jsonl*') / 1000:.0f} kB")
    if log > LOG * minutes:
        found.append(f"{log} bytes of log")
    if soak.node.written("*attempts.jsonl*") > AUDIT:
        found.append("more records of attempts than the files may hold")
    return found


def flatness(soak: Soak) -> tuple[float, float]:
    """MiB that the node held after the first round of attacks, and after the last: the least of some samples, since a
    check of a chosen ticket takes 64 for a moment."""
    samples = [held for _, held in soak.memory]
    first = 2 * len(ATTACKS)
    few = max(3, len(ATTACKS) // 2)
    return min(samples[first - few : first + few]), min(samples[-2 * few :])


@click.command()
@click.option("--seconds", default=600.0, show_default=True, type=click.FloatRange(min=10), help="How long.")
@click.option("--seed", default=None, type=int, help="Of the order; it is printed.")
def main(seconds: float, seed: int | None) -> None:
    """Attack a hardened node, and tell how it goes for honest clients."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and stop the node
    seed = random.randrange(10_000) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="soak-") as directory, many_files():
        node = Soaked(Path(directory))
        click.echo(f"attacking a hardened node for {seconds:g} s, in the order of --seed {seed}", err=True)
        node.start()
        try:
            soak = Soak(node, seconds, seed)
            honest = soak.run()
            report(soak, honest)
            found = faults(soak, honest)
        finally:
            node.stop()
    for fault in found[:20]:
        click.echo(f"WRONG: {fault}")
    click.echo(f"{len(found)} things weren't as they must be" if found else "All is as it must be.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
