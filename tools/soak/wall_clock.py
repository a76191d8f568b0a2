"""How is the wall clock of a node set, without the machine's own?

Each of its processes reads one that is off by what a file says.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Runs in each process of the node, after the library's own. `time.time` is what Python code asks. The file is read anew
# each time, since all processes have to be set at one moment.
SITECUSTOMIZE = """
import time
from pathlib import Path

_true, _file = time.time, Path(__file__).with_name("off-by")
time.time = lambda: _true() + float(_file.read_text())
time.time_ns = lambda: int(time.time() * 1e9)
"""


@contextmanager
def settable(directory: Path) -> Iterator[None]:
    """A node that is started meanwhile has such a clock, which is right at first."""
    (directory / "sitecustomize.py").write_text(SITECUSTOMIZE)
    be_off_by(directory, 0)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(directory), before]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def be_off_by(directory: Path, seconds: float) -> None:
    """Set the clock of the node in `directory`, at one moment."""
    new = directory / "off-by.new"
    new.write_text(str(seconds))
    new.rename(directory / "off-by")
