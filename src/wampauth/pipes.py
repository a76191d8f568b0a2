"""Where does a supervisor hear the processes of its node? At a pipe, in a folder that only we may enter.

Who is killed leaves both behind. The next supervisor of the same user removes them.
"""

import errno
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX, NAME = "wampauth-", "beats"
YOUNG = 60.0  # seconds; another supervisor may be about to open its pipe


def make() -> Path:
    """A new pipe."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_what_is_left(folder)
    pipe = Path(tempfile.mkdtemp(prefix=PREFIX), NAME)
    os.mkfifo(pipe, 0o600)
    return pipe


def _remove_what_is_left(folder: Path) -> None:
    """Nothing goes but a pipe of ours that nobody hears, and its folder.

    :raises OSError: if there is no pipe in it, or something besides.
    """
    found, pipe = folder.lstat(), folder / NAME
    if found.st_uid == os.geteuid() and time.time() - found.st_mtime > YOUNG and not _is_heard(pipe):
        pipe.unlink()
        folder.rmdir()


def _is_heard(pipe: Path) -> bool:
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.ENXIO:  # what a pipe says that nobody reads
            return False
        raise
    return True
