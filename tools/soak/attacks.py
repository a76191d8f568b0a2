"""What can a stranger try? Each function makes one attempt, over a way, with a serializer and from an address that are
its own choice; :func:`make` repeats it for some seconds, in threads. What bounds them: docs/strangers.md.

``SHARED`` is the address of honest clients, too: from there comes what only takes places and time. What is guessed
comes from others, since an address that guesses is throttled.
"""

import json
import secrets
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import wall_clock
from attacker import ELSEWHERE, SHARED, Attacker, Target
from strangers import GUESSING, HELLO1, STEPS, Crowd, many_files, nest
from wires import Wire, ways

from wampauth.testing.wamp import (
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    GOODBYE,
    HELLO,
    RESULT,
    ROLES,
    WELCOME,
    sign,
)

THREADS = 3  # that make the same attack at once
CROWD = 1200  # connections that wait
AT_ONCE = 150  # attempts
OUTAGE = 1.5  # seconds for which the store is away
NONSENSE: list[bytes | list[Any]] = [
    [HELLO, "", {"roles": ROLES}],
    [HELLO, "realm1", {}],
    [HELLO, None, None],
    [999, 1],
    [AUTHENTICATE, None, {}],
    [CALL, 1, {}, "com.example.add2"],
    [WELCOME, 1, {}],
    ["HELLO", "realm1", {}],
    b"",
    b"\xff\xfe\xfd",
    b"x" * 70_000,
]


def deep_nesting(attacker: Attacker) -> None:
    with attacker.open() as wire:
        if attacker.random.random() < 0.5:
            wire.send(HELLO1)
        wire.send_raw(nest(wire.way.serializer))
        wire.ends(2.0)


def connections_that_wait(attacker: Attacker) -> None:
    """As many as come again, when they are cut off, until the end. Of all threads together."""
    number, step = CROWD // THREADS, attacker.random.choice(list(STEPS))
    sources = tuple(ELSEWHERE) if step == GUESSING else (SHARED, *ELSEWHERE[:2])
    crowd = Crowd(attacker.way(), step, number, sources)
    if not crowd.way.websocket and step == "dripping headers":
        crowd.step = "no HELLO"
    threading.Timer(max(0.0, attacker.until - time.monotonic()), crowd.stop).start()
    crowd.run()
    attacker.got["connections"] += crowd.made
    for connection in crowd.held:
        connection.close()


def again_after_abort(attacker: Attacker) -> None:
    with attacker.open_for_tickets() as wire:
        for number in range(20):
            attacker.guess(wire, f"nobody{number}")
            attacker.note(wire.receive())


def replay_after_goodbye(attacker: Attacker) -> None:
    """With a key of his own, which lets him in once."""
    with attacker.open_for_tickets() as wire:
        challenge = attacker.show(wire)
        if challenge[0] != CHALLENGE:
            return
        proof = [AUTHENTICATE, sign(attacker.device, challenge), {}]
        wire.send(proof)
        if wire.receive()[0] != WELCOME:
            return
        again = [[GOODBYE, {}, "wamp.close.normal"], proof, [CALL, 1, {}, "com.example.add2", [2, 3]]]
        for batch in [again] if attacker.random.random() < 0.5 else [[message] for message in again]:
            wire.send(*batch)
        wire.socket.settimeout(1.0)
        while True:  # until it is cut off, or nothing more comes
            attacker.got["joined"] += wire.receive()[0] == RESULT


def a_key_that_is_shown(attacker: Attacker) -> None:
    with attacker.open_for_tickets() as wire:
        for _ in range(10):
            attacker.note(attacker.show(wire))


def nonsense(attacker: Attacker) -> None:
    with attacker.open() as wire:
        said = attacker.random.choice(NONSENSE)
        if attacker.random.random() < 0.5:
            wire.send(HELLO1)
        if isinstance(said, bytes):
            wire.send_raw(said)
        else:
            wire.send(said)
        wire.ends(0.2)


def refusals(attacker: Attacker) -> None:
    with attacker.open_for_tickets() as wire:
        attacker.guess(wire, secrets.token_hex(8))
        attacker.note(wire.receive())


def a_rotated_audit(attacker: Attacker) -> None:
    """By another program: not what a stranger can do, but what happens meanwhile."""
    with suppress(FileNotFoundError):
        (attacker.target.directory / "audit.attempts.jsonl").rename(attacker.target.directory / "rotated.jsonl")
    refusals(attacker)
    time.sleep(0.5)


