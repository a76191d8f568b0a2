"""What of an exception may be logged? What kind it is, and where it was raised.

Its text may quote what it was raised over: a ticket, a secret that is stored, a password for a directory. So the text
is told of those alone whose texts hold nothing of that: ours, those that an author has made of ours (``StoreError``,
``ServiceError``), the number of an error of the operating system, the name of what isn't there, that a function has
other parameters than it was called with, and the URI that another component has answered with.

The router logs whatever stops a component, text and all. So what an author's module, constructor or ``start`` raises
goes up to it as a :class:`Stopped`, which tells the same.
"""

import importlib
import os
import re
import traceback
from pathlib import Path
from typing import Any

import twisted
from autobahn.wamp.exception import ApplicationError
from twisted.python.reflect import safe_str

IMPORTING = (importlib.__file__, "<frozen importlib")
PASSING = (str(Path(__file__).parent), str(Path(twisted.__file__).parent))  # that is no news
FRAMES = 3  # the last ones, where libraries lie one upon the other
LONGEST = 200  # characters of a text
CALL = re.compile(  # what Python says of a function that was called with too few or too many arguments
    r"[\w.<>]+\(\) "
    r"(takes [\w ]+ positional arguments? but \d+ (was|were) given|missing \d+ required [\w-]+ arguments?: [\w', ]+)"
)


class Stopped(Exception):
    """Something of an author's has failed, without which we can't go on. The text holds nothing of theirs."""


def stopped(error: BaseException, what: str = "") -> Exception:
    """An error for those who log its text: one of ours as it is; another one without it, after `what` has failed."""
    if isinstance(error, Exception) and _is_ours(error):
        return error
    return Stopped(": ".join(filter(None, (what, told(error)))))


def load(name: str) -> Any:
    """Import a module of an author's.

    :raises Stopped: if that fails, or the module would end the process.
    """
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        within = error.__traceback__.tb_next if error.__traceback__ else None  # less this line
        raise stopped(error.with_traceback(within)) from None


def told(error: BaseException) -> str:
    """What kind of error it is, its text if that may be told, and where it was raised."""
    if isinstance(error, Stopped):
        return str(error)[:LONGEST]  # which tells of another one
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
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"No module named {error.name!r}"[:LONGEST]
    if isinstance(error, TypeError) and CALL.fullmatch(said := safe_str(error)):
        return said[:LONGEST]
    if isinstance(error, ImportError | AttributeError | NameError):
        return safe_str(error.name or "")[:LONGEST]
    return safe_str(error.error)[:LONGEST] if isinstance(error, ApplicationError) else ""


def place(error: BaseException) -> str:
    """What kind of error it is, and where it was raised, the place that is nearest last."""
    frames = [(one.filename, one.lineno) for one in traceback.extract_tb(error.__traceback__)]
    frames = [frame for frame in frames if not frame[0].startswith(IMPORTING)]
    frames = [frame for frame in frames if not frame[0].startswith(PASSING)] or frames[-1:]
    if isinstance(error, SyntaxError) and error.filename:  # which is raised by whoever reads that file
        frames.append((error.filename, error.lineno))
    lines = ", ".join(f"{Path(file).name}:{line}" for file, line in frames[-FRAMES:])
    return f"{type(error).__name__} ({lines})" if lines else type(error).__name__


def _is_ours(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] == "wampauth" for kind in type(error).__mro__)
