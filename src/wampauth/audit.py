"""Who tried to join, and what became of it? One JSON object a line, in a file for its owner alone, rotated by size.

Schema, in this order; what doesn't apply is left out:

========== ===========================================================================================================
time       when it was decided, ISO 8601, UTC
outcome    accepted, challenged (cryptosign: the router checks the proof next), refused, malformed, throttled,
           unavailable; and of live sessions: joined, left, ended
reason     for our eyes only: the true reason of a refusal, of a failure, or of a session's end
method     ticket or cryptosign
claimed    the authid that the client claims, or its public key
authid     the principal that was found
credential the id of its credential
realm      of the principal that was found, or of the live session
peer       address of the client
session    the session id that the client gets if it joins
duration   seconds from the attempt to the answer
reference  what an ``unavailable`` client was told, to find this line by
========== ===========================================================================================================

No field ever holds a ticket. Strings that a stranger chose are cut to :data:`LONGEST` characters and escaped to ASCII.
"""

import errno
import functools
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.python.logfile import LogFile

FIELDS = ("reason", "method", "claimed", "authid", "credential", "realm", "peer", "session", "duration", "reference")
LONGEST = 160  # characters of one string in a record
ROTATE = 10_000_000  # bytes after which a new file is begun
KEEP = 10  # files to keep beside the current one


class Audit:
    """Writes records. Get one from :func:`open_audit`: two writers of one file in a process would rotate it twice."""

    def __init__(self, path: str) -> None:
        """Open or make the file at `path`.

        :raises OSError: if that can't be done.
        """
        self._file = LogFile(
            Path(path).name, str(Path(path).parent), rotateLength=ROTATE, defaultMode=0o600, maxRotatedFiles=KEEP
        )

    def record(self, outcome: str, **fields: Any) -> None:
        """Write one record; fields that are None are left out.

        :raises OSError: if it can't be written.
        """
        record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "outcome": outcome}
        record |= {name: _short(value) for name in FIELDS if (value := fields.get(name)) is not None}
        line = json.dumps(record) + "\n"
        self._file.write(line)  # which is not buffered, and doesn't tell if only a part had room
        if self._file._file.tell() != self._file.size:
            self._take_back(self._file.size - len(line))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _take_back(self, size: int) -> None:
        """Cut what was written off the file, which was of `size` bytes before."""
        self._file._file.truncate(size)
        self._file._file.seek(size)
        self._file.size = size


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        return value[:LONGEST] + "…"
    return value


@functools.cache
def open_audit(path: str) -> Audit:
    """The one writer of the file at `path` in this process."""
    return Audit(path)
