"""The scaled node as a service: its store is in a PostgreSQL of its own, and whatever ends it, it is started anew, as
systemd does by deploy/systemd/wampauth.service.
"""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import wall_clock
import yaml
from postgres import Server

from wampauth.store import create
from wampauth.testing import free_port

ROOT = Path(__file__).parents[2]
CONFIG = "scaled.yaml"
READY = "The node is ready."
RESTART = float(re.findall(r"(?m)^RestartSec=(\d+)", (ROOT / "deploy/systemd/wampauth.service").read_text())[0])
STOP_TIMEOUT = 30.0  # seconds: TimeoutStopSec
PROXIES = 2
OTHER_ROLE = "reader"  # which `set --role` gives
NEWS = {"uri": "com.example.news", "match": "exact", "allow": {"publish": True}}


@dataclass
class Service:
    """The node, in `directory`, and the file beside it that its output goes to.

    :ivar comes_and_goes: is told when it is ready, and when it isn't any more.
    """

    directory: Path
    where: str  # its store
    comes_and_goes: Callable[[bool], None]
    port: int = field(default_factory=free_port)
    starts: int = 0
    ended: list[str] = field(default_factory=list)  # what it said last, each time
    _is_wanted: bool = True
    _ready: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def log(self) -> Path:
        return self.directory.with_name("node.log")

    def prepare(self) -> None:
        """Write what it needs."""
        config = yaml.safe_load((ROOT / ".crossbar" / CONFIG).read_text())
        config = json.loads(json.dumps(config))  # so that no part is the same object as another
        for worker in config["workers"]:
            paths = worker["options"].get("pythonpath", ())
            worker["options"]["pythonpath"] = [str((ROOT / ".crossbar" / path).resolve()) for path in paths]
            for component in worker.get("components", ()):
                if "store" in component.get("extra", {}):
                    component["extra"]["store"] = self.where
                _add_rules(component)
            for transport in worker.get("transports", ()):
                if transport["endpoint"]["type"] == "tcp":
                    transport["endpoint"]["port"] = self.port
                    transport["paths"].pop("/")
            if worker["type"] == "proxy":
                worker["routes"]["realm1"][OTHER_ROLE] = "router"
        realm1 = config["workers"][0]["realms"][0]
        realm1["roles"].append({"name": OTHER_ROLE, "authorizer": "com.example.authorize"})
        self.directory.mkdir(mode=0o700)
        (self.directory / CONFIG).write_text(json.dumps(config))
        (self.directory / "sockets").mkdir(mode=0o700)
        (self.directory / "admission.key").touch(0o600)
        (self.directory / "admission.key").write_bytes(secrets.token_bytes(32))
        create(self.where)

    @contextmanager
    def running(self) -> Iterator["Service"]:
        """Until the block ends. It is up when the block begins."""
        with wall_clock.settable(self.directory):
            keeping = threading.Thread(target=self._keep, name="service")
            keeping.start()
            try:
                if not self._ready.wait(120):
                    raise RuntimeError(f"the node doesn't start: {self.log.read_text()[-2000:]}")
                yield self
            finally:
                self._is_wanted = False
                self.stop()
                keeping.join()

    def _keep(self) -> None:
        """Start it again and again."""
        while self._is_wanted:
            self._once()
            time.sleep(RESTART if self._is_wanted else 0)

    def _once(self) -> None:
        command = [sys.executable, "-m", "wampauth", "start", "--directory", str(self.directory), "--config", CONFIG]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with (
            self.log.open("a") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as self.process,
        ):
            assert self.process.stdout
            for line in self.process.stdout:
                if READY in line:
                    self._wait_for_proxies()
                    self.starts += 1
                    self.comes_and_goes(True)
                    self._ready.set()
        self._ready.clear()
        self.comes_and_goes(False)
        self.ended.append(f"exit code {self.process.returncode}")
        self._kill_what_is_left()

    def _wait_for_proxies(self) -> None:
        """The second comes up behind the first."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self.process.poll() is None:
            self.family = self._processes()
            listening = [process for process in self.family.values() if _listens_at(process, self.port)]
            if len(listening) == PROXIES:
                return
            time.sleep(0.1)

    def _kill_what_is_left(self) -> None:
        """As systemd does with all processes of the unit."""
        for process in getattr(self, "family", {}).values():
            with suppress(psutil.Error):
                process.kill()

    def _processes(self) -> dict[str, psutil.Process]:
        found: dict[str, psutil.Process] = {}
        with suppress(psutil.Error):
            main = psutil.Process(self.process.pid)
            found["wampauth start"] = main
            for controller in main.children():
                found["controller"] = controller
                for worker in controller.children():
                    found[" ".join(worker.cmdline()).strip().removeprefix("crossbar-")] = worker
        return found

    def processes(self) -> dict[str, psutil.Process]:
        """Those that run, by name: of the router's, the names that the configuration gives them."""
        found = self._processes()
        if len(found) > 2:
            self.family = found
        return found

    def is_ready(self) -> bool:
        return self._ready.is_set()

    def stop(self) -> None:
        """As `systemctl stop` and `restart` do."""
        with suppress(ProcessLookupError, AttributeError):
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()


def _add_rules(component: dict[str, Any]) -> None:
    """What the clients here do, and the other role is for."""
    roles = component.get("extra", {}).get("roles", {})
    if "frontend" in roles:
        roles[OTHER_ROLE] = roles["frontend"]
    if "device" in roles:
        roles["device"] = [NEWS]


def _listens_at(process: psutil.Process, port: int) -> bool:
    with suppress(psutil.Error):
        return any(one.laddr.port == port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
    return False


@contextmanager
def postgresql(folder: Path) -> Iterator[Server]:
    """A server of our own; we and the node have its password in the environment."""
    server = Server(folder)
    os.environ["PGPASSWORD"] = server.password
    server.start()
    try:
        yield server
    finally:
        with suppress(AssertionError):
            server.stop()
