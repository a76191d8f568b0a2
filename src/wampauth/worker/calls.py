"""Who may answer a call, and what is kept of one?

By itself Crossbar.io 26.10.1 takes the ERROR of any session for that of the callee, if only it names the invocation,
and these are counted from 1: so anybody in a realm could answer the calls of all, the authorizer's among them. It fails
when it has to tell a caller, whose connection is being closed, that the callee has gone, and then the procedure can't
be registered any more. And it keeps for ever what was cancelled, and whose caller has gone, once it is answered.
"""

from typing import Any

from autobahn.wamp.exception import ApplicationError, ProtocolError
from autobahn.wamp.message import Call, Error

GONE = "callee disconnected from in-flight request"  # as the router says it


def see_to_calls() -> None:
    """Change the router's dealer: that module has just been loaded."""
    from crossbar.router.dealer import Dealer

    fail, remove, detach = Dealer.processInvocationError, Dealer._remove_invoke_request, Dealer.detach

    def failed(self: Any, session: Any, error: Any) -> None:
        asked = self._invocations.get(error.request)
        if asked and asked.callee is not session:
            raise ProtocolError("an ERROR for an invocation of somebody else's")  # as the router does for YIELD
        fail(self, session, error)

    def removed(self: Any, asked: Any) -> None:
        if asked.id in self._invocations:
            theirs = self._caller_to_invocations.setdefault(asked.caller, [])
            if asked not in theirs:
                theirs.append(asked)
        remove(self, asked)

    def detached(self: Any, session: Any) -> None:
        for asked in [*self._callee_to_invocations.get(session, ())]:
            if asked.caller is not session:
                gone = Error(Call.MESSAGE_TYPE, asked.call.request, ApplicationError.CANCELED, [GONE])
                self._router.send(asked.caller, gone)
                self._remove_invoke_request(asked)
        detach(self, session)

    Dealer.processInvocationError, Dealer._remove_invoke_request, Dealer.detach = failed, removed, detached
