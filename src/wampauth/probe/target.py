"""Whom do we probe, as whom, and from where?"""

import ipaddress
import os
import secrets
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nacl.signing import SigningKey
from websockets.exceptions import InvalidHandshake, InvalidMessage, NegotiationError
from websockets.sync.client import connect

from wampauth.probe.answers import Answer, Redactor
from wampauth.probe.budget import Budget
from wampauth.probe.client import Client

OPEN = 5.0  # seconds for TCP, TLS and the opening handshake, each
LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
BINDING = "tls-unique"


class Unreachable(Exception):
    """There is no router that we could talk to, or a credential isn't what it was said to be. The text says why."""


class Turned(Exception):
    """The opening handshake was refused. The text says how."""


@dataclass(frozen=True)
class Address:
    """What a URL stands for.

    :ivar addresses: IP addresses of the host. All of them are checked, and the first is used throughout.
    """

    url: str
    host: str
    port: int
    is_secure: bool
    addresses: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold a secret."""
        return self.url.partition("?")[0]

    @property
    def is_loopback(self) -> bool:
        """Whether all of them are this machine's own."""
        return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in self.addresses)


def resolve(url: str) -> Address:
    """Read a URL, and look its host up, once.

    :raises ValueError: if it isn't a ``ws://`` or ``wss://`` URL, or carries a user's name.
    :raises Unreachable: if there is no such host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError("the URL of a router begins with ws:// or wss://")
    if parts.username is not None or parts.fragment:
        raise ValueError("a URL of a router has neither a user's name nor a fragment")
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{parts.hostname}: {error.strerror}") from None
    found.sort(key=lambda one: one[0] != socket.AF_INET)  # that has more than one loopback address
    return Address(
        url, parts.hostname, port, parts.scheme == "wss", tuple(dict.fromkeys(str(one[4][0]) for one in found))
    )


@dataclass
class Target:
    """A router, the principal whose authentication is tried there, and what may be used for it.

    :ivar ticket: the true ticket, if it is known.
    :ivar key: the private key, if it is known; it is `key_authid`'s, in the realm `key_realm`.
    :ivar note: why a credential that was given isn't used.
    :ivar binding: the channel binding that the key is used with.
    :ivar methods: those of ``ticket`` and ``cryptosign`` that the router offers.
    """

    address: Address
    realm: str
    authid: str
    budget: Budget = field(default_factory=Budget)
    ticket: str | None = None
    key: SigningKey | None = None
    key_realm: str = ""
    key_authid: str = ""
    topic: str | None = None
    procedure: str | None = None
    note: str = ""
    trust: ssl.SSLContext | None = None
    binding: str | None = None
    methods: set[str] = field(default_factory=set)
    redact: Redactor = field(init=False)

    def __post_init__(self) -> None:
        self.key_realm, self.key_authid = self.key_realm or self.realm, self.key_authid or self.authid
        self.redact = Redactor([*filter(None, [self.ticket]), *([bytes(self.key)] if self.key else [])])
        self.has_addresses = self._has_addresses()

    def connect(
        self, source: str | None = None, origin: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Client:
        """Open a WebSocket connection.

        :param source: the address that we come from.
        :raises Turned: if the router refuses the opening handshake.
        :raises OSError: if it can't be reached.
        """
        sock = self.tcp(source)
        try:
            connection = connect(
                self.address.url,
                sock=sock,
                ssl=self.trust if self.address.is_secure else None,
                server_hostname=self.address.host if self.address.is_secure else None,
                origin=origin,  # type: ignore[arg-type]
                additional_headers=headers,
                subprotocols=["wamp.2.json"],  # type: ignore[list-item]
                compression=None,
                proxy=None,
                open_timeout=self.budget.patience(OPEN),
                ping_interval=None,
                close_timeout=0.5,
            )
        except TimeoutError:
            sock.close()
            raise
        except (InvalidHandshake, InvalidMessage, NegotiationError, EOFError) as error:
            sock.close()
            raise Turned(self.redact(str(error))) from None
        if connection.subprotocol is None:
            connection.close()
            raise Turned("it doesn't take wamp.2.json")
        return Client(self, connection)

    def tcp(self, source: str | None = None) -> socket.socket:
        """Open a TCP connection, without TLS.

        :raises OSError: if it can't be reached.
        """
        self.budget.connection()
        wait, origin = self.budget.patience(OPEN), (source, 0) if source else None
        sock = socket.create_connection((self.address.addresses[0], self.address.port), wait, origin)
        sock.settimeout(None)
        if os.name == "posix":  # a router that doesn't read mustn't hold us either
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(OPEN), 0))
        return sock

    def source(self) -> str | None:
        """An address of ours that hasn't been used so far; None if we have but one."""
        if not self.has_addresses:
            return None
        return ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])

    @contextmanager
    def joined(self, source: str | None = None) -> Iterator[tuple[Client, Answer]]:
        """A connection on which an honest login has been tried, with the ticket or else the key, and its end."""
        with self.connect(source or self.source()) as client:
            if self.ticket:
                yield client, client.ticket(self.ticket)
            else:
                yield client, self.join_with_key(client)

    def join_with_key(self, client: Client, **claims: Any) -> Answer:
        """A login with the true key, claiming something or nothing; the last answer."""
        assert self.key
        answer = client.key(self.key, self.binding, **claims)
        return client.authenticate(client.signed(self.key, answer, self.binding)) if answer.challenge else answer

    def _has_addresses(self) -> bool:
        """Whether the router is on a loopback interface that has more than one address, as Linux has it."""
        if ipaddress.ip_address(self.address.addresses[0].partition("%")[0]) not in LOOPBACK:
            return False
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
            try:
                sock.bind(("127.1.2.3", 0))
            except OSError:
                return False
        return True
