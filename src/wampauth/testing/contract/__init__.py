"""Does a store of your own keep what is asked of one? A class for pytest, to be subclassed with four hooks::

    class TestMyStore(StoreContract):
        def make(self, tmp_path): ...
        def add(self, store, *, principal, ticket, pubkey): ...
        def revoke(self, store, credential): ...
        def close(self, store): ...

and a fifth, ``kept(self, principal)``, where the store has no place for each realm, role or extra.

Each hook, as each method of the store, may be a coroutine function, return a Deferred, or do its work at once. All are
called in the thread of Twisted's reactor, which runs until the tests are over. Fixtures of your own may be ``autouse``.
"""

from wampauth.testing.contract.certificates import CertificatesContract
from wampauth.testing.contract.enrols import EnrolsContract
from wampauth.testing.contract.live import LiveSessions
from wampauth.testing.contract.logins import Logins
from wampauth.testing.contract.passwords import ScramContract
from wampauth.testing.contract.reaching import ReachingContract

__all__ = ["CertificatesContract", "EnrolsContract", "ReachingContract", "ScramContract", "StoreContract"]


class StoreContract(Logins, LiveSessions):
    """The contract of a ``Store``, as tests."""
