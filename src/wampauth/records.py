"""How is a line kept? In a file for its owner alone, rotated by size, and whole in spite of what others do to it.

A disk may be full in the middle of a line, and another program may move the file away, delete it, put another one in
its place or empty it (logrotate's ``create`` and ``copytruncate``).
"""

import errno
import os
from pathlib import Path

from twisted.logger import Logger

ROTATE = 10_000_000  # bytes after which a new file is begun
KEEP = 10  # files to keep beside the current one
CROWDED = "{file} can't be rotated ({why}): at {most} bytes nothing is added any more. May we write into its folder?"


class Records:
    """Adds lines to one file."""

    log = Logger()
    _file = -1  # there is none

    def __init__(self, path: str, rotate: int = ROTATE, keep: int = KEEP) -> None:
        """Open or make the file at `path`.

        :raises OSError: if that can't be done.
        """
        self._path, self._rotate, self._keep = Path(path), rotate, keep
        self._open()

    def add(self, line: bytes) -> None:
        """Write one line, whole or not at all. What was written is not buffered.

        :raises OSError: if it can't be written.
        """
        size = self._size()
        if size and size + len(line) > self._rotate and self._could_begin_anew(size):
            size = 0
        if os.write(self._file, line) < len(line):
            os.truncate(self._file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """To be called by who has only a few lines to add. Else the file is closed with the object."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        self.close()

    def _open(self) -> None:
        """Whatever becomes of the file, each line is added at its end (O_APPEND)."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._file, self._opened = file, os.fstat(file)
        os.fchmod(file, 0o600)

    def _size(self) -> int:
        """Bytes in the file. If another one, or none, is now where ours was, it is opened anew."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - once for all, and a Path costs more, at each line
        except FileNotFoundError:
            found = None
        if found is None or not os.path.samestat(found, self._opened):
            self._reopen()
            found = os.fstat(self._file)
        return found.st_size

    def _reopen(self) -> None:
        file = self._file
        self._open()  # if that fails, we try again at the next line
        os.close(file)

    def _could_begin_anew(self, size: int) -> bool:
        """Whether there is a new file. If there can't be one, all goes on for as much as several would have held.

        :raises OSError: then.
        """
        most = self._rotate * (self._keep + 1)
        try:
            self._begin_anew()
        except OSError as error:
            if size > most:
                raise
            self.log.error(CROWDED, file=self._path, why=error.strerror, most=most)
            return False
        return True

    def _begin_anew(self) -> None:
        """Move the files on by one, ``.1`` being the youngest; the oldest goes."""
        for number in range(self._keep, 0, -1):
            before = self._numbered(number - 1)
            if before.exists():
                before.replace(self._numbered(number))
        self._reopen()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
