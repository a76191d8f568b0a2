"""What has happened? The audit, read back: both its files and those that were rotated away or compressed, by time.

Whatever lies there, reading goes on: a line that is no record is passed over and counted, and so is the rest of a
damaged file. Files that are rotated meanwhile are read once.
"""

import gzip
import heapq
import json
import os
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wampauth.audit import PROVEN, attempts

LONGEST_LINE = 65_536  # bytes; a record has some 500
ROTATED = re.compile(r"([.-]\d+)*(\.gz)?")  # what stands behind the name: .1, -20301231, .2.gz
POLL = 0.5  # seconds between two looks at files that are followed

Record = dict[str, Any]  # its ``time`` and ``outcome`` are text, and the time is one


def moment(record: Record) -> float:
    """When it was, in seconds since 1970."""
    return _seconds(record["time"])


class History:
    """All records of some audits.

    :ivar broken: how many lines, or rests of files, couldn't be read so far.
    :ivar reaches_back: whether there was somebody before `since` who had proven who it is.
    """

    def __init__(self, audits: Iterable[str | Path], since: float = 0.0) -> None:
        """
        :param audits: what the settings call ``audit``; what lies beside each belongs to it.
        :param since: leaves out what was before; seconds since 1970.
        :raises OSError: if a file is there, and can't be opened.
        """
        self.broken = 0
        self.reaches_back = False
        self._since = since
        self._current = [str(file) for audit in audits for file in (audit, attempts(str(audit)))]
        self._files: dict[tuple[int, int], _File] = {}
        for _ in range(2):  # a file that was moved on while we looked is found at the second time
            for path in self._current:
                self._open_all(Path(path))

    def __iter__(self) -> Iterator[Record]:
        """The records by time, as far as they are written now. A second time: those that have come since then."""
        read = heapq.merge(*(self._records(file) for file in self._files.values()), key=moment)
        for record in read:
            if moment(record) >= self._since:
                yield record
            else:
                self.reaches_back |= record["outcome"] in PROVEN

    def newest(self, wanted: Callable[[Record], bool], text: str = "") -> Record | None:
        """The last of the records that are wanted. Files that can only have older ones aren't read.

        :param text: stands in the record, as part of a string; other lines are passed over sooner.
        """
        needed = json.dumps(text)[1:-1].encode()
        found: Record | None = None
        for file in sorted(self._files.values(), key=lambda file: file.changed, reverse=True):
            if found and moment(found) >= file.changed:
                break
            for record in filter(wanted, self._records(file, needed)):
                if found is None or moment(record) >= moment(found):
                    found = record
        return found

    def follow(self, sleep: Callable[[float], object] = time.sleep) -> Iterator[Record]:
        """What is written from now on, and where we have stopped reading; never ends."""
        while True:
            yield from self
            self._go_on()
            sleep(POLL)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _go_on(self) -> None:
        """Look for files that have taken the place of others, and forget those that are read and moved away."""
        for path in self._current:
            self._open_all(Path(path), only_current=True)
        current = {_identity(path) for path in self._current}
        for identity in self._files.keys() - current:
            if not self._files[identity].has_more():
                self._files.pop(identity).close()

    def _open_all(self, path: Path, only_current: bool = False) -> None:
        beside = [] if only_current else path.parent.glob(path.name.replace("[", "[[]") + "?*")
        rotated = [file for file in beside if ROTATED.fullmatch(file.name.removeprefix(path.name))]
        for one in [path, *rotated]:
            try:
                if one.stat().st_mtime < self._since and one != path:
                    continue
                file = _File(one)
            except FileNotFoundError:
                continue
            if file.identity in self._files:
                file.close()
            else:
                self._files[file.identity] = file

    def _records(self, file: "_File", needed: bytes = b"") -> Iterator[Record]:
        for line in file.lines():
            if needed not in line:
                continue
            try:
                record = json.loads(line)
                _seconds(record["time"])
                if not isinstance(record["outcome"], str):
                    raise TypeError
            except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
                self.broken += 1
                continue
            yield record


class _File:
    """One file, of which whole lines are read from where we are."""

    def __init__(self, path: Path) -> None:
        self._plain = path.open("rb")
        self._is_compressed = path.suffix == ".gz"
        self._file: Any = gzip.GzipFile(fileobj=self._plain) if self._is_compressed else self._plain
        found = os.fstat(self._plain.fileno())
        self.identity, self.changed = (found.st_dev, found.st_ino), found.st_mtime
        self._begun = b""  # a line that isn't whole yet

    def lines(self) -> Iterator[bytes]:
        """Those that are written whole by now. What can't be read is an empty line, and the last."""
        try:
            if not self._is_compressed and os.fstat(self._plain.fileno()).st_size < self._plain.tell():
                self._plain.seek(0)  # it was emptied
                self._begun = b""
            while read := self._file.readline(LONGEST_LINE):
                line, self._begun = self._begun + read, b""
                if line.endswith(b"\n"):
                    yield line
                else:
                    self._begun = line[:LONGEST_LINE]  # of a longer one the beginning is enough to see that it is none
        except (OSError, EOFError, zlib.error):
            yield b""

    def has_more(self) -> bool:
        """Whether something has been written since we read it."""
        return not self._is_compressed and os.fstat(self._plain.fileno()).st_size > self._plain.tell()

    def close(self) -> None:
        self._plain.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _seconds(text: str) -> float:
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
