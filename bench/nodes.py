"""Which nodes are measured? Each is the shipped configuration or a variation of it, in a directory of its own.

``ours``     ``config.json`` and a store of the size asked for; the throttle is open, since all come from one address
``alone``    the same without the authorizers: our authenticator, and nobody who watches the sessions
``fenced``   the realms and the fence of ``config-hardened.json`` behind the plain doors of ``config.json``
``smallest`` the same realms without our components: doors for anonymous and static logins, and for the smallest
             possible authenticators of ``minimal.py``
``watched``  the same with the smallest component that hears of each session, as our authorizers do
"""

import copy
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil  # type: ignore[import-untyped]
from load import Credential, Door
from nacl.signing import SigningKey

import database
from node import Node
from principals import chosen_verifier, ticket_digest

ROOT = Path(__file__).parent.parent
OPEN = {"failures_at_once": 1_000_000, "deadline": 60.0}  # a machine that is busy with other things refuses nobody
CHOSEN = "secret123"
SAMPLE = 2_000  # principals of a store that log in, at most, of each method
CALLS_AND_EVENTS = [
    ["com.example.add2", "call"],
    ["com.example.topic1", "publish"],
    ["com.example.topic1", "subscribe"],
]

Config = dict[str, Any]


class BenchNode:
    """A node that is running, and what its router worker has used so far. A context manager."""

    def __init__(self, kind: str, principals: int = 10, chosen: int = 2, root: Path = ROOT) -> None:
        """
        :param principals: how many there are in the store, `chosen` of them with chosen tickets.
        :param root: where the modules and the shipped configurations lie.
        """
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-")
        self.directory = Path(self._temporary.name)
        self.port = free_port()
        self.store = str(self.directory / "principals.db")
        self.credentials = fill(self.store, principals, chosen)
        config = KINDS[kind](root)
        (self.directory / "config.json").write_text(json.dumps(placed(config, root, self.port)))

    def __enter__(self) -> "BenchNode":
        with (self.directory / "node.log").open("wb") as log:
            self._node = Node(self.directory, output=log)
            self._node.start()
        controller = psutil.Process(json.loads((self.directory / "node.pid").read_text())["pid"])
        workers = [child for child in controller.children() if "router" in " ".join(child.cmdline())]
        (self._worker,) = workers
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.stop()
        self._temporary.cleanup()

    def door(self, path: str) -> Door:
        return self.port, "/" + path

    @property
    def worker(self) -> int:
        """The process id of the router worker."""
        return int(self._worker.pid)

    def cpu(self) -> float:
        """Seconds of CPU that the router worker has used, all its threads, by the system's account."""
        if hasattr(time, "clock_gettime") and os.uname().sysname == "Linux":
            return time.clock_gettime(~self.worker << 3 | 2)  # clock_getcpuclockid(3): in nanoseconds, not ticks
        used = self._worker.cpu_times()
        return float(used.user + used.system)

    def memory(self) -> float:
        """MiB of memory that the router worker holds."""
        return float(self._worker.memory_info().rss / 2**20)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- stores


