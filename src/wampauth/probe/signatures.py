"""What does WAMP-cryptosign take for a proof? Keys that are nobody's, and signatures that are forged or old."""

from collections.abc import Iterator

from nacl.signing import SigningKey

from wampauth.probe.answers import Answer
from wampauth.probe.client import Client
from wampauth.probe.report import CANT_TELL, FALLS, HOLDS, NOT_APPLICABLE, Found, verdict
from wampauth.probe.target import BINDING, Target
from wampauth.testing.wamp import AUTHENTICATE

# Points of order 1 and 4, as public keys (RFC 8032, section 8).
IDENTITY, ZERO = "01" + "00" * 31, "00" * 32
TRIES = {IDENTITY: 1, ZERO: 8}  # with a point of order 4, one challenge in four fits
FORGERIES = ("another key's", "one bit wrong", "zeros", "empty", "of another message")
FITS_ALL = IDENTITY + "00" * 32  # R is the identity and S is zero: it verifies wherever h times the key is the identity


def strangers(target: Target) -> Iterator[Found]:
    """The rows ``unknown-key`` and ``small-order``. No credential is needed."""
    key = SigningKey.generate()
    with target.connect(target.source()) as client:
        answer = _bound(target, client, key)
    yield Found("unknown-key", verdict(answer.kind == "WELCOME", answer), str(answer))
    for point, tries in TRIES.items():
        with target.connect(target.source()) as client:
            for _ in range(tries):
                answer = client.key(point)
                if answer.challenge:
                    answer = client.authenticate(FITS_ALL + answer.challenge)
                if answer.kind != "ABORT":
                    break
        if answer.kind == "WELCOME":
            yield Found("small-order", FALLS, f"{answer}, with the key {point[:8]}…")
            return
    yield Found("small-order", verdict(False, answer), f"{len(TRIES)} keys; the last: {answer}")


def _bound(target: Target, client: Client, key: SigningKey) -> Answer:
    """Log in with a key, bound to the connection where there is TLS."""
    binding = target.binding or (BINDING if target.address.is_secure else None)
    answer = client.key(key, binding)
    return client.authenticate(client.signed(key, answer, binding)) if answer.challenge else answer


def known(target: Target) -> Iterator[Found]:
    """The rows ``forged`` and ``replayed``. They need the key."""
    assert target.key
    with target.connect(target.source()) as client:
        first = client.key(target.key, target.binding)
        if not first.challenge:
            yield Found("forged", CANT_TELL, f"to HELLO: {first}")
            yield Found("replayed", CANT_TELL, f"to HELLO: {first}")
            return
        proof = client.signed(target.key, first, target.binding)
        joined = client.authenticate(proof)
    yield _forged(target)
    if joined.kind != "WELCOME":
        yield Found("replayed", CANT_TELL, f"the honest login: {joined}")
        return
    with target.connect(target.source()) as client:
        second = client.key(target.key, target.binding)
        answer = client.authenticate(proof)
        if answer.kind != "WELCOME" and second.challenge:
            behind = proof[:128] + second.challenge  # the old signature, and the new challenge for what is signed
            answer = client.authenticate(behind)
    twice = second.challenge == first.challenge
    came = f"{answer}{', and the challenge was the same' if twice else ''}"
    yield Found("replayed", verdict(twice or answer.kind == "WELCOME", answer), came)


def _forged(target: Target) -> Found:
    """Signatures that aren't the key's, each on a connection of its own, and then all on one challenge."""
    assert target.key
    answer = None
    for kinds in (*((kind,) for kind in FORGERIES), FORGERIES):
        with target.connect(target.source()) as client:
            said = client.key(target.key, target.binding)
            if not said.challenge:
                break
            for kind in kinds:
                answer = client.authenticate(_forgery(kind, target, client, said))
                if answer.kind == "WELCOME":
                    after = f", after {kinds.index(kind)} others on one challenge" if len(kinds) > 1 else ""
                    return Found("forged", FALLS, f"{answer}, with a signature that is {kind}{after}")
                if answer.kind == "closed":
                    break
    if answer is None:
        return Found("forged", CANT_TELL, "the key was challenged once, and then no more")
    return Found("forged", verdict(False, answer), f"{len(FORGERIES)} kinds; the last: {answer}")


def _forgery(kind: str, target: Target, client: Client, said: Answer) -> str:
    """A proof that isn't one."""
    assert target.key
    good = client.signed(target.key, said, target.binding)
    return {
        "another key's": client.signed(SigningKey.generate(), said, target.binding),
        "one bit wrong": f"{int(good[0], 16) ^ 1:x}{good[1:]}",
        "zeros": "00" * 64 + good[128:],
        "empty": "",
        "of another message": bytes(target.key.sign(bytes(32))).hex(),
    }[kind]


def after_goodbye(target: Target) -> Iterator[Found]:
    """The row ``after-goodbye``: with the key if there is one, since then nobody is asked again."""
    with target.connect(target.source()) as client:
        if target.key:
            said = client.key(target.key, target.binding)
            proof = client.signed(target.key, said, target.binding) if said.challenge else ""
            again, name = proof, "the old signature"
            joined = client.authenticate(proof) if proof else said
        else:
            assert target.ticket
            joined, again, name = client.ticket(target.ticket), "probe-wrong", "a wrong ticket"
        if joined.kind != "WELCOME":
            yield Found("after-goodbye", CANT_TELL, f"the honest login: {joined}")
            return
        client.leave()
        answer = client.ask([AUTHENTICATE, again, {}])
    yield Found("after-goodbye", verdict(answer.kind == "WELCOME", answer), f"{answer}, to {name}")


def channel_binding(target: Target) -> Iterator[Found]:
    """The row ``channel-binding``."""
    if not target.address.is_secure:
        yield Found("channel-binding", NOT_APPLICABLE, "there is no TLS to bind to")
        return
    assert target.key
    with target.connect(target.source()) as client:
        answer = client.key(target.key)
        if answer.challenge:
            answer = client.authenticate(client.signed(target.key, answer))
    if answer.kind == "WELCOME":
        yield Found("channel-binding", FALLS, "WELCOME, to a signature that isn't bound")
    elif target.binding:  # then it is good with it
        yield Found("channel-binding", HOLDS, str(answer))
    else:
        yield Found("channel-binding", CANT_TELL, f"the key isn't let in with or without it: {answer}")
