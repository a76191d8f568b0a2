"""Whatever a stranger sends, whatever a check does: does it lead to an outcome that is documented?

`make test` tries some hundred claims for each property, `make fuzz` 10,000.
"""

import json
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from autobahn.wamp.exception import ApplicationError
from hypothesis import example, given
from hypothesis import strategies as st
from nacl.signing import SigningKey
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from authenticator import Checks
from wampauth import methods, names
from wampauth.admission import Admissions
from wampauth.audit import LONGEST, Audit
from wampauth.checks import WrongAnswer, complete
from wampauth.claims import Claim, KeyClaim, Principal, Refused, TicketClaim, origin
from wampauth.guard import Guard
from wampauth.settings import Settings
from wampauth.store import connect, create, reading, writing
from wampauth.store.tickets import ticket_digest

REFUSALS = {
    "com.example.invalid_ticket",
    "com.example.no_such_user",
    "com.example.too_many_attempts",
    "com.example.unavailable",
    "com.example.malformed",
}
METHODS = ("ticket", "cryptosign")
TICKET, KEY = "a-ticket-that-opens", bytes(SigningKey(bytes(32)).verify_key).hex()
FOREVER = 1000.0  # seconds; beyond every deadline

# What a stranger can send: all of JSON, what CBOR has besides, and strings of all kinds, also those that UTF-8 has not.
odd = st.characters(categories=["Cs", "Cc", "Cf", "L", "Nd", "Zs"])
long = st.builds(lambda one, times: one * times, odd, st.integers(100, 2000))
texts = st.text(max_size=8) | st.text(odd, max_size=8) | long
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=8
)
objects = st.dictionaries(texts, values, max_size=5) | st.builds(dict.fromkeys, st.sets(st.integers(), min_size=30))

# And what is nearly right, so that some of it gets through.
realms = st.sampled_from([None, "realm1", "devices", "realm-auth", "realm1\0", "Realm1"]) | values
authids = st.sampled_from([None, "alice", "bob", "alice ", "ALICE", "alice\0", "alice' OR 1=1 --", "%", ""]) | values
tickets = (
    st.sampled_from([TICKET, TICKET + "\n", ticket_digest(TICKET), "", "x" * 1024, "x" * 1025, "' OR 1=1 --"]) | values
)
keys = st.sampled_from([KEY, KEY.upper(), KEY + "\n", KEY[:-1], "0x" + KEY, ticket_digest(TICKET), "ff" * 32]) | values
extras = st.fixed_dictionaries(
    {}, optional={"pubkey": keys, "channel_binding": st.sampled_from([None, "tls-unique", "tls-exporter"]) | values}
)
peers = st.sampled_from(["tcp4:192.0.2.1:5000", "tcp6:2001:db8::1:5000", "unix", "tcp4:10.0.0.1:80", "tcp4"]) | values
headers = st.fixed_dictionaries({}, optional={"x-forwarded-for": st.sampled_from(["192.0.2.1", "x, 10.0.0.1"]) | texts})
transports = st.fixed_dictionaries({}, optional={"peer": peers, "http_headers_received": headers | values}) | values
details = st.fixed_dictionaries(
    {},
    optional={
        "authmethod": st.sampled_from(METHODS) | values,
        "authextra": extras | objects | values,
        "ticket": tickets,
        "session": st.integers() | values,
        "transport": transports,
        "authrole": st.just("trusted") | values,
    },
)
sensible = st.fixed_dictionaries(
    {"authmethod": st.sampled_from(METHODS), "ticket": tickets, "authextra": extras, "session": st.integers()}
)
claims = st.tuples(realms, authids, details | sensible | values)

# What a check can do.
answers: Any = st.builds(
    Principal,
    realm=st.sampled_from(["realm1", "devices"]) | values,
    authid=st.just("alice") | values,
    role=st.sampled_from(["frontend", "trusted", "anonymous"]) | values,
    extra=objects | values,
    pubkey=st.just(KEY) | values,
    credential=st.sampled_from([None, "0123456789abcdef"]) | values,
    expires=st.sampled_from([None, 4e9, 1.0]) | values,
)
errors = st.sampled_from([Refused, ValueError, KeyError, OSError, RecursionError, ApplicationError, names.Malformed])
behaviours = st.one_of(answers, values, st.builds(lambda kind, text: kind(text), errors, texts), st.just(...))


