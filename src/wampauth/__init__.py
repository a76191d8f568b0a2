"""Dynamic authenticators for Crossbar.io: you say who it is, the library does the rest.

What :data:`__all__` names is stable from 2.0 on.
"""

from typing import TYPE_CHECKING, Any

from wampauth.claims import (
    Answer,
    Check,
    CraClaim,
    KeyClaim,
    Origin,
    Principal,
    Refused,
    ScramClaim,
    ScramVerifier,
    TicketClaim,
    TlsClaim,
)
from wampauth.settings import SettingsError
from wampauth.store import Certificates, Changes, Enrols, OpenStore, Reaching, Scram, Store, open_store
from wampauth.store.engine import StoreError

if TYPE_CHECKING:
    from wampauth.authenticator import Authenticator

__version__ = "2.0.0"
__all__ = [
    "Answer",
    "Authenticator",
    "Certificates",
    "Changes",
    "Check",
    "CraClaim",
    "Enrols",
    "KeyClaim",
    "OpenStore",
    "Origin",
    "Principal",
    "Reaching",
    "Refused",
    "Scram",
    "ScramClaim",
    "ScramVerifier",
    "SettingsError",
    "Store",
    "StoreError",
    "TicketClaim",
    "TlsClaim",
    "open_store",
]


if not TYPE_CHECKING:  # to whom any name would do then

    def __getattr__(name: str) -> Any:
        """Import the authenticator when it is asked for: with the router's code that takes most of a second, and the
        operator's commands do without."""
        if name == "Authenticator":
            from wampauth.authenticator import Authenticator

            return Authenticator
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
