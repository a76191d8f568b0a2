"""How long may a stranger hold a connection without joining? Four kinds, all at once."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from wampauth.probe.answers import Answer
from wampauth.probe.budget import Spent
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, Found
from wampauth.probe.target import Target, Turned

LONGEST = 15.0  # seconds
DRIP = 1.0  # seconds from one header to the next

Wait = Callable[[Target], Found]


def run(target: Target) -> Iterator[Found]:
    """The rows ``idle-tcp``, ``idle-headers``, ``idle-websocket`` and ``idle-challenge``."""
    waits: dict[str, Wait] = {"idle-tcp": _tcp, "idle-headers": _headers, "idle-websocket": _websocket}
    waits["idle-challenge"] = _challenge
    with ThreadPoolExecutor(len(waits)) as pool:
        for name, future in {name: pool.submit(wait, target) for name, wait in waits.items()}.items():
            try:
                yield future.result()
            except (OSError, Turned, Spent) as error:
                yield Found(name, CANT_TELL, target.redact(str(error)))


def _tcp(target: Target) -> Found:
    with closing(target.tcp()) as sock:
        return _judge("idle-tcp", _until_closed(target, sock))


def _headers(target: Target) -> Found:
    address = target.address
    with closing(target.tcp()) as plain:
        sock: socket.socket = plain
        if address.is_secure:
            assert target.trust
            plain.settimeout(target.budget.patience(5.0))
            sock = target.trust.wrap_socket(plain, server_hostname=address.host)
        with closing(sock):
            return _judge("idle-headers", _drip(target, sock))


def _drip(target: Target, sock: socket.socket) -> float | None:
    """Send a header each second; when the router has hung up, or None if it hasn't."""
    lines = [b"GET / HTTP/1.1\r\n", f"Host: {target.address.host}\r\n".encode()]
    lines += [f"X-Probe-{number}: 1\r\n".encode() for number in range(int(LONGEST / DRIP))]
    began = time.monotonic()
    for line in lines:
        left = LONGEST - (time.monotonic() - began)
        if left <= 0:
            break
        target.budget.message()
        try:
            sock.sendall(line)
        except OSError:
            return time.monotonic() - began
        if _until_closed(target, sock, min(DRIP, left)) is not None:
            return time.monotonic() - began
    return None


def _until_closed(target: Target, sock: socket.socket, longest: float = LONGEST) -> float | None:
    """When the router has hung up, or None if it hasn't by then. What it says is read and dropped."""
    began = time.monotonic()
    while (left := longest - (time.monotonic() - began)) > 0:
        sock.settimeout(target.budget.patience(left))
        try:
            if not sock.recv(4096):
                return time.monotonic() - began
        except TimeoutError:
            target.budget.patience(left)
        except OSError:
            return time.monotonic() - began
    return None


def _websocket(target: Target) -> Found:
    with target.connect() as client:
        return _silent("idle-websocket", client.answer(LONGEST))


def _challenge(target: Target) -> Found:
    if "ticket" not in target.methods:
        return Found("idle-challenge", CANT_TELL, "the router doesn't offer ticket, which challenges everybody")
    with target.connect() as client:
        answer = client.hello("ticket", target.authid)
        if answer.kind != "CHALLENGE":
            return Found("idle-challenge", CANT_TELL, f"to HELLO: {answer}")
        began = time.monotonic()
        answer = client.answer(LONGEST)
        if answer.kind == "ABORT":  # said before hanging up
            answer = client.answer(max(0.5, LONGEST - (time.monotonic() - began)))
        return _silent("idle-challenge", answer)


def _silent(name: str, answer: Answer) -> Found:
    if answer.kind == "closed":
        return Found(name, HOLDS, f"{answer}, after {answer.seconds:.0f} s")
    return Found(name, FALLS, f"open after {LONGEST:g} s" if answer.kind == "nothing" else str(answer))


def _judge(name: str, closed: float | None) -> Found:
    if closed is None:
        return Found(name, FALLS, f"open after {LONGEST:g} s")
    return Found(name, HOLDS, f"closed after {closed:.0f} s")
