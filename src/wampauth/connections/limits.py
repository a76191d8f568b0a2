"""What can be set for connections? The section ``"connections"`` in the ``extra`` of ``Sessions``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from wampauth.settings import SettingsError

DIFFERENT = "setting 'connections' isn't what the component before this one has said: there is one for the process"


@dataclass(frozen=True)
class Limits:
    """How long, and how many of them, strangers may stay."""

    watch: bool = True  # False: nothing is closed
    login_grace: float = 10.0  # seconds from the connection to the session
    per_address: int = 100  # connections that haven't joined, of one IPv4 address or IPv6 /64
    in_all: int = 500  # connections that haven't joined
    spared: float = 5.0  # seconds for which a connection stays, however many there are
    attempts: int = 5  # to log in, on one connection

    @classmethod
    def from_config(cls, section: Any) -> "Limits":
        """Check the section.

        :raises SettingsError: for an unknown name, a value of the wrong type, or one out of range.
        """
        if not isinstance(section, Mapping):
            raise SettingsError(f"setting 'connections' must be an object, not {json.dumps(section, default=str)}")
        known: dict[str, Any] = {one.name: one.type for one in fields(cls)}
        for name, value in section.items():
            if name not in known:
                raise SettingsError(f"unknown setting {name!r} under 'connections': use one of {', '.join(known)}")
            kind = known[name]
            if isinstance(value, bool) is not (kind is bool) or not isinstance(
                value, (int, float) if kind is float else kind
            ):
                raise SettingsError(f"setting {name!r} must be of type {kind.__name__}, not {json.dumps(value)}")
            if kind is not bool and not 0 < value < 1e9:
                raise SettingsError(f"setting {name!r} must be a positive number, not {json.dumps(value)}")
        return cls(**section)
