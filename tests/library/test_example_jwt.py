"""examples/jwt_checks.py: a token of the identity provider is the ticket. Which tokens get in, and which don't?"""

import base64
import hashlib
import hmac
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
import pytest
from autobahn.wamp.exception import ApplicationError
from conftest import HERE
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from example_nodes import REALM, ROLE, Example, example, falling, say, service
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from wampauth import Refused, TicketClaim
from wampauth.http import Reply, ServiceError
from wampauth.testing import ABORT, GOODBYE, PUBLISH, PUBLISHED, WELCOME, RawClient, login

sys.path.insert(0, str(HERE / "examples"))
import jwt_checks  # type: ignore[import-not-found]
from jwt_checks import AWAY, FRESH, PAUSE, KeySet

ISSUER, AUDIENCE = "https://id.example.com/", "wamp"
GROUPS = {"admins": "backend", "staff": ROLE}
INVALID, UNAVAILABLE, MALFORMED = (f"com.example.{name}" for name in ("invalid_ticket", "unavailable", "malformed"))
WIDE = {"failures_at_once": 1_000_000, "refusal_delay": 0.05, "longest_ticket": 4096}
PATIENCE = 20.0

ONE, OTHER, EVIL = (rsa.generate_private_key(65537, 2048) for _ in range(3))
CURVE = ec.generate_private_key(ec.SECP256R1())


def jwk(key: Any, kid: str | None, **more: str) -> dict[str, Any]:
    """A public key as the issuer shows it."""
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    made: dict[str, Any] = {**algorithm.to_jwk(key.public_key(), as_dict=True), **({"kid": kid} if kid else {}), **more}
    return {name: value for name, value in made.items() if name != "key_ops"}


def oct_jwk(kid: str) -> dict[str, Any]:
    return {"kty": "oct", "kid": kid, "k": base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("=")}


