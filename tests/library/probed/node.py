"""The configuration of a node with all of these authenticators, one path each."""

from typing import Any

from probed.authenticators import KINDS
from probed.authorizer import PROCEDURE, TOPIC

LIMITS = {
    "allowed_origins": ["http://localhost:1"],
    "max_message_size": 65536,
    "max_frame_size": 65536,
    "show_server_version": False,
}


def config(port: int, careless_port: int, tls_port: int, folder: str, certificates: str) -> dict[str, Any]:
    """The node's. `folder` has the modules; `certificates` has ``server.key`` and ``server.pem``."""
    paths: dict[str, Any] = {kind: websocket(function(kind)) for kind in KINDS}
    paths["anonymous"] = websocket({**function("strong"), "anonymous": {"type": "static", "role": "tight"}})
    paths["missing"] = websocket(
        {"ticket": {"type": "dynamic", "authenticator": "org.probed.missing", "authenticator-realm": "realm1"}}
    )
    careless = {"wide": {"type": "websocket", "auth": function("strong"), "options": {"show_server_version": True}}}
    bound = {kind: websocket(function(kind)) for kind in ("strong", "binding")}
    tls = {"key": f"{certificates}/server.key", "certificate": f"{certificates}/server.pem"}
    return {
        "version": 2,
        "workers": [
            {
                "type": "router",
                "options": {"pythonpath": [folder]},
                "realms": [{"name": "realm1", "roles": roles()}],
                "components": [
                    {"type": "class", "classname": "authorizer.Authorizer", "realm": "realm1", "role": "backend"}
                ],
                "transports": [
                    web({"port": port}, paths, client_timeout=10),
                    web({"port": careless_port}, careless),
                    web({"port": tls_port, "tls": tls}, bound, client_timeout=10),
                ],
            }
        ],
    }


def web(endpoint: dict[str, Any], paths: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "type": "web",
        "endpoint": {"type": "tcp", "interface": "127.0.0.1", **endpoint},
        "options": options,
        "paths": {"/": {"type": "json", "value": {}}, **paths},
    }


def websocket(auth: dict[str, Any]) -> dict[str, Any]:
    return {"type": "websocket", "serializers": ["json"], "auth": auth, "options": LIMITS}


def function(kind: str) -> dict[str, Any]:
    return {
        "ticket": {"type": "function", "create": f"authenticators.ticket_{kind}"},
        "cryptosign": {"type": "function", "create": f"authenticators.key_{kind}"},
    }


def roles() -> list[dict[str, Any]]:
    everything = {"call": True, "publish": True, "subscribe": True, "register": True}
    exact = [
        {"uri": TOPIC, "match": "exact", "allow": {"subscribe": True}},
        {"uri": PROCEDURE, "match": "exact", "allow": {"call": True}},
    ]
    return [
        {"name": "tight", "permissions": exact},
        {"name": "bound", "authorizer": "org.probed.authorize"},
        {"name": "open", "permissions": [{"uri": "", "match": "prefix", "allow": everything}]},
        {"name": "backend", "permissions": [{"uri": "org.probed.", "match": "prefix", "allow": everything}]},
    ]
