"""What of an exception may be logged? What kind it is, and where it was raised.

Its text may quote what it was raised over: a ticket, a secret that is stored, a password for a directory. So the text
is told of those alone whose texts hold nothing of that: ours, those that an author has made of ours (``StoreError``,
``ServiceError``), the number of an error of the operating system, the name of what isn't there, and the URI that
another component has answered with.
"""

import importlib
import os
import traceback
from pathlib import Path

import twisted
from autobahn.wamp.exception import ApplicationError
from twisted.python.reflect import safe_str

PASSING = (
    str(Path(__file__).parent),
    str(Path(twisted.__file__).parent),
    importlib.__file__,
    "<frozen importlib",
)  # that is no news
FRAMES = 3  # the last ones, where libraries lie one upon the other
LONGEST = 200  # characters of a text


def told(error: BaseException) -> str:
    """What kind of error it is, its text if that may be told, and where it was raised."""
    name, _, where = place(error).partition(" ")
    return " ".join(filter(None, (": ".join(filter(None, (name, text(error)))), where)))


def sentence(error: BaseException) -> str:
    """The same, for what stops us: a text of ours says by itself what to do."""
    return text(error) if _is_ours(error) else told(error)


def text(error: BaseException) -> str:
    """The text of an exception, or what of it may be told; else nothing."""
    if _is_ours(error):
        return safe_str(error)[:LONGEST]
    if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, ImportError | AttributeError | NameError):
        return safe_str(error.name or "")[:LONGEST]
    return safe_str(error.error)[:LONGEST] if isinstance(error, ApplicationError) else ""


def place(error: BaseException) -> str:
    """What kind of error it is, and where it was raised, the place that is nearest last."""
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = [frame for frame in frames if not frame.filename.startswith(PASSING)] or frames[-1:]
    lines = ", ".join(f"{Path(one.filename).name}:{one.lineno}" for one in frames[-FRAMES:])
    return f"{type(error).__name__} ({lines})" if lines else type(error).__name__


def _is_ours(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] == "wampauth" for kind in type(error).__mro__)
