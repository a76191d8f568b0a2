"""What comes of a message for a client whose connection is being closed, or of an event that can't be written for one?

For a moment its session is there still. By itself Crossbar.io 26.10.1 fails over it: an event doesn't reach those whose
turn would have come later, a component that hears who joins among them, and a traceback is written. Here it is passed
over, as it is if the connection is closed. So is an event with a value that this client's serializer doesn't have.
"""

from typing import Any

from autobahn.wamp.exception import SerializationError
from autobahn.wamp.message import Event

from wampauth.worker.goodbye import HUNG_UP


def pass_over() -> None:
    """Change the router: that module has just been loaded."""
    from crossbar.router.router import Router

    send = Router.send

    def sent(self: Any, session: Any, message: Any) -> None:
        try:
            send(self, session, message)
        except HUNG_UP:  # the end of the session is on its way
            return
        except SerializationError:
            if not isinstance(message, Event):  # somebody waits for an answer
                raise

    Router.send = sent
