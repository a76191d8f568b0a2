"""Is there room to take something away from somebody when the disk is full? It is kept beside the store, in a file that
is given up for that.

Even to revoke somebody, SQLite has to write: its log, and the index of that. A file of zeros beside the store holds the
room for it, until a command that must not fail finds the disk full.
"""

import os
from contextlib import suppress
from pathlib import Path

from wampauth import ownership

SIZES = (1_048_576, 524_288, 262_144)  # bytes; the largest for which there is room
NEEDED = 524_288  # bytes of free room with which a command is safe without it


def keep(store: str) -> None:
    """See that there is a reserve beside the store, as large as the disk has room for."""
    file = _beside(store)
    if file.exists():
        return
    for size in SIZES:
        with suppress(OSError):  # no room, no right, or no such thing on this file system
            _make(file, size)
            return


def free_if_full(store: str) -> None:
    """Give the reserve up if the disk has hardly any room left."""
    with suppress(OSError):
        found = os.statvfs(Path(store).absolute().parent)
        if found.f_bavail * found.f_frsize < NEEDED:
            _beside(store).unlink()


def _make(file: Path, size: int) -> None:
    made = ownership.make(file)
    try:
        os.posix_fallocate(made, 0, size)
    except OSError:
        file.unlink()
        raise
    finally:
        os.close(made)


def _beside(store: str) -> Path:
    path = Path(store)
    return path.with_name(f"{path.name}.reserve")
