"""Dynamic authenticators for Crossbar.io: you say who it is, the library does the rest.

What :data:`__all__` names is stable from 2.0 on.
"""

from wampauth.authenticator import Authenticator
from wampauth.claims import Answer, Check, KeyClaim, Origin, Principal, Refused, TicketClaim
from wampauth.settings import SettingsError
from wampauth.store import Changes, OpenStore, Store, open_store
from wampauth.store.engine import StoreError

__version__ = "2.0.0"
__all__ = [
    "Answer",
    "Authenticator",
    "Changes",
    "Check",
    "KeyClaim",
    "OpenStore",
    "Origin",
    "Principal",
    "Refused",
    "SettingsError",
    "Store",
    "StoreError",
    "TicketClaim",
    "open_store",
]