def token(key: Any = ONE, algorithm: str = "RS256", header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A good token for alice, but for what is changed; None takes a claim away."""
    now = time.time()
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "groups": ["staff"], "iat": now, "exp": now + 3600}
    claims = {name: value for name, value in {**claims, **changed}.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": "one", **(header or {})})


def forged(header: dict[str, Any], signature: bytes | Callable[[bytes], bytes]) -> str:
    """A token with the claims of a good one, whatever its header says of it."""
    _, claims, _ = token().split(".")
    signed = f"{encoded(json.dumps(header).encode())}.{claims}"
    made = signature if isinstance(signature, bytes) else signature(signed.encode())
    return f"{signed}.{encoded(made)}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def hmac_with(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()


PEM, DER = (
    ONE.public_key().public_bytes(form, serialization.PublicFormat.SubjectPublicKeyInfo)
    for form in (serialization.Encoding.PEM, serialization.Encoding.DER)
)
HS = {"alg": "HS256", "typ": "JWT", "kid": "one"}
EVIL_CERTIFICATE = encoded(b"a certificate of the attacker's")


@dataclass
class Issuer:
    """Shows a key set, or whatever a test wants."""

    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [
            jwk(ONE, "one"),
            jwk(ONE, "1"),
            jwk(CURVE, "curve"),
            oct_jwk("oct"),
            jwk(OTHER, "enc", use="enc"),
        ]
    )
    asked: int = 0

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        say(handler, 200, json.dumps({"keys": self.keys}).encode())


def settings(keys: str) -> dict[str, Any]:
    return {"issuer": ISSUER, "audience": AUDIENCE, "keys": keys, "realm": REALM, "groups": GROUPS}


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def node(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp("jwt")
    with service(issuer) as address, example(folder, "jwt_checks", settings(address), **WIDE) as made:
        yield made


# -- who gets in


def test_a_good_token(node: Example) -> None:
    ends = time.time() + 60
    kind, _, details = node.login("alice", token(jti="7f3a", exp=ends))
    assert kind == WELCOME
    assert (details["realm"], details["authid"], details["authrole"]) == (REALM, "alice", ROLE)
    assert details["authextra"]["expires"] == ends
    assert details["authextra"]["credential"] == "7f3a"


def test_the_first_group_of_the_table_gives_the_role() -> None:
    role = jwt_checks.Checks(settings("https://id.example.com/keys")).role
    assert role(["others", "staff", "admins"]) == "backend"
    assert role("staff") == ROLE
    for none in "staffroom", ["staffroom"], [], None, {"staff": 1}, 7, [["staff"]]:
        assert role(none) is None


def test_the_session_ends_with_its_token(node: Example) -> None:
    with RawClient(node.url) as client:
        assert client.login_ticket("alice", token(exp=time.time() + 1.5, jti="brief"))[0] == WELCOME
        assert client.receive()[::2] == [GOODBYE, "com.example.expired"]


def test_clocks_may_differ_a_little(node: Example) -> None:
    assert node.login("alice", token(iat=time.time() + 20, nbf=time.time() + 20))[0] == WELCOME


def test_a_longer_token(node: Example) -> None:
    assert node.login("alice", token(more="x" * 2000))[0] == WELCOME
    assert node.login("alice", token(more="x" * 4000))[2] == MALFORMED


# -- who doesn't


HEADERS: dict[str, dict[str, Any]] = {  # with the attacker's own key in it, or where it lies
    "jwk": {"jwk": jwk(EVIL, "one")},
    "jku": {"jku": "https://evil.example.com/jwks.json"},
    "x5u": {"x5u": "https://evil.example.com/cert.pem"},
    "x5c": {"x5c": [EVIL_CERTIFICATE]},
}
NOW = time.time()
BAD: dict[str, dict[str, str]] = {  # by the reason that the audit has
    "InvalidAlgorithmError": {
        "none": forged({"alg": "none", "typ": "JWT", "kid": "one"}, b""),
        "None": forged({"alg": "None", "kid": "one"}, b""),
        "no-alg": forged({"kid": "one"}, b""),
        "alg-null": forged({"alg": None, "kid": "one"}, b""),
        "alg-list": forged({"alg": ["RS256"], "kid": "one"}, b"x" * 256),
        "public-key-as-secret": forged(HS, hmac_with(PEM)),
        "public-key-as-secret-der": forged(HS, hmac_with(DER)),
        "empty-secret": forged(HS, hmac_with(b"")),
        "another-algorithm": token(algorithm="PS256"),
    },
    "the issuer has no key of this id": {
        "a-secret-of-the-set": forged({**HS, "kid": "oct"}, hmac_with(b"s" * 32)),
        "another-key-of-the-set": token(CURVE, "ES256", {"kid": "curve"}),
        "a-key-for-encryption": token(OTHER, header={"kid": "enc"}),
        "no-kid": forged({"alg": "RS256"}, b"x" * 256),
        "kid-unknown": token(header={"kid": "two"}),
        "kid-path": token(header={"kid": "../../../dev/null"}),
    },
    "InvalidSignatureError": {
        "somebody-elses-key": token(EVIL),
        **{f"header-{name}": token(EVIL, header=header) for name, header in HEADERS.items()},
        "changed": token()[:-5] + "AAAAA",
        "no-signature": token().rpartition(".")[0] + ".",
    },
    "InvalidTokenError": {
        "crit": token(header={"crit": ["exp"], "exp": NOW + 60}),
        "crit-unknown": token(header={"crit": ["x-custom"], "x-custom": 1}),
        "crit-empty": forged({"alg": "RS256", "kid": "one", "crit": []}, b"x" * 256),
        "kid-list": forged({"alg": "RS256", "kid": ["one"]}, b"x" * 256),
    },
    "DecodeError": {
        "b64": forged({"alg": "RS256", "kid": "one", "b64": False, "crit": ["b64"]}, b"x" * 256),
        "exp-text": token(exp="tomorrow"),
        "two-parts": token().rpartition(".")[0],
        "four-parts": token() + ".AAAA",
        "no-token": "secret123",
        "dots": "..",
        "brackets": encoded(b"[" * 2000) + ".e30.AAAA",
        "emoji": "\N{KEY}.\N{KEY}.\N{KEY}",
    },
    "InvalidAudienceError": {
        "another-audience": token(aud="other"),
        "another-audience-list": token(aud=["other", "more"]),
    },
    "MissingRequiredClaimError": {
        "no-audience": token(aud=None),
        "no-issuer": token(iss=None),
        "no-exp": token(exp=None),
        "no-sub": token(sub=None),
    },
    "InvalidIssuerError": {
        "another-issuer": token(iss="https://id.example.com"),
    },
    "ExpiredSignatureError": {
        "expired": token(exp=NOW - 60),
    },
    "ImmatureSignatureError": {
        "not-yet": token(nbf=NOW + 3600),
        "issued-tomorrow": token(iat=NOW + 86_400),
    },
    "in no group that has a role": {
        "no-group": token(groups=None),
        "wrong-group": token(groups=["staffroom"]),
    },
    "claims another authid": {
        "bob": token(sub="bob"),
    },
}
CASES = {case: made for cases in BAD.values() for case, made in cases.items()}


@pytest.mark.parametrize(("reason", "case"), [(reason, case) for reason, cases in BAD.items() for case in cases])
def test_a_bad_token(node: Example, reason: str, case: str) -> None:
    assert node.login("alice", CASES[case])[::2] == [ABORT, INVALID]
    assert node.reason("alice") == reason


def test_a_token_that_has_just_run_out(node: Example) -> None:
    """The clocks' difference is for those that aren't valid yet: here it would only let somebody in who must go."""
    assert node.login("alice", token(exp=time.time() - 1))[2] == INVALID
    assert node.reason("alice") == "expired"


def test_bad_tokens_are_in_no_log(node: Example) -> None:
    node.login("alice", CASES["bob"])
    for part in CASES["bob"].split("."):
        assert part not in node.log + json.dumps(node.audit)


def test_a_good_token_for_another_realm(node: Example) -> None:
    assert node.login("alice", token(), "devices")[2] == INVALID


def test_unknown_keys_ask_the_issuer_once_in_a_while(node: Example, issuer: Issuer) -> None:
    node.login("alice", token())
    before, began = issuer.asked, time.monotonic()
    for number in range(20):
        assert node.login("alice", token(EVIL, header={"kid": f"evil-{number}"}))[2] == INVALID
    assert issuer.asked - before <= 1 + (time.monotonic() - began) / PAUSE


def test_a_new_key_is_noticed(node: Example, issuer: Issuer) -> None:
    """The issuer begins to sign with another key."""
    issuer.keys.append(jwk(OTHER, "new"))
    made, deadline = token(OTHER, header={"kid": "new"}), time.monotonic() + PAUSE + PATIENCE
    while node.login("alice", made)[0] != WELCOME:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_keys_that_cannot_be_had(tmp_path: Path) -> None:
    """That is no "no": the token may well be good."""

    def broken(handler: BaseHTTPRequestHandler) -> None:
        say(handler, 503)

    with service(broken) as address, example(tmp_path, "jwt_checks", settings(address), **WIDE) as node:
        for made in token(), CASES["somebody-elses-key"]:
            assert node.login("alice", made)[2] == UNAVAILABLE
        assert "the service said 503" in node.reason("alice")
        assert node.login("alice", CASES["no-token"])[2] == INVALID  # for this one, no key is needed


# -- the key set, by a clock of its own


class Shown:
    """A service that shows a key set, or fails, or hangs."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.body: Any = {"keys": list(keys)}
        self.code, self.asked = 200, 0
        self.hangs: list[Deferred[Any]] | None = None

    async def get(self) -> Reply:
        self.asked += 1
        if self.hangs is not None:
            self.hangs.append(Deferred())
            await self.hangs[-1]
        return Reply(self.code, json.dumps(self.body).encode())


def find(keys: KeySet, kid: str) -> Any:
    """What comes of looking for a key: its id, an exception, or None for as long as it takes."""
    results: list[Any] = []
    Deferred.fromCoroutine(keys.find(kid)).addCallbacks(
        lambda key: results.append(key.key_id), lambda failure: results.append(type(failure.value))
    )
    return results[0] if results else results


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_known_keys_are_not_asked_for_again(clock: Clock) -> None:
    shown = Shown(jwk(ONE, "one"))
    keys = KeySet(shown, clock)
    for _ in range(10):
        assert find(keys, "one") == "one"
        clock.advance(FRESH / 10)
    assert shown.asked == 1


def test_keys_that_were_withdrawn_are_gone(clock: Clock) -> None:
    shown = Shown(jwk(ONE, "one"), jwk(OTHER, "two"))
    keys = KeySet(shown, clock)
    assert find(keys, "two") == "two"
    shown.body["keys"].pop()
    clock.advance(FRESH + 1)
    assert find(keys, "two") is Refused


def test_keys_of_an_issuer_that_is_away_will_do_for_a_while(clock: Clock) -> None:
    shown = Shown(jwk(ONE, "one"))
    keys = KeySet(shown, clock)
    assert find(keys, "one") == "one"
    shown.code = 500
    while clock.seconds() < AWAY:
        clock.advance(PAUSE / 2)
        assert find(keys, "one") == "one"
        assert find(keys, "two") in (Refused, ServiceError)
    assert find(keys, "two") is ServiceError
    clock.advance(PAUSE)
    assert find(keys, "one") is ServiceError
    shown.code = 200
    clock.advance(PAUSE)
    assert find(keys, "one") == "one"


def test_an_issuer_that_hangs_is_asked_once_and_given_up(clock: Clock) -> None:
    shown = Shown(jwk(ONE, "one"))
    shown.hangs = []
    keys = KeySet(shown, clock)
    waiting = [find(keys, "one") for _ in range(5)]
    assert (shown.asked, waiting) == (1, [[]] * 5)
    clock.advance(jwt_checks.PATIENCE)
    assert waiting == [[ServiceError]] * 5
    assert shown.asked == 1


def test_those_who_come_together_get_the_same_answer(clock: Clock) -> None:
    shown = Shown(jwk(ONE, "one"))
    shown.hangs = []
    keys = KeySet(shown, clock)
    waiting = [find(keys, "one") for _ in range(5)]
    shown.hangs[0].callback(None)
    assert waiting == [["one"]] * 5


@pytest.mark.parametrize("code", [204, 301, 302, 307, 404, 429, 500])
def test_a_key_set_is_taken_from_a_whole_answer_alone(clock: Clock, code: int) -> None:
    """No redirect is followed: the keys would be those of whom it names. A set that is too long isn't one, either:
    ``test_example_http.py`` has such answers."""
    shown = Shown(jwk(EVIL, "one"))
    shown.code = code
    assert find(KeySet(shown, clock), "one") is ServiceError


@pytest.mark.parametrize(
    "body", [{}, {"keys": []}, {"keys": {}}, {"keys": [7]}, {"keys": [{"kty": "oct"}]}, [], None, {"keys": "one"}]
)
def test_a_key_set_that_is_none(clock: Clock, body: Any) -> None:
    shown = Shown()
    shown.body = body
    assert find(KeySet(shown, clock), "one") is ServiceError


# -- whatever a stranger sends


def answer(ticket: str) -> str:
    """The URI with which a ticket is refused, at checks that have their keys."""
    checks = jwt_checks.Checks(settings("https://id.example.com/keys"))
    checks.keys = KeySet(Shown(jwk(ONE, "one")), Clock())
    results: list[Any] = []
    claim = TicketClaim(authid="alice", ticket=ticket)
    login(lambda _: checks, {"guard": {"longest_ticket": 4096}}, claim).addBoth(results.append)
    assert isinstance(results[0].value, ApplicationError)
    return str(results[0].value.error)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
headers = st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "jwk", "cty"]), json_values)


