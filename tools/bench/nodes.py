"""Which nodes are measured? Each is the shipped configuration or a variation of it, in a directory of its own.

``ours``        ``config.json`` as it is shipped, and a store of the size asked for
``open``        the same with the throttle open, for what logs in with wrong tickets, and without a pause
``authorized``  that, with the realms and the authorizer of ``hardened.yaml`` behind the plain transports
``smallest``    the yardstick. The same realms and transports without our components: the smallest possible
                authenticator, authorizer and listener to joins and leaves of ``minimal.py``, and static logins
``scaled``      ``scaled.yaml``, open, and a transport of the first proxy's own besides the one that it shares
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from nacl.signing import SigningKey
from wire import Credential, Transport

from wampauth.store import chosen_verifier, create, sqlite, ticket_digest
from wampauth.testing import Node, NodeError, free_port
from wampauth.testing.node import START_TIMEOUT

ROOT = Path(__file__).parents[2]
OPEN = {"failures_at_once": 1_000_000, "deadline": 60.0}  # a machine that is busy with other things refuses nobody
AUTHENTICATOR = "authenticator.AuthenticatorSession"
CHOSEN = "secret123"
SAMPLE = 2_000  # principals of a store that log in, at most, of each method
CALLS_AND_EVENTS = [
    ["com.example.add2", "call"],
    ["com.example.topic1", "publish"],
    ["com.example.topic1", "subscribe"],
]

Config = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A node to boot."""

    kind: str
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
        (self.directory / "admission.key").touch(0o600)
        (self.directory / "admission.key").write_bytes(os.urandom(32))

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


# -- stores


