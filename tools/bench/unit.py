"""What does systemd do for a service with Type=notify, Restart=always and WatchdogSec? As much of it as is measured."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
from beside import Beside, Said, listen


class Service(Beside):
    """Keeps a program running: a context manager.

    :ivar ready: how often it has said that it is.
    :ivar said: when and what it wrote, by lines.
    :ivar pid: of its main process.
    """

    def __init__(self, command: list[str], terms: Mapping[str, str]) -> None:
        """:param terms: the unit's section ``Service``."""
        super().__init__()
        self._command = command
        self._pause = float(terms["RestartSec"])
        self._watchdog = float(terms["WatchdogSec"])
        self._patience = float(terms["TimeoutStopSec"])
        self._folder = tempfile.TemporaryDirectory(prefix="service-")
        self.ready, self.pid = 0, 0
        self.said: Said = []

    def __enter__(self) -> Self:
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(Path(self._folder.name) / "notify"))
        self._notices.settimeout(0.2)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._notices.close()
        self._folder.cleanup()

    def go_on(self) -> None:
        """Start it, again and again."""
        while not self.end.is_set():
            self._run()
            self.end.wait(self._pause)

    def _run(self) -> None:
        environment = {**os.environ, "NOTIFY_SOCKET": str(Path(self._folder.name) / "notify")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(self._command, text=True, env=environment, **pipes) as main:  # type: ignore[call-overload]
            self.pid = main.pid
            listen(main, self.said)
            group = self._until_it_ends(main)
            self._stop(main)
            for process in group:  # KillMode=mixed
                with suppress(psutil.Error):
                    process.kill()

    def _until_it_ends(self, main: "subprocess.Popen[str]") -> list[psutil.Process]:
        """Wait for its end, or ours; if it tells nothing for too long, it is told to end. What it has started comes
        back: systemd has a control group instead."""
        group: list[psutil.Process] = []
        heard, is_ready = time.monotonic(), False
        while main.poll() is None and not self.end.is_set():
            with suppress(psutil.Error):
                group = psutil.Process(main.pid).children(recursive=True)
            if notice := self._notice():
                heard, is_ready = time.monotonic(), is_ready or notice == "READY=1"
                self.ready += notice == "READY=1"
            if is_ready and time.monotonic() - heard > self._watchdog:
                main.send_signal(signal.SIGABRT)
                main.send_signal(signal.SIGCONT)
                break
        return group

    def _stop(self, main: "subprocess.Popen[str]") -> None:
        if self.end.is_set():
            main.terminate()
        try:
            main.wait(self._patience)
        except subprocess.TimeoutExpired:
            main.kill()
            main.wait()

    def _notice(self) -> str:
        try:
            return self._notices.recv(100).decode()
        except TimeoutError:
            return ""
