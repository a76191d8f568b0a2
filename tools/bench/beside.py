"""What goes on beside a measurement? Each in a thread: something of ours, or listening to what a process says."""

import subprocess
import threading
import time
from typing import Self

Said = list[tuple[float, str]]  # lines, and when each came, in seconds on the monotonic clock


class Beside:
    """Goes on in a thread while a block lasts: a context manager.

    :ivar end: is set when that is over.
    """

    def __init__(self) -> None:
        """Not begun yet."""
        self.end = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.go_on)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self._thread.join()

    def go_on(self) -> None:
        """Do it, until the `end`."""
        raise NotImplementedError


def listen(process: "subprocess.Popen[str]", said: Said) -> None:
    """From now on, add each line that a process writes."""

    def read() -> None:
        for line in process.stdout or ():
            said.append((time.monotonic(), line.strip()))

    threading.Thread(target=read, daemon=True).start()
