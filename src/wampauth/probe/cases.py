"""What would no client library send? Malformed HELLOs, AUTHENTICATEs and frames."""

from dataclasses import dataclass
from typing import Any

from wampauth.probe.client import hello
from wampauth.testing.wamp import AUTHENTICATE, CALL, CHALLENGE, GOODBYE, HELLO, ROLES, WELCOME

LONG = 10_000  # characters
NOWHERE = "probe-nowhere"
NOBODY = "probe-nobody"


@dataclass(frozen=True)
class Case:
    """One thing that is sent on a connection of its own.

    :ivar messages: what is sent. If that is challenged, a wrong proof follows.
    :ivar group: ``ticket`` and ``cryptosign`` reach the authenticator, ``router`` is the router's own affair; what is
        ``ignored`` may be left without an answer, if a HELLO after it gets one.
    """

    name: str
    messages: tuple[Any, ...]
    group: str = "router"


def all_of(realm: str, authid: str, key_realm: str) -> list[Case]:
    """All cases."""
    hellos = [*_realms(authid), *_details(realm, authid), *_authids(realm), *_extras(realm, authid)]
    return [*hellos, *_tickets(realm, authid), *_keys(key_realm), *_frames(realm, authid)]


def _deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


def _realms(authid: str) -> list[Case]:
    def case(name: str, realm: Any, group: str = "router") -> Case:
        return Case(f"realm: {name}", (hello(realm, "ticket", authid),), group)

    return [
        case("a number", 1),
        case("a list", ["realm1"]),
        case("empty", ""),
        case("null", None, "ticket"),
        case("too long", "r" * 300, "ticket"),
        case("with NUL", "realm1\0", "ticket"),
        case("none that exists", NOWHERE, "ticket"),
    ]


def _details(realm: str, authid: str) -> list[Case]:
    return [
        Case("HELLO: without details", ([HELLO, realm],)),
        Case("HELLO: details are a list", ([HELLO, realm, []],)),
        Case("HELLO: one element too many", ([HELLO, realm, {"roles": ROLES}, 1],)),
        Case("HELLO: without roles", (hello(realm, "ticket", authid, roles=...),)),
        Case("HELLO: an unknown role", (hello(realm, "ticket", authid, roles={"god": {}}),)),
        Case("HELLO: methods are a string", (hello(realm, "ticket", authid, authmethods="ticket"),)),
        Case("HELLO: a method that is a number", (hello(realm, 1, authid),)),
        Case("HELLO: an unknown method", (hello(realm, "probe", authid),)),
        Case("HELLO: authrole is a number", (hello(realm, "ticket", authid, authrole=1),)),
        Case("HELLO: both methods, and no key", (hello(realm, "", authid, authmethods=["cryptosign", "ticket"]),)),
    ]


def _authids(realm: str) -> list[Case]:
    def case(name: str, authid: Any, group: str = "ticket") -> Case:
        details = {"roles": ROLES, "authmethods": ["ticket"], "authid": authid}
        return Case(f"authid: {name}", ([HELLO, realm, details],), group)

    missing = [HELLO, realm, {"roles": ROLES, "authmethods": ["ticket"]}]
    return [
        case("a number", 1, "router"),
        case("null", None, "router"),
        case("a list", ["probe"], "router"),
        Case("authid: missing", (missing,), "ticket"),
        case("empty", ""),
        case("too long", "a" * LONG),
        case("with NUL", "probe\0"),
        case("with a new line", 'probe\n{"outcome": "accepted"}'),
        case("SQL", "probe' OR '1'='1"),
        case("a format", "{0.__class__}"),
        case("a path", "../../etc/passwd"),
        case("with a lone surrogate", "probe\ud800"),
        case("nobody's", NOBODY),
    ]