def fill(store: str, principals: int, chosen: int) -> dict[str, list[Credential]]:
    """Make a store: `chosen` principals have chosen tickets, of the others one half made tickets, one half keys.

    :returns: credentials to log in with, by kind; of a large store, those of a sample that is spread over it.
    """
    half = (principals - chosen) // 2
    step = max(1, half // SAMPLE)
    seeds = {number: hashlib.sha256(f"device{number}".encode()).hexdigest() for number in range(0, half, step)}
    create(store)
    connection = sqlite.connect(store)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    connection.execute("BEGIN")
    principal = "INSERT INTO principal (authid, realm, role, extra) VALUES (?, ?, ?, '{\"foo\": 23}')"
    connection.executemany(principal, rows_of_principals(half, chosen))
    credential = "INSERT INTO credential (id, authid, kind, verifier, label, created) VALUES (?, ?, ?, ?, '', 0)"
    connection.executemany(credential, rows_of_credentials(half, chosen, seeds))
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    ticket = {"method": "ticket", "realm": "realm1"}
    return {
        "made": [{**ticket, "authid": f"user{n}", "ticket": f"ticket-{n}"} for n in range(0, half, step)],
        "chosen": [{**ticket, "authid": f"chosen{n}", "ticket": CHOSEN} for n in range(chosen)],
        "key": [
            {"method": "cryptosign", "realm": "devices", "authid": f"device{n}", "seed": seed}
            for n, seed in seeds.items()
        ],
    }


def rows_of_principals(half: int, chosen: int) -> Iterable[tuple[str, str, str]]:
    for number in range(chosen):
        yield f"chosen{number}", "realm1", "frontend"
    for number in range(half):
        yield f"user{number}", "realm1", "frontend"
        yield f"device{number}", "devices", "device"


def rows_of_credentials(half: int, chosen: int, seeds: dict[int, str]) -> Iterable[tuple[str, str, str, str]]:
    """Id, authid, kind and verifier. Keys outside the sample are only as long as keys: nobody will sign with them."""
    for number in range(chosen):
        yield digits(f"chosen{number}")[:16], f"chosen{number}", "chosen", chosen_verifier(CHOSEN)
    for number in range(half):
        user, device = f"user{number}", f"device{number}"
        yield digits(user)[:16], user, "ticket", ticket_digest(f"ticket-{number}")
        key = pubkey(seeds[number]) if number in seeds else digits(device + "key")
        yield digits(device)[:16], device, "key", key


def digits(text: str) -> str:
    """64 hexadecimal digits that are spread evenly."""
    return hashlib.sha256(text.encode()).hexdigest()


def pubkey(seed: str) -> str:
    return bytes(SigningKey(bytes.fromhex(seed)).verify_key).hex()


# -- configurations


def shipped(root: Path, name: str) -> Config:
    """A configuration in JSON or YAML, with no part that is the same object as another."""
    return json.loads(json.dumps(yaml.safe_load((root / ".crossbar" / name).read_text())))  # type: ignore[no-any-return]


def placed(config: Config, root: Path, port: int, own_port: int) -> Config:
    """The configuration at other ports, with the modules found wherever the node directory lies."""
    for worker in config["workers"]:
        paths = [str((root / ".crossbar" / path).resolve()) for path in worker["options"].get("pythonpath", ())]
        worker["options"]["pythonpath"] = [*paths, str(ROOT / "tools" / "bench")]
        for transport in worker.get("transports", ()):
            if transport["type"] == "web":
                transport["endpoint"]["port"] = port if transport["endpoint"]["port"] == 8080 else own_port
                transport["paths"]["/"] = {"type": "json", "value": {}}
    return config


def opened(config: Config) -> Config:
    """The configuration with a throttle that is wide open."""
    for worker in config["workers"]:
        for component in worker.get("components", ()):
            if component["classname"] == AUTHENTICATOR:
                component["extra"].setdefault("guard", {}).update(OPEN)
    return config


def ours(root: Path, known: list[Credential]) -> Config:
    return shipped(root, "config.json")


def open_(root: Path, known: list[Credential]) -> Config:
    return opened(shipped(root, "config.json"))


def scaled(root: Path, known: list[Credential]) -> Config:
    config = opened(shipped(root, "scaled.yaml"))
    first = next(worker for worker in config["workers"] if worker["type"] == "proxy")
    (shared,) = first["transports"]
    first["transports"].append({**shared, "endpoint": {"type": "tcp", "interface": "127.0.0.1", "port": 8081}})
    return config


def authorized(root: Path, known: list[Credential]) -> Config:
    config = open_(root, known)
    hardened = shipped(root, "hardened.yaml")["workers"][0]
    worker = config["workers"][0]
    worker["realms"] = hardened["realms"]
    authenticator = [one for one in worker["components"] if one["classname"] == AUTHENTICATOR]
    others = [one for one in hardened["components"] if one["classname"] != AUTHENTICATOR]
    worker["components"] = authenticator + others
    return config


def smallest(root: Path, known: list[Credential]) -> Config:
    """Transports ``ws`` and ``static``, and the role ``authorized``."""
    config = shipped(root, "config.json")
    worker = config["workers"][0]
    realm1 = next(realm for realm in worker["realms"] if realm["name"] == "realm1")
    asked = [{"uri": "com.example.authorize", "match": "exact", "allow": {"register": True}}]
    realm1["roles"].append({"name": "authorizer", "permissions": asked})
    realm1["roles"].append({"name": "authorized", "authorizer": "com.example.authorize"})
    components = [one for one in worker["components"] if one["classname"] == "backend.Backend"]
    components.append(component("minimal.Authenticator", "realm-auth", "authenticator", dicts(known)))
    components.append(component("minimal.Authorizer", "realm1", "authorizer", {"allowed": CALLS_AND_EVENTS}))
    components += [component("minimal.Watcher", realm, "trusted", {}) for realm in ("realm1", "devices")]
    worker["components"] = components
    paths = worker["transports"][0]["paths"]
    paths["/"] = {}
    paths["static"] = {**paths["ws"], "auth": static()}
    return config


KINDS: dict[str, Callable[[Path, list[Credential]], Config]] = {
    "ours": ours,
    "open": open_,
    "authorized": authorized,
    "smallest": smallest,
    "scaled": scaled,
}


def component(classname: str, realm: str, role: str, extra: Config) -> Config:
    return {"type": "class", "classname": classname, "realm": realm, "role": role, "extra": extra}


def static() -> Config:
    """Crossbar.io's own: a principal with all permissions, and one who is asked about."""
    tickets = {"user0": {"ticket": "ticket-0", "role": "frontend"}}
    tickets["authorized"] = {"ticket": "ticket-0", "role": "authorized"}
    return {"ticket": {"type": "static", "principals": tickets}}


def dicts(known: list[Credential]) -> Config:
    """What the smallest authenticator knows: the same principals as the store."""
    tickets: Config = {}
    keys: Config = {}
    for one in known:
        answer = {"realm": one["realm"], "authid": one["authid"], "extra": {"foo": 23}}
        if one["method"] == "ticket":
            tickets[one["authid"]] = {"answer": {**answer, "role": "frontend"}, "ticket": one["ticket"]}
        else:
            key = pubkey(one["seed"])
            keys[key] = {"answer": {**answer, "role": "device", "pubkey": key}}
    return {"tickets": tickets, "keys": keys}
