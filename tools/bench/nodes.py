"""A node that is measured, in a directory of its own: what have its processes used?"""

import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from configurations import KINDS, ROOT, placed
from filled import fill
from wire import Transport

from wampauth.testing import Node, NodeError, free_port
from wampauth.testing.node import START_TIMEOUT


@dataclass(frozen=True)
class Kind:
    """A node to boot."""

    kind: str  # its configuration
    principals: int = 10  # in the store
    chosen: int = 2  # of them, with chosen tickets


class BenchNode:
    """A node that is running, and what its processes have used so far."""

    def __init__(self, kind: Kind, root: Path = ROOT) -> None:
        """:param root: where the modules and the shipped configurations lie."""
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-")
        self.directory = Path(self._temporary.name)
        self.port, self.own_port = free_port(), free_port()
        self.store = str(self.directory / "principals.db")
        self.credentials = fill(self.store, kind.principals, kind.chosen)
        known = [credential for some in self.credentials.values() for credential in some]
        config = KINDS[kind.kind](root, known)
        (self.directory / "config.json").write_text(json.dumps(placed(config, root, self.port, self.own_port)))
        make_admission_key(self.directory)

    def start(self) -> None:
        """Boot it, and wait until all of its processes are up.

        :raises NodeError: if that doesn't come to pass.
        """
        with (self.directory / "node.log").open("wb") as log:
            self._node = Node(self.directory, output=log)
            self._node.start()
        controller = psutil.Process(json.loads((self.directory / "node.pid").read_text())["pid"])
        deadline = time.monotonic() + START_TIMEOUT
        while not all(map(is_ready, controller.children())):
            if time.monotonic() > deadline:
                raise NodeError(f"not all of the node's processes came up: {self.directory / 'node.log'} says why")
            time.sleep(0.05)
        self._workers = {title(child): child for child in controller.children()}

    def restart(self) -> float:
        """Stop it and start it again, in one process after the other as an operator would: when it was ready, in
        seconds on the monotonic clock."""
        self._node.stop()
        self.start()
        return time.monotonic()

    def stop(self) -> None:
        self._node.stop()
        self._temporary.cleanup()

    def transport(self, path: str, own: bool = False) -> Transport:
        """:param own: the first proxy's own."""
        return self.own_port if own else self.port, "/" + path

    @property
    def _router(self) -> psutil.Process:
        return self._workers.get("router") or self._workers["worker"]

    def cpu(self) -> float:
        """Seconds of CPU that the router worker has used, all its threads, by the system's account."""
        return cpu_of(self._router)

    def cpus(self) -> dict[str, float]:
        """The same of each of the node's worker processes, by its title."""
        return {name: cpu_of(process) for name, process in self._workers.items()}

    def memory(self) -> float:
        """MiB of memory that the router worker holds."""
        return float(self._router.memory_info().rss / 2**20)

    def connections(self) -> int:
        """How many the router worker has open, with its other files."""
        return int(self._router.num_fds())


def make_admission_key(directory: Path) -> None:
    """What the authenticators and `Sessions` of a node share."""
    (directory / "admission.key").touch(0o600)
    (directory / "admission.key").write_bytes(os.urandom(32))


def title(process: psutil.Process) -> str:
    """What the configuration calls a worker process; ``worker`` if it doesn't say, and nothing before it is up."""
    name, _, rest = " ".join(process.cmdline()).strip().partition("-")
    return rest.partition(" ")[0] if name == "crossbar" else ""


def is_ready(process: psutil.Process) -> bool:
    """Whether a worker process is up; a proxy must also listen, since the others would take its clients."""
    name = title(process)
    listening = [one for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN]
    return name != "" and (not name.startswith("proxy") or bool(listening))


def cpu_of(process: psutil.Process) -> float:
    """Seconds of CPU that a process has used."""
    if hasattr(time, "clock_gettime") and os.uname().sysname == "Linux":
        return time.clock_gettime(~process.pid << 3 | 2)  # clock_getcpuclockid(3): in nanoseconds, not ticks
    used = process.cpu_times()
    return float(used.user + used.system)