def is_complete(method: str, answer: Any) -> bool:
    """Whether the router can work with that, without a client that waits for ever."""
    wanted = {"realm": str, "authid": str, "role": str, "extra": dict}
    wanted |= {"pubkey": str} if method == "cryptosign" else {}
    if {name: type(value) for name, value in answer.items()} != wanted:
        return False
    if names.portable(answer["extra"]) != answer["extra"]:
        return False
    return answer["role"] not in ("trusted", "anonymous") and bool(names.PUBKEY.fullmatch(answer.get("pubkey", KEY)))


FOLDER = tempfile.TemporaryDirectory()
AUDIT = Audit(str(Path(FOLDER.name) / "audit.jsonl"))


def guard(clock: Clock) -> Guard:
    return Guard(clock, Settings(), AUDIT, "com.example.", Admissions("com.example.", bytes(32)))


def outcome(procedure: Any, clock: Clock, claim: tuple[Any, Any, Any]) -> Any:
    """What the router gets in the end: an answer, or an ApplicationError."""
    results: list[Any] = []
    maybeDeferred(procedure, *claim).addBoth(results.append)
    clock.pump([0.25, 4.75, 5.0, FOREVER, FOREVER])
    assert len(results) == 1, "the client would wait for ever"
    assert clock.getDelayedCalls() == []
    return getattr(results[0], "value", results[0])


def assert_documented(method: str, result: Any) -> None:
    if isinstance(result, ApplicationError):
        assert result.error in REFUSALS
        assert len(result.args) == 1
        assert len(result.args[0].encode()) < 1000
    else:
        assert isinstance(result, dict), f"the client would be told {result!r}"
        assert is_complete(method, result)


@given(st.sampled_from(METHODS), claims, behaviours, st.sampled_from([0.0, 0.1, 0.25, 4.9, 6.0]))
def test_any_claim_and_any_check_lead_to_a_documented_outcome(
    method: str, claim: tuple[Any, Any, Any], behaviour: Any, takes: float
) -> None:
    clock = Clock()
    pending: Deferred[Any] = Deferred()

    async def check(claim: Claim) -> Any:
        if takes:
            await pending
        if isinstance(behaviour, Exception):
            raise behaviour
        return await Deferred() if behaviour is ... else behaviour

    procedure = guard(clock).wrap(method, check)
    if takes:
        clock.callLater(takes, pending.callback, None)
    assert_documented(method, outcome(procedure, clock, claim))


class Store:
    """The real queries on a real store, but answered at once; without Argon2id."""

    def __init__(self, path: str) -> None:
        create(path)
        with closing(connect(path)) as connection:
            for authid, realm, role in ("alice", "realm1", "frontend"), ("bob", "devices", "device"):
                writing.add(connection, {"authid": authid, "realm": realm, "role": role, "extra": {"foo": 23}})
            writing.add_credential(connection, "alice", {"kind": "ticket", "verifier": ticket_digest(TICKET)})
            writing.add_credential(connection, "bob", {"kind": "key", "verifier": KEY})
        self._connection = connect(path)

    async def by_ticket(self, claim: TicketClaim) -> Any:
        return _principal(reading.by_ticket(self._connection, claim.authid, claim.ticket)[0])

    async def by_key(self, claim: KeyClaim) -> Any:
        return _principal(reading.by_key(self._connection, claim.pubkey))


def _principal(found: reading.Credential | None) -> Principal | None:
    return found.principal if found else None


STORE = Store(str(Path(FOLDER.name) / "principals.db"))


