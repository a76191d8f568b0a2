"""Which node is attacked? The hardened one as it is shipped, in a directory and at ports of its own, with a wall clock
that can be set. It asks for no channel binding alone, which the raw clients can't do.
"""

import json
import os
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import trustme
import wall_clock
import yaml
from nacl.signing import SigningKey

from wampauth.store import chosen_verifier, connect, create, moving, ticket_digest
from wampauth.testing import Node, free_port
from wampauth.testing.wamp import pubkey

ROOT = Path(__file__).parents[2]
CONFIG = "hardened.yaml"
CHOSEN, TICKET = "secret123", "a-ticket-that-was-made-at-random"
HONEST, OWN = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)  # a device's, and one of the stranger's own


@dataclass
class Soaked:
    """A node that is running, and what it has used so far."""

    directory: Path
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)

    @property
    def ca(self) -> Path:
        return self.directory / "certs" / "client.pem"

    def start(self) -> None:
        """Make what it needs, and boot it."""
        config = yaml.safe_load((ROOT / ".crossbar" / CONFIG).read_text())
        (worker,) = config["workers"]
        worker["options"]["pythonpath"] = [str(ROOT)]
        worker["components"][0]["extra"]["guard"]["require_channel_binding"] = False
        text = json.dumps(config).replace("8443", str(self.tls_port)).replace("8080", str(self.port))
        (self.directory / CONFIG).write_text(text)
        (self.directory / "sockets").mkdir(mode=0o700)
        self._certify()
        self._fill(str(self.directory / "principals.db"))
        with (self.directory / "node.log").open("wb") as log, wall_clock.settable(self.directory):
            self._node = Node(self.directory, CONFIG, output=log)
            self._node.start()
        (self.worker,) = psutil.Process(json.loads((self.directory / "node.pid").read_text())["pid"]).children()

    def stop(self) -> None:
        self._node.stop()

    def cpu(self) -> float:
        """Seconds that the worker has used."""
        return float(sum(self.worker.cpu_times()[:2]))

    def memory(self) -> float:
        """MiB that the worker holds."""
        return float(self.worker.memory_info().rss / 2**20)

    def written(self, pattern: str) -> int:
        """Bytes of the files of that name in its directory."""
        return sum(file.stat().st_size for file in self.directory.glob(pattern))

    def _certify(self) -> None:
        os.umask(0o077)
        folder = self.directory / "certs"
        folder.mkdir()
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        authority.cert_pem.write_to_path(str(self.ca))
        certificate.private_key_pem.write_to_path(str(folder / "server.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))

    def _fill(self, store: str) -> None:
        credentials = {
            ("client1", "realm1", "frontend"): ("chosen", chosen_verifier(CHOSEN)),
            ("client2", "realm1", "frontend"): ("ticket", ticket_digest(TICKET)),
            ("honest", "devices", "device"): ("key", pubkey(HONEST)),
            ("stranger", "devices", "device"): ("key", pubkey(OWN)),
        }
        create(store)
        with closing(connect(store)) as opened:
            moving.load(
                opened,
                [
                    json.dumps(
                        {
                            **dict(zip(("authid", "realm", "role"), principal, strict=True)),
                            "credentials": [{"kind": kind, "verifier": verifier}],
                        }
                    ).encode()
                    for principal, (kind, verifier) in credentials.items()
                ],
            )