def steps_of_the_wall_clock(attacker: Attacker) -> None:
    wall_clock.be_off_by(attacker.target.directory, attacker.random.choice([-7200, 0, 7200]))
    refusals(attacker)
    time.sleep(0.5)


def attempts_at_once(attacker: Attacker) -> None:
    wires: list[Wire] = []
    try:
        source, authid = attacker.random.choice(ELSEWHERE), "nobody"
        way = ways(attacker.target)["wss"]
        for _ in range(AT_ONCE // THREADS):
            wires.append(way.open(source))
            wires[-1].send([*HELLO1[:2], {**HELLO1[2], "authid": authid}])
        for wire in wires:
            wire.send([AUTHENTICATE, "guess", {}])
        for wire in wires:
            wire.receive()
            attacker.note(wire.receive())
    finally:
        for wire in wires:
            wire.socket.close()


def an_outage_of_the_store(attacker: Attacker) -> None:
    """Clients try on meanwhile. It is away once an attack, while one of the threads waits."""
    store = attacker.target.directory / "principals.db"
    away = store.with_suffix(".away")
    if not attacker.got["turns"] > 1 and not away.exists():
        with suppress(FileNotFoundError):  # another thread has been faster
            store.rename(away)
            attacker.got["outages"] += 1
            time.sleep(OUTAGE)
            away.rename(store)
            time.sleep(1.0)  # until the node has seen that
    refusals(attacker)


def guesses_at_chosen_tickets(attacker: Attacker) -> None:
    with attacker.open_for_tickets() as wire:
        attacker.guess(wire, "client1", secrets.token_hex(4))
        attacker.note(wire.receive())


def http2(attacker: Attacker) -> None:
    context = ssl.create_default_context(cafile=attacker.target.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(("127.0.0.1", attacker.target.tls_port), 5)
    with context.wrap_socket(plain, server_hostname="localhost") as secure:
        attacker.got["h2"] += secure.selected_alpn_protocol() == "h2"
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100))
        secure.settimeout(0.5)
        secure.recv(1000)


def foreign_origins(attacker: Attacker) -> None:
    with ways(attacker.target)["wss"].dial(attacker.random.choice(ELSEWHERE)) as connection:
        connection.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Origin: http://" + secrets.token_hex(1000).encode() + b"\r\n\r\n"
        )
        attacker.got["joined"] += b" 101 " in connection.recv(1000)


ATTACKS: dict[str, Callable[[Attacker], None]] = {
    attack.__name__.replace("_", " "): attack
    for attack in (
        *(deep_nesting, connections_that_wait, again_after_abort, replay_after_goodbye, a_key_that_is_shown),
        *(nonsense, refusals, a_rotated_audit, steps_of_the_wall_clock, attempts_at_once, an_outage_of_the_store),
        *(guesses_at_chosen_tickets, http2, foreign_origins),
    )
}


def make(name: str, target: Target, seconds: float, seed: int) -> Counter[str]:
    """Make an attack for so long, and return what it got. ``joined`` counts those who mustn't have."""
    until = time.monotonic() + seconds
    attackers = [Attacker(target, f"{seed}-{number}", until) for number in range(THREADS)]

    def repeat(attacker: Attacker) -> None:
        while time.monotonic() < until:
            attacker.got["turns"] += 1
            try:
                ATTACKS[name](attacker)
            except (OSError, EOFError):
                attacker.got["cut off"] += 1

    threads = [threading.Thread(target=repeat, args=(attacker,)) for attacker in attackers]
    with many_files():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wall_clock.be_off_by(target.directory, 0)
    return sum((attacker.got for attacker in attackers), Counter())


def main(job: dict[str, Any]) -> None:
    """Make attacks one after the other, and tell of each, in JSON, when it begins and when it is over."""
    target = Target(Path(job["directory"]), job["port"], job["tls_port"], Path(job["ca"]), bytes.fromhex(job["seed"]))
    for number, name in enumerate(job["attacks"]):
        print(json.dumps({"begins": name}), flush=True)
        got = make(name, target, job["seconds"], job["number"] + number)
        print(json.dumps({"ends": name, "got": got}), flush=True)


if __name__ == "__main__":
    import sys

    main(json.loads(sys.argv[1]))
