"""What can be set? The section ``"guard"`` in the ``extra`` of a component.

Everything has a default that fits a demo on loopback. An unknown name or a value of the wrong type stops the node. What
else there is in ``extra`` belongs to the author's checks.
"""

import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any, get_args, get_origin

from wampauth import names

LOCAL = ("loopback", "unix")
BY_THE_ROUTER = ("cbdir",)  # what Crossbar.io adds to a component's extra
OURS = ("guard", "roles", "connections")  # the sections that we read
MOST_FOR_A_TICKET = 16_384  # characters; a transport lets 65,536 bytes through


class SettingsError(ValueError):
    """The configuration is wrong. The text says where, and what is expected."""


@dataclass(frozen=True)
class Settings:
    """How logins are guarded. Paths are relative to the node directory, ``.crossbar``."""

    audit: str = "audit.jsonl"
    refusal_delay: float = 0.25  # seconds from an attempt to a "no", whatever the cause
    deadline: float = 5.0  # seconds after which an attempt that has found no answer is given up
    failures_at_once: int = 10  # for one (authid or public key, address) pair
    failures_per_second: float = 1.0  # that come back to a pair
    address_factor: int = 10  # times that for an address, whoever it claims to be
    throttle_entries: int = 100_000  # pairs and addresses to remember
    remember_tickets: bool = True  # that a chosen ticket was right a moment ago; False holds for the whole process
    longest_ticket: int = 1024  # characters, at most 16,384: a JWT may need more than a ticket that was made here
    trusted_proxies: tuple[str, ...] = ()  # addresses that are believed whose connection they forward
    shared: bool = False  # the component has twins in other processes, and takes turns with them
    oldest_leaves: bool = False  # when a principal has more sessions than it may; else the newest
    require_tls: bool = False  # tickets and keys only over TLS
    require_channel_binding: bool = False  # keys only with a signature that is bound to the TLS connection
    plain_from: tuple[str, ...] = ()  # "loopback", "unix": where neither of these two is required
    private_files: tuple[str, ...] = ()  # files and folders that are only for their owner, beside the store
    decoy: tuple[str, ...] = ()  # a realm and a role: as whom unknown people are challenged (WAMP-SCRAM, WAMP-CRA)
    metrics: int = 0  # a port of 127.0.0.1 at which Prometheus may ask this process; 0: none
    admission_key: str = ""  # file of 32 bytes or more, the same for authenticators and `Sessions` in other processes

    @classmethod
    def from_config(cls, guard: Any) -> "Settings":
        """Check the section ``"guard"`` of a component's ``extra``.

        :raises SettingsError: for an unknown name, a value of the wrong type, or one out of range.
        """
        return cls(**{name: _checked(name, value, kind) for name, value, kind in entries("guard", guard, cls)})


def split(extra: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part a component's ``extra`` into what belongs to the author's checks, and the sections that are ours.

    :raises SettingsError: for what would be taken for the checks' own, and can only be meant for the guard.
    """
    given = {name: value for name, value in (extra or {}).items() if name not in BY_THE_ROUTER}
    ours = {name: given.pop(name) for name in OURS if name in given}
    for name, value in given.items():
        if name in Settings.__dataclass_fields__:
            raise SettingsError(f"setting {name!r} belongs into the section 'guard'")
        if isinstance(value, Mapping) and get_close_matches(name.lower(), ["guard"], cutoff=0.8):
            raise SettingsError(f"unknown setting {name!r}: the section for the guard is called 'guard'")
    return given, ours


def entries(name: str, section: Any, known: Any) -> Iterator[tuple[str, Any, Any]]:
    """What stands in a section: the name of each setting, its value, and its type.

    :param known: the dataclass whose fields are the settings that there are.
    :raises SettingsError: if it is no object, or for an unknown name.
    """
    if not isinstance(section, Mapping):
        raise SettingsError(f"setting {name!r} must be an object, not {json.dumps(section, default=str)}")
    kinds = {field.name: field.type for field in fields(known)}
    for one, value in section.items():
        if one not in kinds:
            raise SettingsError(f"unknown setting {one!r} under {name!r}: use one of {', '.join(kinds)}")
        yield one, value, kinds[one]


def require_type(name: str, value: Any, kind: Any) -> None:
    """:raises SettingsError: for a value of another type, or a number out of range."""
    if isinstance(value, bool) is not (kind is bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise SettingsError(f"setting {name!r} must be of type {kind.__name__}, not {json.dumps(value)}")
    if kind in (int, float) and not 0 < value < 1e9 and not (name == "refusal_delay" and value == 0):
        raise SettingsError(f"setting {name!r} must be a positive number, not {json.dumps(value)}")


def _checked(name: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is tuple:
        if not (isinstance(value, list) and all(isinstance(item, get_args(kind)[0]) for item in value)):
            raise SettingsError(f"setting {name!r} must be a list of strings, not {json.dumps(value)}")
        return _place(value) if name == "decoy" else tuple(_member(name, item) for item in value)
    require_type(name, value, kind)
    if name == "metrics":
        _require_metrics(value)
    if name == "longest_ticket" and value > MOST_FOR_A_TICKET:
        raise SettingsError(f"setting {name!r} must be at most {MOST_FOR_A_TICKET}, not {value}")
    return value


def _place(value: list[str]) -> tuple[str, ...]:
    try:
        realm, role = value
        return names.realm(realm), names.role(role)
    except ValueError as wrong:
        raise SettingsError(f"setting 'decoy' must be a realm and a role, not {json.dumps(value)}: {wrong}") from None


def _require_metrics(port: Any) -> None:
    if port > 65_535:
        raise SettingsError(f"setting 'metrics' must be a port, at most 65535, not {port}")
    if find_spec("prometheus_client") is None:
        raise SettingsError("for the setting 'metrics', prometheus_client is needed: `pip install wampauth[metrics]`")


def _member(name: str, value: str) -> str:
    if name == "plain_from" and value not in LOCAL:
        raise SettingsError(f"setting {name!r} may list {' and '.join(LOCAL)}, not {json.dumps(value)}")
    try:
        return str(ip_address(value)) if name == "trusted_proxies" else value
    except ValueError:
        raise SettingsError(f"setting {name!r} must list IP addresses, not {json.dumps(value)}") from None


def require_private(path: str) -> None:
    """See that nobody but its owner can read a file, or enter a folder.

    :raises SettingsError: if somebody else can.
    """
    right = 700 if Path(path).is_dir() else 600
    if (mode := stat.S_IMODE(Path(path).stat().st_mode)) & 0o077:
        raise SettingsError(f"{path} can be read or written by others (mode {mode:04o}): `chmod {right} {path}`")
