"""Whose is a file that we make? For its owner alone: who runs the command, or the owner of the folder where that is
root. As root's, it would keep a node that runs as another user from starting.
"""

import os
from contextlib import suppress
from pathlib import Path


def make(file: Path, folder: Path | None = None) -> int:
    """Make a file that isn't there yet, and open it for writing.

    :param folder: where it will lie, if that isn't where it is made.
    :raises OSError: if it can't be made; FileExistsError: if it is there.
    """
    made = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = (folder or file.parent).stat()
        with suppress(OSError):  # a file system that knows no owners, or another machine's that doesn't let root
            os.fchown(made, owner.st_uid, owner.st_gid)
    return made
