"""Of whose sessions do we hear? Only where that is of all can a connection without one be a stranger's."""

from twisted.logger import Logger

UNWATCHED = (
    "clients join {realm}, which has no Sessions component in this process: connections of strangers aren't bounded. "
    "Give each realm that clients can join one"
)


class Heard:
    """The realms whose sessions we hear of, and those that clients join.

    :ivar behind_proxies: whether sessions come through proxies: their connections are known by other peers.
    """

    log = Logger()

    def __init__(self) -> None:
        """Of none, to begin with."""
        self._told: list[str] = []  # a realm once for each component that tells of its sessions
        self._joined: set[str] = set()
        self.behind_proxies = False

    def begin(self, realm: str) -> None:
        """One component more tells of all sessions of `realm`."""
        self._told.append(realm)

    def end(self, realm: str) -> None:
        """One of these tells no more."""
        if realm in self._told:
            self._told.remove(realm)

    def joins(self, realm: str) -> None:
        """Clients may join `realm`. The log tells, once, if we don't hear of these."""
        if realm not in self._joined:
            self._joined.add(realm)
            if realm not in self._told:
                self.log.error(UNWATCHED, realm=realm)

    @property
    def of_any(self) -> bool:
        """Whether we hear of some sessions."""
        return bool(self._told)

    @property
    def of_all(self) -> bool:
        """Whether there are none that we don't hear of, or couldn't tell whose connection they have."""
        return not self.behind_proxies and self._joined <= {*self._told}
