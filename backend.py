"""What is being protected? One procedure and a few topics in ``realm1``, for those who were let in.

The backend runs beside the router under the role ``backend``. Who may call and publish what stands in
``.crossbar/config.json``, under the role ``frontend``; this file need not care.
"""

from typing import Any

from autobahn.twisted.wamp import ApplicationSession
from autobahn.wamp.types import SessionDetails
from twisted.logger import Logger

TOPICS = ("com.example.topic1", "com.foobar.topic1")


class Backend(ApplicationSession):
    """Offers ``com.example.add2`` and listens to :data:`TOPICS`."""

    log = Logger()

    async def onJoin(self, details: SessionDetails) -> None:
        """Register and subscribe, or leave: a node without its backend must not come up."""
        try:
            await self.register(add2, "com.example.add2")
            for topic in TOPICS:
                await self.subscribe(self._received, topic)
        except Exception as error:
            self.log.error("the backend can't start: {error}", error=error)
            self.leave()
            raise

    def _received(self, *args: Any) -> None:
        self.log.info("event received: {args}", args=args)


def add2(x: float, y: float) -> float:
    """The sum of two numbers."""
    return x + y
