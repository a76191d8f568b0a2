"""What do all measurements share?"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from load import Load
from nodes import BenchNode


@dataclass
class Effort:
    """How much is measured."""

    crowds: tuple[int, ...] = (2_000, 1_000, 200)  # clients that come back at once; the largest first
    storms: int = 2  # turns, of the largest; of the others one
    floods: int = 2
    restarts: int = 1
    rates: tuple[int, ...] = (20, 100, 200)  # logins a second
    live: int = 500  # sessions that call meanwhile
    paced: float = 5.0  # seconds of each
    turns: int = 60
    logins: int = 12  # of each kind in a turn: short turns, so that what is compared meets the same moment
    large: int = 1_000_000  # principals
    actions: int = 40  # calls or publications in a turn
    soak: int = 20_000
    soak_step: int = 4_000
    revocations: int = 30
    scaled_turns: int = 12
    scaled_logins: int = 200  # in a turn; enough for the system to share them out between proxies
    watched: int = 100_000  # live sessions
    ticks: int = 50
    thousands: int = 10_000  # clients that come at once to one node


QUICK = Effort(
    crowds=(200,),
    storms=1,
    floods=1,
    rates=(50,),
    live=100,
    paced=2.0,
    turns=3,
    logins=20,
    large=50_000,
    soak=1_000,
    soak_step=500,
    revocations=2,
    scaled_turns=1,
    scaled_logins=100,
    watched=10_000,
    ticks=10,
    thousands=500,
)


@dataclass
class Bench:
    """What is there to measure with."""

    effort: Effort
    load: Load
    witness: Load  # a second process, for what mustn't be delayed by the first
    boot: Callable[..., list[BenchNode]]  # the nodes of some kinds, those that don't run yet side by side
    nats: Callable[[], Any]  # the same of NATS; None where its packages aren't installed
    progress: Callable[[str], None]
    absent: list[str] = field(default_factory=list)