@given(st.sampled_from(METHODS), claims)
@example("ticket", ("realm1", "alice", {"authmethod": "ticket", "ticket": TICKET}))
@example("cryptosign", (None, None, {"authmethod": "cryptosign", "authextra": {"pubkey": KEY.upper()}}))
def test_nobody_gets_past_our_own_checks_without_the_credential(method: str, claim: tuple[Any, Any, Any]) -> None:
    """And who gets past is who the store says, whatever was claimed."""
    clock = Clock()
    checks: Any = Checks.__new__(Checks)
    checks.store = STORE
    procedure = guard(clock).wrap(method, getattr(checks, method))
    result = outcome(procedure, clock, claim)
    assert_documented(method, result)
    if isinstance(result, ApplicationError):
        assert result.error != "com.example.unavailable"  # nothing that is sent may be our fault
        return
    realm, authid, details = claim
    if method == "ticket":
        assert (result["authid"], result["realm"], result["role"]) == ("alice", "realm1", "frontend")
        assert (details["ticket"], authid) == (TICKET, "alice")
    else:
        assert (result["authid"], result["realm"], result["role"]) == ("bob", "devices", "device")
        assert (details["authextra"]["pubkey"].lower(), result["pubkey"]) == (KEY, KEY)
        assert authid in (None, "", "bob")  # some client libraries leave it empty
    assert realm in (None, result["realm"])
    assert set(result["extra"]) == {"foo", "credential", "wampauth"}


@given(st.sampled_from(METHODS), claims)
def test_a_claim_is_well_formed_or_malformed(method: str, claim: tuple[Any, Any, Any]) -> None:
    realm, authid, details = claim
    details = details if isinstance(details, dict) else {}
    try:
        parsed = methods.parse(method, realm, authid, details, origin(details, ()))
    except names.Malformed as error:
        assert str(error).isprintable()
        return
    subject = methods.METHODS[method].subject(parsed)
    assert subject
    for text in (subject, parsed.realm or "", parsed.authid or ""):
        assert text.isprintable()
        assert len(text) <= 255
    if isinstance(parsed, TicketClaim):
        parsed.ticket.encode()
        shown = repr(replace(parsed, authid="", realm=None))  # these may happen to be what the ticket is
        assert parsed.ticket not in shown or len(parsed.ticket) < 20


@given(transports, st.lists(st.sampled_from(["10.0.0.1", "192.0.2.1"])))
def test_whatever_the_transport_says_there_is_an_address_to_count(transport: Any, proxies: list[str]) -> None:
    found = origin({"transport": transport}, tuple(proxies))
    assert isinstance(found.address, str)
    assert isinstance(found.is_secure, bool)


CLAIMS: dict[str, Claim] = {"ticket": TicketClaim(authid="alice", ticket=TICKET), "cryptosign": KeyClaim(pubkey=KEY)}


@given(st.sampled_from(METHODS), answers | values)
def test_an_answer_is_complete_a_no_or_our_fault(method: str, answer: Any) -> None:
    try:
        checked = complete(CLAIMS[method], answer)
    except (WrongAnswer, Refused):
        return
    told = {"realm": checked.realm, "authid": checked.authid, "role": checked.role, "extra": checked.extra}
    assert is_complete(method, {**told, "pubkey": checked.pubkey} if checked.pubkey else told)


@given(st.dictionaries(st.sampled_from(["claimed", "authid", "reason", "peer", "realm"]), texts, min_size=1))
def test_a_record_is_one_short_line_of_ascii(fields: dict[str, str]) -> None:
    file = Path(FOLDER.name) / "one.jsonl"
    file.unlink(missing_ok=True)
    Audit(str(file)).record("joined", **fields)
    raw = file.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    record = json.loads(raw)
    for name, text in fields.items():
        assert record[name] == (text if len(text) <= LONGEST else text[:LONGEST] + "…")


RULES = (names.realm, names.role, names.authid, names.ticket, names.label, names.extra, names.pubkey, names.credential)


@given(st.sampled_from(RULES), values)
def test_a_name_is_kept_in_its_one_form_or_malformed(rule: Any, value: Any) -> None:
    try:
        kept = rule(value)
    except names.Malformed as error:
        assert str(error).isprintable()
    else:
        assert rule(kept) == kept
        assert names.portable(kept) == kept
