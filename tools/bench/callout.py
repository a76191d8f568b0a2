"""How do others do it? NATS with an auth callout: the server asks a service, which is Python over a dict, too.

    python callout.py PORT KNOWN.json    # the service; `NatsNode` starts it, and the server

``KNOWN.json`` holds the issuer's seed, and the tickets by user. What it needs is optional: :data:`MISSING` says how to
get it.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from filled import SAMPLE
from nodes import cpu_of
from wire import Credential, Transport

from wampauth.testing import free_port

try:
    import nats
    import nkeys

    IS_INSTALLED = True
except ImportError:
    IS_INSTALLED = False

MISSING = "NATS isn't measured: `pip install --require-hashes -r requirements/bench.txt` brings what that needs."
ASKED, ACCOUNT = "$SYS.REQ.USER.AUTH", "APP"
CONFIG = """host: 127.0.0.1, port: {port}, pid_file: "{folder}/pid"
accounts: {{ AUTH: {{ users: [{{ user: service, password: "{password}" }}] }}, APP: {{}} }}
authorization: {{ auth_callout: {{ issuer: {issuer}, account: AUTH, auth_users: [service] }} }}
"""
START_TIMEOUT = 20.0  # seconds


class NatsNode:
    """A server and its service, running."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-nats-")
        folder, self.port = Path(self._temporary.name), free_port()
        seed, password = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT).decode(), os.urandom(16).hex()
        self._config, self._known = folder / "nats.conf", folder / "known.json"
        issuer = nkeys.from_seed(seed.encode()).public_key.decode()
        self._config.write_text(CONFIG.format(port=self.port, folder=folder, password=password, issuer=issuer))
        tickets = {f"user{number}": f"ticket-{number}" for number in range(SAMPLE)}
        self._known.write_text(json.dumps({"seed": seed, "password": password, "tickets": tickets}))
        made = [{"method": "ticket", "authid": authid, "ticket": ticket} for authid, ticket in tickets.items()]
        self.credentials: dict[str, list[Credential]] = {"made": made}

    def start(self) -> None:
        """Start both, and wait until the service listens."""
        command = shutil.which("nats-server") or str(Path(sys.executable).with_name("nats-server"))
        self._server = subprocess.Popen([command, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        service = [sys.executable, __file__, str(self.port), str(self._known)]
        self._service = subprocess.Popen(service, stdout=subprocess.PIPE, text=True)
        assert self._service.stdout
        if not self._service.stdout.readline():
            self.stop()
            raise RuntimeError("the service of NATS doesn't start")

    def stop(self) -> None:
        for process in self._service, self._server:
            process.kill()
            process.communicate()
        self._temporary.cleanup()

    def transport(self, path: str) -> Transport:
        return self.port, path

    def cpu(self) -> float:
        """Seconds of CPU of server and service."""
        return sum(cpu_of(psutil.Process(process.pid)) for process in (self._server, self._service))

    def memory(self) -> float:
        """MiB that both hold."""
        processes = self._server, self._service
        return float(sum(psutil.Process(process.pid).memory_info().rss for process in processes) / 2**20)

    def connections(self) -> int:
        """How many the server has open, with its other files."""
        return int(psutil.Process(self._server.pid).num_fds())


class Service:
    """Answers the server's questions."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._tickets, self._keys = known["tickets"], nkeys.from_seed(known["seed"].encode())
        self._issuer = self._keys.public_key.decode()

    async def answer(self, message: Any) -> None:
        """Say yes with a token for the user, or no."""
        asked = json.loads(decoded(message.data.decode().split(".")[1]))["nats"]
        user, options = asked["user_nkey"], asked["connect_opts"]
        said: dict[str, Any] = {"type": "authorization_response", "version": 2}
        if self._tickets.get(options.get("user")) == options.get("pass"):
            claims = {"name": options["user"], "sub": user, "aud": ACCOUNT}
            limits = {"subs": -1, "data": -1, "payload": -1}
            said["jwt"] = self._sign({**claims, "nats": {"type": "user", "version": 2, **limits}})
        else:
            said["error"] = "invalid ticket"
        token = self._sign({"sub": user, "aud": asked["server_id"]["id"], "nats": said})
        await message.respond(token.encode())

    def _sign(self, claims: dict[str, Any]) -> str:
        head = encoded(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
        body = encoded(json.dumps({"iss": self._issuer, "iat": int(time.time()), **claims}).encode())
        return f"{head}.{body}." + encoded(self._keys.sign(f"{head}.{body}".encode()))


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def serve(port: str, file: str) -> None:
    """Answer until the server ends."""
    known = json.loads(Path(file).read_text())
    until = time.monotonic() + START_TIMEOUT
    while True:
        try:
            options = {"user": "service", "password": known["password"], "allow_reconnect": False}
            client = await nats.connect(f"nats://127.0.0.1:{port}", **options)
            break
        except OSError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.05)
    await client.subscribe(ASKED, cb=Service(known).answer)
    await client.flush()
    print("ready", flush=True)
    while not client.is_closed:
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
