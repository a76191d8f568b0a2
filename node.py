"""How is the node started, waited for, and stopped?

    python node.py                      # run the node until Ctrl-C
    python node.py make clients         # run it for as long as the command takes, and exit as the command does

The same class boots the node in the tests, and may do so in yours.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import click

HERE = Path(__file__).parent
START_TIMEOUT = 60.0  # seconds; a node takes 3 to 8
STOP_TIMEOUT = 15.0  # seconds


class NodeError(Exception):
    """The node can't be started. The text says why, and what to do."""


class Node:
    """A Crossbar.io node: a context manager that has it ready on entry and gone on exit."""

    def __init__(
        self, directory: Path, config: str = "config.json", output: IO[Any] | None = None, loglevel: str = "error"
    ) -> None:
        """
        :param directory: the node directory, with the configuration file `config` in it.
        :param output: where its log goes; None: to ours.
        :param loglevel: at ``warn`` and ``info`` the router writes about each attempt, so that strangers can flood it.
        """
        self.directory = directory
        self._config = config
        self._output = output
        self._loglevel = loglevel
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node and wait until every WebSocket door answers.

        :raises NodeError: if its port is taken, if it ends before it is ready, or after 60 seconds.
        """
        doors = list(self._doors())
        for port, *_ in doors:
            self._require_free(port)
        for folder in self._socket_folders():
            folder.mkdir(mode=0o700, exist_ok=True)
        command = [str(Path(sys.executable).with_name("crossbar")), "start", "--loglevel", self._loglevel]
        command += ["--cbdir", str(self.directory), "--config", self._config]
        quiet = subprocess.DEVNULL if self._loglevel == "error" else None  # errors go to stderr
        self._process = subprocess.Popen(
            command, stdout=self._output or quiet, stderr=subprocess.STDOUT if self._output else None
        )
        try:
            for door in doors:
                self._wait_for(*door)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ask the node to end, and see that it does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        """Wait until the node ends by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait()

    def __enter__(self) -> "Node":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _doors(self) -> Any:
        """Port, whether TLS is spoken there, and path of each WebSocket door."""
        for worker in self._workers():
            for transport in worker.get("transports", ()):
                endpoint = transport["endpoint"]
                for path, service in transport.get("paths", {}).items():
                    if endpoint["type"] == "tcp" and service["type"] == "websocket":
                        yield endpoint["port"], "tls" in endpoint, path

    def _socket_folders(self) -> Any:
        """Where Unix domain sockets will lie: Crossbar.io opens them to all users of the machine, so that their folder
        has to keep the others out."""
        for worker in self._workers():
            for transport in worker.get("transports", ()):
                if transport["endpoint"]["type"] == "unix":
                    yield (self.directory / transport["endpoint"]["path"]).parent

    def _workers(self) -> Any:
        file = self.directory / self._config
        try:
            return json.loads(file.read_text())["workers"]
        except OSError as error:
            raise NodeError(f"{file}: {error.strerror}.") from None
        except (ValueError, LookupError, TypeError) as error:
            raise NodeError(f"{file} isn't a node's configuration: {error}.") from None

    def _require_free(self, port: int) -> None:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            if pid := self._pid():
                raise NodeError(
                    f"A node is running already (process {pid}): stop it with Ctrl-C in its terminal."
                ) from None
            raise NodeError(
                f"Another program uses port {port}: stop it, or change the port in {self._config}."
            ) from None

    def _pid(self) -> int | None:
        try:
            pid = int(json.loads((self.directory / "node.pid").read_text())["pid"])
            os.kill(pid, 0)
        except (OSError, ValueError, KeyError):
            return None
        return pid

    def _wait_for(self, port: int, tls: bool, path: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(port, tls, path):
            assert self._process is not None
            if self._process.poll() is not None:
                raise NodeError("The node didn't start: the lines above say why.")
            if time.monotonic() > deadline:
                raise NodeError(f"The node wasn't ready after {START_TIMEOUT:g} seconds.")
            time.sleep(0.05)


def _answers(port: int, tls: bool, path: str) -> bool:
    """Whether a WebSocket handshake succeeds there."""
    request = (
        f"GET /{path} HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
    )
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            if tls:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # is it up? not: is it who it says?
                connection = context.wrap_socket(connection)
            connection.sendall(request.encode())
            return b" 101 " in connection.recv(64)
    except OSError:
        return False


def _run(command: tuple[str, ...]) -> int:
    try:
        return subprocess.run(command, check=False).returncode
    except OSError as error:
        raise NodeError(f"{command[0]} can't be run: {error.strerror}") from None


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--config", default="config.json", show_default=True, help="Which of the configurations in .crossbar.")
@click.option(
    "--loglevel",
    type=click.Choice(["error", "warn", "info"]),  # at debug, the router writes down each ticket
    default="error",
    show_default=True,
    help="How much the node writes.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def main(config: str, loglevel: str, command: tuple[str, ...]) -> None:
    """Run the node: until Ctrl-C, or for as long as COMMAND takes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the node is stopped too
    try:
        click.echo("Starting the node ...")
        with Node(HERE / ".crossbar", config, loglevel=loglevel) as node:
            if command:
                sys.exit(_run(command))
            click.echo("The node is ready. Ctrl-C stops it.")
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node gets it too, and ends by itself
            sys.exit(node.wait())
    except NodeError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
