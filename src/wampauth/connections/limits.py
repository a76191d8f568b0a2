"""What can be set for connections? The section ``"connections"`` in the ``extra`` of ``Sessions``."""

from dataclasses import dataclass
from typing import Any

from wampauth.settings import entries, require_type

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
        for name, value, kind in entries("connections", section, cls):
            require_type(name, value, kind)
        return cls(**section)
