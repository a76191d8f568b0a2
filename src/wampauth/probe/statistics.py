"""Do two groups of times differ? A rank test, and an interval for the difference."""

import random
from dataclasses import dataclass
from itertools import product
from statistics import median

ROUNDS = 5_000


@dataclass(frozen=True)
class Comparison:
    """How two groups differ.

    :ivar tries: in each group.
    :ivar medians: of the first and the second, in seconds.
    :ivar shift: the median of all differences, first less second, in seconds (Hodges and Lehmann).
    :ivar low, high: the interval that has it in 95 of 100 cases, by resampling.
    :ivar chance: how often a difference of ranks as large as this comes by chance.
    """

    tries: tuple[int, int]
    medians: tuple[float, float]
    shift: float
    low: float
    high: float
    chance: float


def compare(first: list[float], second: list[float]) -> Comparison:
    """Compare two groups of at least one. The same groups give the same result."""
    draw = random.Random(1)  # noqa: S311 (nothing secret)
    shifts = sorted(_shift(draw.choices(first, k=len(first)), draw.choices(second, k=len(second))) for _ in range(500))
    return Comparison(
        (len(first), len(second)),
        (median(first), median(second)),
        _shift(first, second),
        shifts[len(shifts) // 40],
        shifts[-len(shifts) // 40 - 1],
        _chance(first, second, draw),
    )


def _shift(first: list[float], second: list[float]) -> float:
    return median(one - other for one, other in product(first, second))


def _chance(first: list[float], second: list[float], draw: random.Random) -> float:
    """A permutation test on the sum of ranks (Mann and Whitney), two-sided."""
    ranks = _ranks(first + second)
    expected = len(first) * (len(ranks) + 1) / 2
    found = abs(sum(ranks[: len(first)]) - expected)
    as_far = sum(abs(sum(draw.sample(ranks, len(first))) - expected) >= found for _ in range(ROUNDS))
    return (as_far + 1) / (ROUNDS + 1)


def _ranks(values: list[float]) -> list[float]:
    """The rank of each; those that are equal share theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) + 1) / 2 for value in values]