def _extras(realm: str, authid: str) -> list[Case]:
    def case(name: str, extra: Any, group: str = "ticket") -> Case:
        details = {"roles": ROLES, "authmethods": ["ticket"], "authid": authid, "authextra": extra}
        return Case(f"authextra: {name}", ([HELLO, realm, details],), group)

    return [
        case("a list", [1], "router"),
        case("a string", "x", "router"),
        case("null", None, "router"),
        case("200 levels deep", _deep(200)),
        case("1,000 fields", {str(number): number for number in range(1_000)}),
        case("odd values", {"pubkey": 1, "channel_binding": [], "challenge": {}, "device": None}),
    ]


def _tickets(realm: str, authid: str) -> list[Case]:
    def case(name: str, ticket: Any, group: str = "router") -> Case:
        return Case(f"ticket: {name}", (hello(realm, "ticket", authid), [AUTHENTICATE, ticket, {}]), group)

    said, nobodys = hello(realm, "ticket", authid), hello(realm, "ticket", NOBODY)
    unnamed = [HELLO, realm, {"roles": ROLES, "authmethods": ["ticket"]}]
    return [
        case("a number", 1),
        case("null", None),
        case("true", True),
        case("a list", ["probe"]),
        case("an object", {}),
        case("empty", "", "ticket"),
        Case("ticket: empty, and nobody's authid", (nobodys, [AUTHENTICATE, "", {}]), "ticket"),
        Case("ticket: null, and nobody's authid", (nobodys, [AUTHENTICATE, None, {}])),
        Case("ticket: empty, and an empty authid", (hello(realm, "ticket", ""), [AUTHENTICATE, "", {}]), "ticket"),
        Case("ticket: empty, and no authid", (unnamed, [AUTHENTICATE, "", {}]), "ticket"),
        case("too long", "x" * LONG, "ticket"),
        case("with NUL", "probe\0", "ticket"),
        case("NUL first", "\0c2VjcmV0"),
        case("a lone surrogate", "\ud800", "ticket"),
        case("SQL", "' OR '1'='1", "ticket"),
        Case("AUTHENTICATE: without extra", (said, [AUTHENTICATE, "x"])),
        Case("AUTHENTICATE: extra is a list", (said, [AUTHENTICATE, "x", []])),
        Case("AUTHENTICATE: one element too many", (said, [AUTHENTICATE, "x", {}, 1])),
        Case("AUTHENTICATE: without HELLO", ([AUTHENTICATE, "x", {}],)),
    ]


def _keys(realm: str) -> list[Case]:
    def case(name: str, extra: Any) -> Case:
        return Case(f"key: {name}", (hello(realm, "cryptosign", None, extra),), "cryptosign")

    return [
        case("no authextra", None),
        case("missing", {}),
        case("null", {"pubkey": None}),
        case("a number", {"pubkey": 1}),
        case("a list", {"pubkey": ["00" * 32]}),
        case("an object", {"pubkey": {}}),
        case("a digit short", {"pubkey": "a" * 63}),
        case("no hexadecimal", {"pubkey": "x" * 64}),
        case("with 0x", {"pubkey": "0x" + "a" * 64}),
        case("with a new line", {"pubkey": "a" * 64 + "\n"}),
        case("too long", {"pubkey": "a" * LONG}),
    ]


def _frames(realm: str, authid: str) -> list[Case]:
    def ignored(name: str, message: Any) -> Case:
        return Case(name, (message,), "ignored")

    return [
        Case("an unknown message", ([99],)),
        Case("a type that is a string", (["1"],)),
        Case("an empty message", ([],)),
        Case("an object", ("{}",)),
        Case("no JSON", ("hello",)),
        Case("an empty frame", ("",)),
        Case("binary garbage", (b"\x00\xff\xfe",)),
        ignored("a method that is a lone surrogate", hello(realm, "\ud800", authid)),
        ignored("CALL first", [CALL, 1, {}, "wamp.session.count"]),
        ignored("GOODBYE first", [GOODBYE, {}, "wamp.close.normal"]),
        ignored("WELCOME from the client", [WELCOME, 1, {"roles": {"broker": {}, "dealer": {}}}]),
        ignored("CHALLENGE from the client", [CHALLENGE, "ticket", {}]),
    ]
