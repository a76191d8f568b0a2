"""Who hears of a proof that was right?

An authenticator gives the challenge; the router checks the proof, behind a proxy in another process, and says nothing
of it. So the authenticator's answer names a procedure of its own, and a receipt for this one challenge. Both stay
within the node: no client sees them, nor could tell in the router's place. When the proof was right, the procedure is
called with the receipt, once.
"""

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakValueDictionary

from autobahn.wamp.exception import TransportLost

FIELD = "wampauth_proven"  # of an authenticator's answer: [procedure, receipt]


class Hearing(Protocol):
    """What gives challenges."""

    def proven(self, session: Any, receipt: Any) -> None: ...


HERE: MutableMapping[str, Hearing] = WeakValueDictionary()  # what gives challenges in this process, by procedure


class Telling:
    """Goes in front of a class of the router's that checks a proof: one object for each HELLO."""

    _to_tell: Any = None

    def _assign_principal(self, principal: Any) -> Any:
        """The router's: this is what the authenticator has answered."""
        if isinstance(principal, dict):
            self._to_tell = principal.get(FIELD)
        return super()._assign_principal(principal)  # type: ignore[misc]

    def _accept(self) -> Any:
        """The router's: the proof was right."""
        this: Any = self
        told, self._to_tell = self._to_tell, None  # a client may send its proof again
        _tell(told, this._session_details["session"], this._authenticator_session)
        return super()._accept()  # type: ignore[misc]


def _tell(told: Any, session: int, caller: Any) -> None:
    """Tell whoever gave the challenge. If nobody can be told, what it has cost comes back with time.

    :param told: what the answer has under :data:`FIELD`; an author's own authenticator has nothing there.
    :param session: the id that the authenticator has heard.
    :param caller: the router's session in the authenticators' realm; None in the function wiring.
    """
    match told:
        case [str(procedure), str(receipt)]:
            if hearing := HERE.get(procedure):
                hearing.proven(session, receipt)
            elif caller is not None:
                with suppress(TransportLost):
                    caller.call(procedure, session, receipt).addErrback(lambda _: None)
