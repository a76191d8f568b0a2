"""What can be measured in this process just now? Whoever knows a figure says how it is read; nothing is read, or kept,
until somebody asks (``metrics.py``).

The labels of a figure must have few values, and none that a stranger could choose.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Owner = TypeVar("Owner")
Labels = tuple[tuple[str, str], ...]

_known: "WeakKeyDictionary[Any, list[tuple[str, Labels, Callable[[Any], float]]]]" = WeakKeyDictionary()


def tell(owner: Owner, name: str, read: Callable[[Owner], float], **labels: str) -> None:
    """From now on, and as long as there is the `owner`, `read` says what the figure is when it is called with it."""
    _known.setdefault(owner, []).append((name, tuple(sorted(labels.items())), read))


def withdraw(owner: Any) -> None:
    """What it has told isn't so any more."""
    _known.pop(owner, None)


def told() -> dict[str, dict[Labels, list[float]]]:
    """All figures as they are now: by name and labels what each who knows it says."""
    found: dict[str, dict[Labels, list[float]]] = defaultdict(lambda: defaultdict(list))
    for owner, figures in [*_known.items()]:
        for name, labels, read in figures:
            found[name][labels].append(read(owner))
    return found


class Punctuality:
    """How often was something late that should come again and again?

    :ivar late: so many times.
    """

    def __init__(self, tick: float) -> None:
        """:param tick: seconds after which it should come again; twice as many are too late."""
        self._tick = tick
        self._last = float("inf")  # seconds, monotonic
        self.late = 0

    def comes(self) -> None:
        """It comes now."""
        now = time.monotonic()
        self.late += now - self._last > 2 * self._tick
        self._last = now