@given(headers, st.binary(max_size=64))
def test_any_header_is_a_no(header: dict[str, Any], signature: bytes) -> None:
    """Never "unavailable", which costs nothing and is logged."""
    assert answer(forged({"alg": "RS256", "kid": "one", **header}, signature)) == INVALID


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_any_text_is_a_no(text: str) -> None:
    assert answer(text) == INVALID


# -- staying


@contextmanager
def renewing(node: Example, folder: Path, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """examples/renew.py, with tokens of examples/issue.py that last so long."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "issuer.pem").write_bytes(ONE.private_bytes(*form))
    renew, issue = (HERE / "examples" / name for name in ("renew.py", "issue.py"))
    command = [sys.executable, str(renew), "alice", f"{sys.executable} {issue} {seconds}", "--url", node.url]
    command += ["--topic", "com.example.news"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as client:
        try:
            yield client
        finally:
            client.send_signal(signal.SIGTERM)


def test_a_client_stays_without_a_gap(node: Example, tmp_path: Path) -> None:
    """It hears each event, from one token to the next but one, and no session of its is ended for it."""
    heard: set[str] = set()
    ended: list[str] = []
    with RawClient(node.url) as publisher, renewing(node, tmp_path, 4) as client:
        assert client.stdout is not None
        assert publisher.login_ticket("alice", token(exp=time.time() + 120))[0] == WELCOME
        assert client.stdout.readline().startswith("joined:")
        deadline, number = time.monotonic() + PATIENCE, 0
        while len(ended) < 2:
            assert time.monotonic() < deadline
            sent = publisher.request(PUBLISH, {"acknowledge": True}, "com.example.news", [number])
            assert sent[0] == PUBLISHED
            while str(number) not in heard:
                line = client.stdout.readline()
                heard |= set(re.findall(r"event: (\d+)", line))
                ended += re.findall(r"ended: (\S+)", line)
            number += 1
            time.sleep(0.05)
    assert ended == ["wamp.close.normal"] * 2
    assert heard >= {str(one) for one in range(number)}


@pytest.mark.slow
def test_a_client_that_has_no_session_any_more_says_so(issuer: Issuer, tmp_path: Path) -> None:
    """At once, however long its token would have lasted."""
    with service(issuer) as address, ExitStack() as running:
        node = running.enter_context(example(tmp_path / "node", "jwt_checks", settings(address), **WIDE))
        with renewing(node, tmp_path, 3600) as client:
            assert client.stdout is not None
            assert client.stdout.readline().startswith("joined:")
            running.close()
            assert "ended: " in client.stdout.read()
            assert client.wait(PATIENCE) == 1


# -- the attacker that we ship


@pytest.mark.slow
def test_the_probe_holds(tmp_path: Path) -> None:
    with (
        service(Issuer()) as address,
        example(tmp_path, "jwt_checks", settings(address), longest_ticket=4096) as node,
    ):
        assert falling(node.url, "alice", token(exp=time.time() + 600)) == set()
