"""Which names, tickets and keys are well-formed, and does a refusal say the rule without the value?"""

from collections.abc import Callable
from typing import Any

import nacl.bindings
import pytest
from autobahn.wamp.exception import InvalidUriError
from autobahn.wamp.message import check_or_raise_realm_name
from nacl.signing import SigningKey

from wampauth import names

KEY = bytes(SigningKey(bytes(32)).verify_key).hex()
SURROGATE = "\ud800"
NOT_TEXT = [None, 7, True, b"realm1", ["realm1"], {"realm1": 1}]

# The points of small order on Ed25519, in every encoding. Whoever registers one can sign for it without a private key.
ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
SMALL_ORDER = [
    "00" * 32,  # order 4
    "00" * 31 + "80",
    "01" + "00" * 31,  # the neutral element
    "01" + "00" * 30 + "80",
    "ec" + "ff" * 30 + "7f",  # order 2
    "ec" + "ff" * 31,
    "ed" + "ff" * 30 + "7f",  # 0 again, written in a way that isn't canonical
    "ed" + "ff" * 31,
    "ee" + "ff" * 30 + "7f",  # 1 again
    "ee" + "ff" * 31,
    *ORDER_8,
    *(key[:-2] + f"{int(key[-2:], 16) | 0x80:02x}" for key in ORDER_8),
]

# What principals.chosen_verifier made of "secret123" once.
CHOSEN = "$argon2id$v=19$m=65536,t=2,p=1$RPzCa2tWsBshFtE70bZPSg$KGgNmBQpajqhqoP0h01YkAP5zHOAeff3AcBNUzXWFvM"


GOOD: list[tuple[Callable[[Any], Any], Any]] = [
    (names.realm, "realm1"),
    (names.realm, "abc"),
    (names.realm, "a" * 255),
    (names.realm, "com.example-1_x@y"),
    (names.role, "r"),
    (names.role, "Frontend-2.a_b"),
    (names.role, "r" * 128),
    (names.role, "Trusted"),  # the router compares exactly
    (names.authid, "x"),
    (names.authid, "client01@example.com"),
    (names.authid, "größe-東京-😀"),
    (names.authid, "x" * names.MAX_AUTHID),
    (names.ticket, " "),
    (names.ticket, "töp sécret\n😀"),
    (names.ticket, "x" * names.MAX_TICKET),
    (names.label, ""),
    (names.label, "laptop, 2nd floor"),
    (names.label, "x" * names.MAX_LABEL),
    (names.extra, {}),
    (names.extra, {"foo": 23, "nested": {"list": [1, None, True, "ü"]}}),
    (names.extra, {"x": "x" * (names.MAX_EXTRA - len('{"x": ""}'))}),
    (names.pubkey, KEY),
    (names.safe_pubkey, KEY),
    (names.sha256, "0123456789abcdef" * 4),
    (names.argon2id, CHOSEN),
    (names.credential, "0123456789abcdef"),
]

BAD: dict[Callable[[Any], Any], list[Any]] = {
    names.realm: [*NOT_TEXT, "", "ab", "a" * 256, "1realm", "re alm", "realm1\n", "réalm", "realm/1", "a\x00b"],
    names.role: [*NOT_TEXT, "", "trusted", "anonymous", "1", "r" * 129, "a b", "role\n", "rôle", "a\x00"],
    names.authid: [*NOT_TEXT, "", "x" * 129, "a b", "a\tb", "a\n", "a\x00", "a\u202eb", "a\u00a0b", SURROGATE],
    names.ticket: [*NOT_TEXT, "", "x" * 1025, "secret" + SURROGATE],
    names.label: [*NOT_TEXT, "x" * 65, "two\nlines", "\x1b[31mred", SURROGATE],
    names.pubkey: [*NOT_TEXT, "", KEY[:-1], KEY + "0", KEY[:-1] + "g", "0x" + KEY[2:], KEY + "\n", "٣" * 64],
    names.safe_pubkey: [*NOT_TEXT, "", *SMALL_ORDER, "02" + "00" * 31, "ff" * 32],  # the last two aren't on the curve
    names.sha256: [*NOT_TEXT, "", "0" * 63, "0" * 65, "x" * 64, "0" * 64 + "\n"],
    names.argon2id: [*NOT_TEXT, "", "secret123"],
    names.credential: [*NOT_TEXT, "", "0" * 15, "0" * 17, "0123456789ABCDEF", "g" * 16, "0" * 16 + "\n"],
    names.extra: [
        *(None, [], "{}", 1, {"a": float("nan")}, {"a": float("inf")}, {"x": "x" * names.MAX_EXTRA}),
        *({name: 1} for name in ("credential", "transport", "x_cb_node", "x_cb_", "proxy_realm")),
        # What not every serializer carries:
        *({"x": SURROGATE}, {SURROGATE: 1}, {"x": [2**64]}, {"x": -(2**63) - 1}),
    ],
}


