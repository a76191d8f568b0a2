"""What goes wrong in a week: the store stops, starts and hangs, the clock is set, the audit is rotated, workers die."""

import asyncio
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import wall_clock
from postgres import Server
from service import ROOT, Service
from verdicts import CLOCK, NODE, STORE, Outage, Verdicts

LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")
GAP = 12.0  # seconds between two, less or more by half
AWAY = 6.0  # seconds for which the store is away, at most
STEPS = (-7200.0, -60.0, -2.0, 2.0, 60.0, 7200.0)  # seconds by which the clock is wrong
UP_WITHIN = 90.0  # seconds, TimeoutStartSec
AUTHENTICATOR = "authenticator"
ALONE = 5.0  # seconds that one authenticator works alone, before the operator starts the node anew
GENTLE = ["clock", "rotate", "restart store", "freeze store"]  # after these, the node's processes are the same
HARSH = ["kill", "kill", "freeze worker"]


@dataclass
class Disturbances:
    """One after the other.

    :ivar services: seconds until there was service again, by what was done.
    """

    service: Service
    server: Server
    verdicts: Verdicts
    random: random.Random
    done: Counter[str] = field(default_factory=Counter)
    services: dict[str, list[float]] = field(default_factory=dict)
    _ahead: Outage | None = None
    _down: Outage | None = None
    _victims: list[str] = field(default_factory=list)

    def node(self, is_up: bool) -> None:
        """It has come up, or ended."""
        now = time.monotonic()
        if is_up and self._down:
            self._down.end, self._down = now, None
        elif not is_up and not self._down:
            self._down = self.verdicts.begins(NODE, "it has ended", now)

    async def run(self, is_gentle: Callable[[float], bool], until: float) -> None:
        """Until that moment; `is_gentle` says whether processes must be left alone now."""
        gap = min(GAP, (until - time.monotonic()) / 30)
        bag: list[str] = []
        while True:
            await asyncio.sleep(gap * (0.5 + self.random.random()))
            now = time.monotonic()
            if now > until - 2 * gap:
                break
            some = GENTLE if is_gentle(now) else GENTLE + HARSH
            bag = [name for name in bag if name in some] or self.random.sample(some, len(some))
            act: Callable[[], Awaitable[None]] = getattr(self, f"_{bag.pop().replace(' ', '_')}")
            await act()
        self._set_clock(0.0)

    def _note(self, name: str, began: float | None = None) -> None:
        self.done[name] += 1
        if began is not None:
            self.services.setdefault(name, []).append(time.monotonic() - began)

    # -- the clock and the audit

    async def _clock(self) -> None:
        self._set_clock(self.random.choice([0.0, *STEPS]))
        self._note("clock step")

    def _set_clock(self, off_by: float) -> None:
        wall_clock.be_off_by(self.service.directory, off_by)
        if self._ahead:
            self._ahead.end, self._ahead = time.monotonic(), None
        if off_by > 0:
            self._ahead = self.verdicts.begins(CLOCK, f"ahead by {off_by:g} s", time.monotonic())

    async def _rotate(self) -> None:
        await asyncio.to_thread(rotate, self.service)
        self._note("log rotation")

    # -- the store

    async def _restart_store(self) -> None:
        outage = self.verdicts.begins(STORE, "stopped", time.monotonic())
        await asyncio.to_thread(self.server.stop)
        await asyncio.sleep(AWAY * self.random.random())
        await asyncio.to_thread(self.server.start)
        outage.end = time.monotonic()
        self._note("restart of the store", outage.begin)

    async def _freeze_store(self) -> None:
        """All its processes: what they were asked stays unanswered."""
        outage = self.verdicts.begins(STORE, "frozen", time.monotonic())
        frozen = self.server.processes()
        try:
            for process in frozen:
                with suppress(psutil.Error):
                    process.suspend()
            await asyncio.sleep(0.5 + AWAY * self.random.random())
        finally:
            for process in frozen:
                with suppress(psutil.Error):
                    process.resume()
        outage.end = time.monotonic()
        self._note("freeze of the store", outage.begin)

    # -- the node

    async def _kill(self) -> None:
        await self._lose(signal.SIGKILL, "killed")

    async def _freeze_worker(self) -> None:
        await self._lose(signal.SIGSTOP, "frozen")

    async def _lose(self, how: signal.Signals, said: str) -> None:
        """A process of the node, each in turn; then wait until the node is up again."""
        processes = self.service.processes()
        if not self._victims:
            self._victims = self.random.sample([*processes], len(processes))
        name = self._victims.pop()
        victim, began, starts = processes.get(name), time.monotonic(), self.service.starts
        if victim is None or (name == "wampauth start" and how == signal.SIGSTOP):  # only systemd notices that
            return
        self._down = self._down or self.verdicts.begins(NODE, f"{name} {said}", began)
        with suppress(psutil.Error):
            victim.send_signal(how)
        if name.startswith(AUTHENTICATOR):
            await self._go_on_alone(victim)
        await self._until(lambda: self.service.starts > starts and self.service.is_ready())
        if self.service.starts == starts:
            self.verdicts.fault(time.monotonic(), f"the node wasn't up {UP_WITHIN:g} s after its {name} was {said}")
        self._note(f"{name} {said}", began)

    async def _go_on_alone(self, victim: psutil.Process) -> None:
        """The other one does its work; then, when it suits, the node is started anew."""
        await self._until(lambda: not _is_there(victim))
        self.node(True)
        await asyncio.sleep(ALONE)
        self._down = self.verdicts.begins(NODE, "restarted by the operator", time.monotonic())
        await asyncio.to_thread(self.service.stop)

    @staticmethod
    async def _until(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + UP_WITHIN
        while not condition() and time.monotonic() < deadline:
            await asyncio.sleep(0.1)


def _is_there(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def rotate(service: Service) -> None:
    """By logrotate, with what deploy/ has for it; where that isn't installed, by hand. Few files are kept."""
    folder = service.directory
    if LOGROTATE is None:
        for file in folder.glob("audit*.jsonl"):
            file.replace(file.with_suffix(".rotated"))
        return
    rules = (ROOT / "deploy/logrotate/wampauth").read_text()
    rules = rules.replace("/srv/wampauth/.crossbar", str(folder)).replace("su wampauth wampauth", "")
    state, file = folder.with_name("logrotate.state"), folder.with_name("logrotate.conf")
    file.write_text(rules.replace("rotate 90", "rotate 2"))
    file.chmod(0o600)
    subprocess.run([LOGROTATE, "--force", "--state", str(state), str(file)], check=True, capture_output=True)
