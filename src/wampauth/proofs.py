"""When does a client get its token back? At once, if it has proven who it is. But whoever is challenged has proven
nothing yet, and we never hear of a proof that is wrong: only of those that are right, and of those who join.
"""

from functools import partial
from typing import Any

from wampauth.admission import PASSWORD_PATIENCE, PATIENCE, Challenged
from wampauth.methods import METHODS
from wampauth.reports import Attempt
from wampauth.throttle import Throttle
from wampauth.turns import Turns
from wampauth.worker.proven import FIELD


class Proofs:
    """Gives tokens back: at once, when a challenge was met, or not at all."""

    def __init__(self, clock: Any, throttle: Throttle, turns: Turns, challenged: Challenged) -> None:
        """:param clock: the reactor, or in tests a ``twisted.internet.task.Clock``."""
        self._clock, self._throttle, self._turns, self._challenged = clock, throttle, turns, challenged

    def answered(self, attempt: Attempt) -> None:
        """It was no failure. But a key may be shown by anybody, since it isn't secret: its token comes back when the
        proof was right, or with time."""
        if METHODS[attempt.method].is_proven:
            self._throttle.give_back(attempt.subject, attempt.address)
            return
        if not METHODS[attempt.method].has_decoys:  # else nothing was shown, and nobody must see that one is known
            self._throttle.shown(attempt.address)
        self.wait_for(attempt)

    def wait_for(self, attempt: Attempt) -> None:
        """It stays under way until its proof was right, or might have been."""
        if attempt.origin.session is None:
            return
        by_name = METHODS[attempt.method].has_decoys
        pair, address = (attempt.address, attempt.subject), (attempt.address, None)
        attempt.unproven = (pair, address) if by_name else (pair,)
        patience = PASSWORD_PATIENCE if by_name else PATIENCE
        settle = partial(self._settle, attempt)
        attempt.receipt = self._challenged.wait_for(attempt.origin.session, self._clock, settle, patience)

    def told(self, attempt: Attempt) -> dict[str, Any]:
        """Where the router shall tell that the proof was right, as a field of the answer; nothing if it needn't."""
        return {FIELD: [self._challenged.procedure, attempt.receipt]} if attempt.receipt else {}

    def _settle(self, attempt: Attempt, is_proven: bool) -> None:
        """The client has proven who it is, or hasn't in time."""
        if is_proven:
            by_name = METHODS[attempt.method].has_decoys
            give_back = self._throttle.give_back if by_name else self._throttle.proven
            give_back(attempt.subject, attempt.address)
        self._turns.settle(attempt.subject, attempt.address, attempt.unproven)
