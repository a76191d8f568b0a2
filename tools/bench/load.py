"""How is the load generator asked for something? It is a process of its own (``jobs.py``)."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from wire import LoadError

JOBS = Path(__file__).with_name("jobs.py")


class Load:
    """A process that does what it is asked for: a context manager that has it running."""

    def __enter__(self) -> "Load":
        command = [sys.executable, str(JOBS)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._numbers = itertools.count()
        self._answers: dict[int, dict[str, Any]] = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, job: str, **arguments: Any) -> int:
        """Hand over a job, and return the number to :meth:`finish` it with."""
        assert self._process.stdin
        number = next(self._numbers)
        self._process.stdin.write(json.dumps([number, job, arguments]) + "\n")
        self._process.stdin.flush()
        return number

    def finish(self, number: int) -> Any:
        """Wait for a job to be done.

        :raises LoadError: if it failed.
        """
        assert self._process.stdout
        while number not in self._answers:
            if not (line := self._process.stdout.readline()):
                raise LoadError("the load generator ended")
            answer = json.loads(line)
            self._answers[answer["number"]] = answer
        answer = self._answers.pop(number)
        if "error" in answer:
            raise LoadError(answer["error"])
        return answer["result"]

    def do(self, job: str, **arguments: Any) -> Any:
        """Hand over a job, and wait for it."""
        return self.finish(self.begin(job, **arguments))