def fill(store: str, principals: int, chosen: int) -> dict[str, list[Credential]]:
    """Make a store: `chosen` principals have chosen tickets, of the others one half made tickets, one half keys.

    :returns: credentials to log in with, by kind; of a large store, those of a sample that is spread over it.
    """
    half = (principals - chosen) // 2
    step = max(1, half // SAMPLE)
    seeds = {number: hashlib.sha256(f"device{number}".encode()).hexdigest() for number in range(0, half, step)}
    database.create(store)
    connection = database.connect(store)
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
    return json.loads((root / ".crossbar" / name).read_text())


def placed(config: Config, root: Path, port: int) -> Config:
    """The configuration at another port, with the modules found wherever the node directory lies."""
    worker = config["workers"][0]
    worker["options"]["pythonpath"] = [str(root), str(ROOT / "bench")]
    for transport in worker["transports"]:
        transport["endpoint"]["port"] = port
        transport["paths"]["/"] = {"type": "json", "value": {}}
    return config


def ours(root: Path) -> Config:
    config = shipped(root, "config.json")
    for component in config["workers"][0]["components"]:
        if component["classname"] == "authenticator.Authenticator":
            component["extra"].update(OPEN)
    for method in config["workers"][0]["transports"][0]["paths"]["ws-function"]["auth"].values():
        method["config"].update(OPEN)
    return config


def alone(root: Path) -> Config:
    config = ours(root)
    worker = config["workers"][0]
    worker["components"] = [one for one in worker["components"] if one["classname"] != "authorizer.Authorizer"]
    return config


def fenced(root: Path) -> Config:
    config = ours(root)
    hardened = shipped(root, "config-hardened.json")["workers"][0]
    worker = config["workers"][0]
    worker["realms"] = hardened["realms"]
    authenticator = [one for one in worker["components"] if one["classname"] == "authenticator.Authenticator"]
    others = [one for one in hardened["components"] if one["classname"] != "authenticator.Authenticator"]
    worker["components"] = authenticator + others
    return config


def smallest(root: Path) -> Config:
    """The doors ``anonymous``, ``static``, ``dynamic``, ``function`` and ``inline``, and the role ``fenced``."""
    config = shipped(root, "config.json")
    worker = config["workers"][0]
    realm1 = next(realm for realm in worker["realms"] if realm["name"] == "realm1")
    asked = [{"uri": "com.example.authorize", "match": "exact", "allow": {"register": True}}]
    realm1["roles"] = [role for role in realm1["roles"] if role["name"] != "authorizer"]
    realm1["roles"].append({"name": "authorizer", "permissions": asked})
    realm1["roles"].append({"name": "fenced", "authorizer": "com.example.authorize"})
    known = dicts()
    components = [one for one in worker["components"] if one["classname"] == "backend.Backend"]
    components.append(component("minimal.Authenticator", "realm-auth", "authenticator", known))
    components.append(component("minimal.Authorizer", "realm1", "authorizer", {"allowed": CALLS_AND_EVENTS}))
    worker["components"] = components
    paths = worker["transports"][0]["paths"]
    service = paths["ws"]
    worker["transports"][0]["paths"] = {
        "/": {},
        "anonymous": {**service, "auth": {"anonymous": {"type": "static", "role": "frontend"}}},
        "static": {**service, "auth": static()},
        "dynamic": {**service, "auth": {method: dynamic(method) for method in ("ticket", "cryptosign")}},
        "inline": {**service, "auth": {"ticket": dynamic("inline")}},
        "function": {
            **service,
            "auth": {
                method: {"type": "function", "create": f"minimal.create_{method}", "config": known}
                for method in ("ticket", "cryptosign")
            },
        },
    }
    return copy.deepcopy(config)


def watched(root: Path) -> Config:
    config = smallest(root)
    worker = config["workers"][0]
    told = [{"uri": "wamp.session.", "match": "prefix", "allow": {"subscribe": True}}]
    for realm in worker["realms"]:
        if realm["name"] != "realm-auth":
            realm["roles"].append({"name": "watcher", "permissions": told})
            worker["components"].append(component("minimal.Watcher", realm["name"], "watcher", {}))
    return config


KINDS = {"ours": ours, "alone": alone, "fenced": fenced, "smallest": smallest, "watched": watched}


def component(classname: str, realm: str, role: str, extra: Config) -> Config:
    return {"type": "class", "classname": classname, "realm": realm, "role": role, "extra": extra}


def dynamic(procedure: str) -> Config:
    return {
        "type": "dynamic",
        "authenticator": f"com.example.authenticate.{procedure}",
        "authenticator-realm": "realm-auth",
    }


def static() -> Config:
    """Crossbar.io's own: the principals of a store of ten, in the configuration."""
    tickets = {f"user{n}": {"ticket": f"ticket-{n}", "role": "frontend"} for n in range(4)}
    tickets["fenced"] = {"ticket": "ticket-0", "role": "fenced"}
    keys = {
        f"device{n}": {"realm": "devices", "role": "device", "authorized_keys": [pubkey(digits(f"device{n}"))]}
        for n in range(4)
    }
    return {
        "ticket": {"type": "static", "principals": tickets},
        "cryptosign": {"type": "static", "principals": keys},
    }


def dicts() -> Config:
    """What the smallest authenticators know: the same principals."""
    tickets: Config = {}
    for authid in [f"user{n}" for n in range(4)] + [f"chosen{n}" for n in range(2)]:
        answer = {"realm": "realm1", "authid": authid, "role": "frontend", "extra": {"foo": 23}}
        tickets[authid] = {"answer": answer, "ticket": authid.replace("user", "ticket-")}
        if authid.startswith("chosen"):
            tickets[authid]["verifier"] = chosen_verifier(CHOSEN)
    keys: Config = {}
    for number in range(4):
        key = pubkey(digits(f"device{number}"))
        answer = {"realm": "devices", "authid": f"device{number}", "role": "device", "extra": {"foo": 23}}
        keys[key] = {"answer": {**answer, "pubkey": key}}
    return {"tickets": tickets, "keys": keys}
