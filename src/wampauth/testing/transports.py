"""Where does a node listen, and does it answer there? Read from its configuration."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wampauth.nodeconfig import Config, NodeError, load

HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - how to reach who listens everywhere
SERIALIZERS = {"json": 1, "msgpack": 2, "cbor": 3, "ubjson": 4, "flatbuffers": 5}  # their numbers in RawSocket
PATIENCE = 2.0  # seconds for one attempt


@dataclass(frozen=True)
class Transport:
    """One way in.

    :ivar address: interface and port, or the path of a Unix domain socket.
    :ivar kind: ``websocket``, ``rawsocket``, or ``other`` for what we can only connect to.
    :ivar path: of a WebSocket's URL, without the slash at its beginning.
    """

    address: tuple[str, int] | Path
    kind: str = "other"
    serializer: str = "json"
    path: str = ""
    tls: bool = False

    def require_free(self, config: str) -> None:
        """See that nobody listens there.

        :raises NodeError: if somebody does, or if it is no address of this machine.
        """
        try:
            taken = self._is_taken()
        except OSError as error:
            raise NodeError(f"The node can't listen at {self._shown()}: {error.strerror}.") from None
        if taken:
            what, name = ("port", self.address[1]) if isinstance(self.address, tuple) else ("path", self.address)
            raise NodeError(f"Another program uses {what} {name}: stop it, or change the {what} in {config}.")

    def answers(self) -> bool:
        """Whether clients are served there."""
        try:
            with closing(self._connect()) as connection:
                if self.kind == "websocket":
                    connection.sendall(self._upgrade().encode())
                    return b" 101 " in connection.recv(64)
                if self.kind == "rawsocket":
                    connection.sendall(bytes((0x7F, 0xF0 | SERIALIZERS[self.serializer], 0, 0)))
                    return connection.recv(1) == b"\x7f"
                return True
        except OSError:
            return False

    def _is_taken(self) -> bool:
        if isinstance(self.address, Path):
            return self._accepts()
        interface, port = self.address
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        try:
            socket.create_server((interface, port), family=family).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
        return False

    def _accepts(self) -> bool:
        try:
            self._reach().close()
        except OSError:
            return False
        return True

    def _reach(self) -> socket.socket:
        if isinstance(self.address, tuple):
            interface, port = self.address
            return socket.create_connection((HERE.get(interface, interface), port), PATIENCE)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.address))
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> socket.socket:
        connection = self._reach()
        if not self.tls:
            return connection
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # is it up? not: is it who it says?
        try:
            return context.wrap_socket(connection)
        except BaseException:
            connection.close()
            raise

    def _upgrade(self) -> str:
        return (
            f"GET /{self.path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: wamp.2.{self.serializer}\r\n\r\n"
        )

    def _shown(self) -> str:
        return f"{self.address[0]}, port {self.address[1]}" if isinstance(self.address, tuple) else str(self.address)


def read(directory: Path, config: str) -> list[Transport]:
    """All ways in of a node, those of its own processes included.

    Where the configuration leaves open where it will listen (a range of ports, an onion service), there is nothing to
    wait for, and nothing is returned.

    :raises NodeError: if the file can't be read, or isn't a node's configuration.
    """
    file = directory / config
    try:
        found = [way for transport in _listening(load(file)) for way in _ways_in(directory, transport)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise NodeError(f"{file} isn't a node's configuration: {error}.") from None
    return list(dict.fromkeys(found))  # proxies share ports


def _listening(config: Config) -> Iterator[Config]:
    for worker in config["workers"]:
        yield from worker.get("transports", ())


def _ways_in(directory: Path, transport: Config) -> Iterator[Transport]:
    endpoint = transport["endpoint"]
    address = _address(directory, endpoint)
    if address is None:
        return
    tls = "tls" in endpoint
    if tls and endpoint["tls"].get("ca_certificates"):  # asks for a certificate, which we don't have
        yield Transport(address)
        return
    services = list(_services(transport))
    for kind, path, service in services:
        offered = service.get("serializers") or SERIALIZERS
        serializer = next((name for name in SERIALIZERS if name in offered), "json")
        yield Transport(address, kind, serializer, path.lstrip("/"), tls)
    if not services:
        yield Transport(address, tls=tls)


def _address(directory: Path, endpoint: Config) -> tuple[str, int] | Path | None:
    if endpoint["type"] == "unix":
        return directory / os.path.expandvars(endpoint["path"])
    if endpoint["type"] != "tcp" or "portrange" in endpoint:
        return None
    return endpoint.get("interface", "").strip(), _port(endpoint["port"])


def _port(port: Any) -> int:
    if not isinstance(port, str):
        return int(port)
    try:
        return int(os.environ[port.removeprefix("$")])
    except (KeyError, ValueError):
        raise ValueError(f"the port is {port}, and that variable holds no number") from None


def _services(transport: Config) -> Iterator[tuple[str, str, Config]]:
    """Kind, path and configuration of what speaks WAMP at a transport."""
    match transport["type"]:
        case "websocket" | "rawsocket" as kind:
            yield kind, "", transport
        case "web" | "path":
            yield from _services_below(transport["paths"])
        case "universal":
            if "rawsocket" in transport:
                yield "rawsocket", "", transport["rawsocket"]
            for path, service in transport.get("websocket", {}).items():
                yield "websocket", path, service
            yield from _services_below(transport.get("web", {}).get("paths", {}))


def _services_below(paths: Config) -> Iterator[tuple[str, str, Config]]:
    for path, service in paths.items():
        if service["type"] in ("websocket", "path"):
            for kind, below, found in _services(service):
                yield kind, f"{path}/{below}" if below else path, found
