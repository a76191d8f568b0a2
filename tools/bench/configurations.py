"""Which nodes are measured? Each has the shipped configuration or a variation of it.

``ours``        ``config.json`` as it is shipped, and a store of the size asked for
``open``        the same with the throttle open, for what logs in with wrong tickets, and without a pause
``authorized``  that, with the realms and the authorizer of ``hardened.yaml`` behind the plain transports
``smallest``    the yardstick. The same realms and transports without our components: the smallest possible
                authenticator, authorizer and listener to joins and leaves of ``minimal.py``, and static logins
``scaled``      ``scaled.yaml``, open, and a transport of the first proxy's own besides the one that it shares
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from filled import pubkey
from wire import Credential

ROOT = Path(__file__).parents[2]
OPEN = {"failures_at_once": 1_000_000, "deadline": 60.0}  # a machine that is busy with other things refuses nobody
AUTHENTICATOR = "authenticator.AuthenticatorSession"
CALLS_AND_EVENTS = [
    ["com.example.add2", "call"],
    ["com.example.topic1", "publish"],
    ["com.example.topic1", "subscribe"],
]

Config = dict[str, Any]


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
