"""Are the configurations that we ship closed to whom they should be?"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import HERE, Config, read_config

CONFIGS = [HERE / ".crossbar" / name for name in ("config.json", "hardened.yaml", "scaled.yaml")]
LIMITS = {
    "allowed_origins",
    "max_message_size",
    "max_frame_size",
    "open_handshake_timeout",
    "close_handshake_timeout",
    "auto_ping_interval",
    "auto_ping_timeout",
}


def test_these_are_all() -> None:
    shipped = {file for end in ("json", "yaml") for file in (HERE / ".crossbar").glob(f"*.{end}")}
    assert shipped == set(CONFIGS)


def objects(value: Any) -> Iterator[Config]:
    """All JSON objects in a configuration, at any depth."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


@pytest.fixture(params=CONFIGS, ids=lambda file: file.name)
def config(request: pytest.FixtureRequest) -> Config:
    """Each configuration in turn."""
    return read_config(request.param)


def transports(config: Config, internal: bool = False) -> list[Config]:
    """Where somebody may connect: clients, or with `internal` the node's own processes, which need no credential."""
    found = [transport for worker in config["workers"] for transport in worker.get("transports", ())]
    return [transport for transport in found if is_internal(transport) is internal]


def is_internal(transport: Config) -> bool:
    """Whether it lies in a folder that is closed to others, and its clients are what they say."""
    methods = transport.get("auth", {}).values()
    return transport["endpoint"]["type"] == "unix" and any(method["type"] == "static" for method in methods)


def ways_in(config: Config) -> list[Config]:
    """What clients can come through: WebSocket paths, and raw sockets."""
    return [thing for thing in objects(transports(config)) if thing.get("type") in ("websocket", "rawsocket")]


def test_who_listens_only_to_this_machine(config: Config) -> None:
    endpoints = [transport["endpoint"] for transport in transports(config) + transports(config, internal=True)]
    assert endpoints
    for endpoint in endpoints:
        assert endpoint["type"] == "unix" or (endpoint["type"], endpoint.get("interface")) == ("tcp", "127.0.0.1")


def test_nobody_comes_in_anonymously(config: Config) -> None:
    assert ways_in(config)
    for way in ways_in(config):
        assert set(way["auth"]) == {"ticket", "cryptosign"}
    assert "anonymous" not in json.dumps(transports(config))


def test_the_nodes_own_sockets_are_closed_to_others(config: Config) -> None:
    """The authenticator sees to it that nobody else can open what it is told is private."""
    for transport in transports(config, internal=True):
        assert transport["endpoint"]["path"].startswith("sockets/")
        for component in objects(config):
            if component.get("classname") == "authenticator.AuthenticatorSession":
                assert "sockets" in component["extra"]["guard"]["private_files"]


def test_every_login_is_asked_about(config: Config) -> None:
    """By a procedure in the authenticators' realm, or by a function: no credential lies in the configuration."""
    for way in ways_in(config):
        for name, method in way["auth"].items():
            if method["type"] == "dynamic":
                assert method["authenticator"] == f"com.example.authenticate.{name}"
                assert method["authenticator-realm"] == "realm-auth"
            else:
                assert (method["type"], method["create"]) == ("function", f"authenticator.create_{name}")


def test_limits_are_set(config: Config) -> None:
    for way in ways_in(config):
        assert 0 < way["options"]["max_message_size"] <= 1_000_000
        if way["type"] == "websocket":
            assert set(way["options"]) >= LIMITS
            assert "*" not in way["options"]["allowed_origins"]
            assert set(way["serializers"]) == {"json", "cbor", "msgpack"}
    for transport in transports(config):
        assert transport["type"] != "web" or 0 < transport["max_connections"] <= 100_000


def test_only_authenticators_are_in_their_realm(config: Config) -> None:
    """Where there are proxies, they ask; nobody else may do anything there."""
    (realm,) = (thing for thing in objects(config) if thing.get("name") == "realm-auth" and "roles" in thing)
    found = {
        role["name"]: [(rule["uri"], rule["match"], rule["allow"]) for rule in role["permissions"]]
        for role in realm["roles"]
    }
    expected = {"authenticator": [("com.example.authenticate.", "prefix", {"register": True})]}
    if any(worker["type"] == "proxy" for worker in config["workers"]):
        expected["proxy"] = [("com.example.authenticate.", "prefix", {"call": True})]
    assert found == expected


def test_no_role_may_everything(config: Config) -> None:
    """A rule for the prefix "" would also open the router's own procedures, which show and end others' sessions."""
    roles = [role for realm in objects(config) if "name" in realm for role in realm.get("roles", ())]
    assert {role["name"] for role in roles} <= {"authenticator", "backend", "frontend", "device", "proxy"}
    for rule in (thing for thing in objects(config) if "allow" in thing):
        assert rule["uri"]
        assert rule.get("match", "exact") == "exact" or rule["uri"].startswith("com.example.")


def test_the_demos_realms(config: Config) -> None:
    realms = [thing["name"] for thing in objects(config) if "roles" in thing and "name" in thing]
    assert sorted(realms) == ["devices", "realm-auth", "realm1"]


def test_both_ways_share_their_settings(config: Config) -> None:
    """They take the component's; a ``config`` is for proxy workers, which have no components."""
    for worker in config["workers"]:
        for method in (thing for thing in objects(worker) if thing.get("type") == "function"):
            assert "config" not in method
            components = [component["classname"] for component in worker["components"]]
            assert "authenticator.AuthenticatorSession" in components


def test_sessions_are_ended_in_each_realm_of_clients(config: Config) -> None:
    watched = [
        (component["realm"], component["role"])
        for component in objects(config)
        if component.get("classname") == "authenticator.Sessions"
    ]
    assert sorted(watched) == [("devices", "trusted"), ("realm1", "trusted")]
