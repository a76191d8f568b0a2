"""Who did what at the command line? Each act of an operator is a line in the audit, beside the logins.

Refusals can't push it out, since they stand in a file of their own. It never holds a secret.
"""

import errno
import os
import pwd
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from wampauth import ownership
from wampauth.audit import line
from wampauth.records import Records

NEVER = 2**62  # bytes: it is the node that begins a new file
UNSET = 2**32 - 1  # the login's user id of a process that stems from no login


def record(audit: Path, act: str, **fields: Any) -> None:
    """Write one act.

    :param audit: what the settings of the node call ``audit``.
    :param act: the command, such as ``revoke``.
    :param fields: ``authid``, ``credential``, ``realm``, and ``change``: what it is now.
    :raises OSError: if it can't be written.
    """
    _make(audit)
    with closing(Records(str(audit), rotate=NEVER)) as records:
        records.add(line("acted", {"act": act, "operator": operator(), **fields}))


def operator() -> str:
    """The user of this machine who acts: ``bob``, or ``bob (as root)`` who has logged in as bob.

    Linux remembers for each process who has logged in. Where it doesn't, root's word is taken for who has called sudo.
    """
    acting = _name(os.geteuid())
    user = _logged_in() or (os.environ.get("SUDO_USER") if os.geteuid() == 0 else None) or _name(os.getuid())
    return user if user == acting else f"{user} (as {acting})"


def _logged_in() -> str | None:
    with suppress(OSError, ValueError):
        number = int(Path("/proc/self/loginuid").read_text())
        return None if number == UNSET else _name(number)
    return None


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _make(audit: Path) -> None:
    """An audit that isn't there yet is made as the node's own."""
    if audit.exists() and not audit.is_file():  # our rights to /dev/null aren't those of others
        raise OSError(errno.EINVAL, "this is no file that lines can be added to", str(audit))
    with suppress(FileExistsError):
        os.close(ownership.make(audit))
