"""Does a test client read and write over TLS in two threads, one after the other?"""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trustme

from wampauth.testing.tls import OneAtATime


@pytest.fixture
def connected() -> Iterator[OneAtATime]:
    """A connection to a server that sends back what it gets, in TLS 1.3: after the handshake, tickets come."""
    authority = trustme.CA()
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(asking)
    asking.sslsocket_class = OneAtATime
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            taken, _ = listening.accept()
            with serving.wrap_socket(taken, server_side=True) as peer:
                while data := peer.recv(100):
                    peer.sendall(data)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        plain = socket.create_connection(listening.getsockname(), timeout=10)
        with asking.wrap_socket(plain, server_hostname="localhost") as made:
            assert isinstance(made, OneAtATime)
            yield made
        server.join(10)


def test_who_waits_keeps_nobody_from_writing(connected: OneAtATime) -> None:
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(connected.recv(100)), daemon=True)
    reader.start()
    connected.sendall(b"hello")
    reader.join(10)
    assert heard == [b"hello"]


def test_one_waits_as_long_as_was_said(connected: OneAtATime) -> None:
    connected.settimeout(0.01)
    with pytest.raises(TimeoutError):
        connected.recv()
    connected.settimeout(10)
    connected.sendall(b"hello")
    assert connected.recv() == b"hello"


def test_who_waits_hears_of_the_end(connected: OneAtATime) -> None:
    def read_to_the_end() -> None:
        with suppress(OSError):  # the server may have taken it amiss
            while connected.recv(100):
                pass

    reader = threading.Thread(target=read_to_the_end, daemon=True)
    reader.start()
    connected.shutdown(socket.SHUT_RDWR)
    reader.join(10)
    assert not reader.is_alive()
    connected.close()
    with pytest.raises(OSError, match=r"closed|descriptor"):
        connected.recv()
