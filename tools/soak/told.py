"""What is told of a week in an hour, to people and to programs."""

import statistics
from dataclasses import dataclass
from typing import Any

from churn import Churn
from disturbances import Disturbances
from growth import NEEDS, Growth
from population import STAYING
from verdicts import PROMISE, Verdicts

LOG = 64_000  # bytes of log that the node may write a minute
REACHED = 0.95  # of the events that were to be, at least
Judged = tuple[float, float]  # when nothing may grow


@dataclass
class Run:
    """All that was seen."""

    seed: int
    seconds: float
    verdicts: Verdicts
    growth: Growth
    churn: Churn
    disturbances: Disturbances
    waited: float  # the share of the time in which some process had to wait for a core
    loads: list[float]  # of the machine, all the time

    @property
    def events(self) -> int:
        return sum(self.churn.done.values()) + sum(self.disturbances.done.values())

    def faults(self, judged: Judged, log: int) -> list[str]:
        """What isn't as it must be."""
        found = [*self.verdicts.faults, *self.growth.faults(*judged)]
        if (more := self.verdicts.counts["faults"] - len(self.verdicts.faults)) > 0:
            found.append(f"{more} more like these")
        if self.churn.missed > (1 - REACHED) * (self.events + self.churn.missed):
            found.append(f"for {self.churn.missed} events there was no time: the machine is too slow for this rate")
        if log > LOG * (1 + self.seconds / 60):
            found.append(f"the node has written {log} bytes of log")
        if not self.verdicts.counts["login: in"] or not self.verdicts.late["ordinary"]:
            found.append("nobody has come in, or nobody was ended: nothing was seen")
        return found

    def as_json(self, judged: Judged) -> dict[str, Any]:
        """For programs. Lateness in seconds, memory in MiB."""
        verdicts = self.verdicts
        return {
            "seed": self.seed,
            "seconds": self.seconds,
            "events": self.events,
            "rate": self.events / self.seconds,
            "missed": self.churn.missed,
            "done": dict(self.churn.done),
            "disturbances": dict(self.disturbances.done),
            "seconds until service": {name: spread(some) for name, some in self.disturbances.services.items()},
            "seen": dict(sorted(verdicts.counts.items())),
            "wrong admissions": verdicts.counts["wrong admissions"],
            "late endings": verdicts.counts["late endings"],
            "late while who brings it waited for a core": verdicts.excused,
            "outlived by": {name: spread(some) for name, some in verdicts.late.items()},
            "returns": spread(self.churn.returns),
            "starts": self.disturbances.service.starts,
            "grew": {
                f"{kind} of {name}": {"early": early, "late": late}
                for (kind, name), (early, late) in self.growth.compared(*judged).items()
            },
            "memory all the time": self.growth.course("memory"),
            "judged": [moment - verdicts.began for moment in judged],
            "share of time in which a process waited for a core": self.waited,
            "load": spread(self.loads),
            "waited for a core": sum(seconds for *_, seconds in verdicts.waits),
        }


def spread(some: list[float]) -> dict[str, float]:
    """How many, and of what size, in seconds."""
    if not some:
        return {"number": 0}
    ordered = sorted(some)
    return {
        "number": len(some),
        "median": round(statistics.median(ordered), 3),
        "99 of 100": round(ordered[int(len(ordered) * 0.99)], 3),
        "most": round(ordered[-1], 3),
    }


def text(run: Run, judged: Judged) -> str:
    """For people."""
    told = run.as_json(judged)
    lines = [
        f"{told['events']} events in {run.seconds:g} s ({told['rate']:.1f} a second), {told['missed']} had no time; "
        f"seed {run.seed}; in {run.waited:.0%} of the time, some process waited for a core",
        f"load: {_spread(told['load'])}",
        f"done: {_counts(told['done'])}",
        f"and: {_counts(told['disturbances'])}",
        f"seen: {_counts(told['seen'])}",
        f"wrong admissions: {told['wrong admissions']}",
        f"outlived its credential by more than {PROMISE:g} s: {told['late endings']}",
        f"later, or without an answer, while who brings it waited for a core: {len(run.verdicts.excused)}",
    ]
    lines += [f"outlived ({name}): {_spread(some)}" for name, some in told["outlived by"].items()]
    lines += [f"service after: {name}: {_spread(some)}" for name, some in told["seconds until service"].items()]
    lines += [f"{STAYING} clients that stay came back {_spread(told['returns'])}"]
    since, until = told["judged"]
    short = "" if until - since >= NEEDS else " (too short to judge growth)"
    lines += [f"from {since:.0f} s to {until:.0f} s{short}:"]
    lines += [f"  {name}: {sizes['early']:.1f}, then {sizes['late']:.1f}" for name, sizes in told["grew"].items()]
    return "\n".join(lines)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


def _spread(some: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in some.items())