@pytest.mark.parametrize(("check", "value"), GOOD)
def test_well_formed_is_returned_as_it_is(check: Callable[[Any], Any], value: Any) -> None:
    assert check(value) == value


@pytest.mark.parametrize(("check", "value"), [(check, value) for check in BAD for value in BAD[check]])
def test_malformed_is_refused_with_the_rule_alone(check: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(names.Malformed) as refusal:
        check(value)
    sentence = str(refusal.value)
    assert sentence.isprintable()
    reserved = value in names.RESERVED_ROLES if isinstance(value, str) else isinstance(value, dict)
    assert reserved or not value or len(repr(value)) < 7 or str(value) not in sentence
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None  # nothing is quoted from below


@pytest.mark.parametrize(
    "realm", ["realm1", "abc", "ab", "1ab", "a b", "a/b", "réalm", "a" * 255, "a" * 256, "a-b_c.d@e", "a#b", "a:b", ""]
)
def test_a_realm_is_what_the_router_takes_for_one(realm: str) -> None:
    try:
        check_or_raise_realm_name(realm, "here")
        taken = True
    except InvalidUriError:
        taken = False
    try:
        names.realm(realm)
        assert taken
    except names.Malformed:
        assert not taken


def test_hexadecimal_is_kept_in_lower_case() -> None:
    assert names.pubkey(KEY.upper()) == names.safe_pubkey(KEY.upper()) == KEY
    assert names.sha256("AB" * 32) == "ab" * 32


def test_a_point_that_is_only_partly_in_the_right_group_is_refused() -> None:
    mixed = nacl.bindings.crypto_core_ed25519_add(bytes.fromhex(KEY), bytes.fromhex(ORDER_8[0]))
    with pytest.raises(names.Malformed, match="isn't a point of Ed25519"):
        names.safe_pubkey(mixed.hex())


ARGON = "$argon2id$v=19$m=65536,t=2,p=1$JyvpMz1ShNViOzRW23Jctw$RVuKY2sIJea45cdqC86CLQucoPSQ4KjgPO0123456ab"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("argon2id", "argon2i"),
        ("v=19", "v=16"),
        ("m=65536", "m=262145"),  # more memory than we give it
        ("t=2", "t=9"),  # more time
        ("t=2", "t=0"),  # none at all: can't be checked
        ("m=65536", "m=0"),
        ("p=1", "p=2"),
        ("Jyvp", "Jyv"),
        ("Jyvp", "Jyv_"),  # not of the alphabet
        ("Jyvp", "Jyvé"),
        ("t=2", "t=٢"),  # a digit, but not one that the library reads
        ("$argon2id", " $argon2id"),
    ],
)
def test_argon2id_at_a_price_that_we_can_pay(old: str, new: str) -> None:
    assert names.argon2id(ARGON) == ARGON
    with pytest.raises(names.Malformed):
        names.argon2id(ARGON.replace(old, new, 1))
    with pytest.raises(names.Malformed):
        names.argon2id(ARGON + "\n")


def test_extra_of_any_depth_is_kept_or_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(2000):
        nested = {"a": nested}
    with pytest.raises(names.Malformed):
        names.extra(nested)
