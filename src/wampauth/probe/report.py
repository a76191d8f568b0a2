"""What has been found? One row a probe, as a table or as JSON."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from wampauth.probe.answers import Answer
from wampauth.probe.budget import Budget

HOLDS, FALLS, CANT_TELL, NOT_APPLICABLE = "holds", "falls", "can't tell", "n/a"
LONGEST = 240  # characters of what came back
WIDTH = 100


@dataclass(frozen=True)
class Found:
    """What a probe has found.

    :ivar name: of the row.
    :ivar came: what came back.
    """

    name: str
    verdict: str
    came: str


@dataclass(frozen=True)
class About:
    """What a row is about.

    :ivar tried: what is sent.
    :ivar why: one sentence: why it matters.
    :ivar page: of the handbook, in ``docs/``, which has the remedy.
    :ivar needs: options without which it can't be told.
    :ivar method: the authmethod without which there is nothing to try.
    """

    tried: str
    why: str
    page: str
    needs: tuple[str, ...] = ()
    method: str | None = None


@dataclass(frozen=True)
class Row:
    """One row of the report."""

    name: str
    tried: str
    came: str
    verdict: str
    why: str
    page: str


def verdict(falls: bool, answer: Answer) -> str:
    """What an answer shows: if it isn't the wrong one, it must at least be one."""
    return FALLS if falls else CANT_TELL if answer.kind in ("nothing", "other") else HOLDS


def worst(found: Iterable[Found]) -> Found:
    """What a row says that is made of several."""
    return min(found, key=lambda one: (FALLS, CANT_TELL, HOLDS, NOT_APPLICABLE).index(one.verdict))


def row(about: About, found: Found) -> Row:
    """A row, printable whatever the router has sent."""
    came = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in found.came)
    came = came if len(came) <= LONGEST else came[: LONGEST - 1] + "…"
    return Row(found.name, about.tried, came, found.verdict, about.why, about.page)


def as_text(rows: Iterable[Row]) -> str:
    """A table: a line a row, and below it what came back and, where something falls, why that matters."""
    return "\n".join(line for one in rows for line in _lines(one))


def _lines(one: Row) -> list[str]:
    lines = [f"{one.verdict:<11}{one.name:<22}{one.tried}", *_below(one.came)]
    if one.verdict == FALLS:
        lines += _below(f"{one.why} Remedy: docs/{one.page}")
    return lines


def _below(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * 33, subsequent_indent=" " * 33)


def summary(rows: Iterable[Row]) -> str:
    """How many rows have which verdict."""
    counts = Counter(one.verdict for one in rows)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in (HOLDS, FALLS, CANT_TELL, NOT_APPLICABLE))


def spent(budget: Budget) -> str:
    """What was used of the budget."""
    used, limit = budget.used(), budget.limit
    return (
        f"Used {used.connections} of {limit.connections} connections, {used.messages} of {limit.messages} messages,"
        f" {used.seconds:.0f} of {limit.seconds:g} seconds."
    )


def as_json(url: str, rows: Iterable[Row], budget: Budget) -> str:
    """The same for programs."""
    rows = list(rows)
    counts = Counter(one.verdict for one in rows)
    report = {
        "url": url,
        "verdicts": {verdict: counts[verdict] for verdict in (HOLDS, FALLS, CANT_TELL, NOT_APPLICABLE)},
        "budget": {"used": asdict(budget.used()), "limit": asdict(budget.limit)},
        "rows": [asdict(one) for one in rows],
    }
    return json.dumps(report, indent=2)
