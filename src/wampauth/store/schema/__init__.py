"""Which tables does a store have? Those that the steps here make, one after the other.

Each step is a file, ``002.sql``, or one for each engine where they differ: ``002.sqlite.sql``, ``002.postgresql.sql``.
A new store takes all of them, an older one those that it lacks, so that both end alike. **A step that was released
isn't changed any more: add another.** It is run in one transaction with the others, has no placeholders, and tells
"""

from collections.abc import Iterator
from importlib.resources import files

NUMBERS = sorted({int(file.name[:3]) for file in files(__name__).iterdir() if file.name.endswith(".sql")})
VERSION = NUMBERS[-1]  # of a store that has taken them all


def steps(engine: str, since: int) -> Iterator[str]:
    """The statements that lead a store of an engine on from the version `since`; 0 has no tables."""
    folder = files(__name__)
    for number in NUMBERS[since:]:
        own = folder.joinpath(f"{number:03}.{engine}.sql")
        yield (own if own.is_file() else folder.joinpath(f"{number:03}.sql")).read_text(encoding="utf-8")
