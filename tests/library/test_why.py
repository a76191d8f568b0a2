"""Somebody says that he can't get in. Does ``wampauth why`` find the cause, and count as no attempt?"""

import json
import secrets
import time
from contextlib import closing
from typing import Any

import pytest
from conftest import wait_for
from nacl.signing import SigningKey
from sites import AT_ONCE, OURS, Person, Site

from wampauth import acts
from wampauth.store import connect, ticket_digest, writing
from wampauth.testing.wamp import ABORT, WELCOME, pubkey, sign

pytest_plugins = ["postgres", "sites"]

NO_REFUSAL = "No refusal of nobody-at-all is in the audit: `wampauth why nobody-at-all` tries a login."
PAST, FUTURE = "2001-02-03T04:05:06.000+00:00", "2999-01-01T00:00:00.000+00:00"


def asked(site: Site, *args: str, **environment: str) -> dict[str, Any]:
    """What ``wampauth why`` says to programs."""
    result = site.wampauth("why", *args, "--json", check=False, **environment)
    said: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if said["gets_in"] else 1)
    return said


def certain(site: Site, *args: str, **environment: str) -> dict[str, str]:
    """The reasons that keep him out."""
    return {one["reason"]: one["text"] for one in asked(site, *args, **environment)["reasons"] if one["certain"]}


def give(site: Site, person: Person, kind: str, verifier: str, **terms: Any) -> str:
    with closing(connect(site.where)) as store:
        return writing.add_credential(store, person.authid, {"kind": kind, "verifier": verifier, **terms})


def bare(site: Site) -> Person:
    """Somebody without a credential."""
    bob = Person(f"bob-{secrets.token_hex(4)}", secrets.token_urlsafe(), "")
    with closing(connect(site.where)) as store:
        writing.add(store, {"authid": bob.authid, "realm": "realm1", "role": "frontend"})
    return bob


def test_the_last_refusals_in_sentences(site: Site) -> None:
    """First, since only the first refusals of a minute are whole in the audit."""
    bob, alice = site.add(), site.add()
    site.knock().login_ticket(alice.authid, "a guess")
    site.knock().login_ticket(bob.authid, "a guess")
    site.wampauth("revoke", bob.authid, "--yes")
    site.knock().login_ticket(bob.authid, bob.ticket)
    site.knock().login_ticket(bob.authid, bob.ticket, realm="raelm1")
    by = f" by {acts.operator()}"  # which an operator reads who doesn't name the audit of another node
    said = [line.split("  ", 1)[1].replace(by, "") for line in told(site, bob.authid)]
    claiming = f"{bob.authid} from {OURS}, claiming the realm"
    revoked = json.loads(site.wampauth("show", bob.authid, "--json").stdout)["revoked"]
    why = f"{bob.authid} was revoked at {revoked}: `wampauth restore {bob.authid}` lets it in again"
    assert said == [
        f"{claiming} realm1, was refused: the ticket is wrong",
        f"{bob.authid} from {OURS} was refused: {why}",
        f"{claiming} raelm1 instead of realm1, was refused: {why}",
    ]
    assert told(site, "nobody-at-all") == [NO_REFUSAL]
    everybody = told(site)
    assert len(everybody) <= 10
    assert any(alice.authid in line for line in everybody)


def told(site: Site, *authid: str) -> list[str]:
    """The last refusals, at whichever node."""
    lines = []
    for bundle in site.bundles:
        for audit in sorted(bundle.directory.glob("audit[0-9]*.jsonl")) or [bundle.directory / "audit.jsonl"]:
            if "attempts" not in audit.name:
                lines += site.wampauth("--audit", str(audit), "why", "--last", *authid).stdout.splitlines()
    nothing = [line for line in lines if line.startswith("No refusal")]
    return sorted(line for line in lines if line not in nothing) or nothing[:1]


def test_nothing_keeps_him_out(site: Site) -> None:
    bob = site.add()
    said = site.wampauth("why", bob.authid, "--ticket-env", "T", "--realm", "realm1", T=bob.ticket).stdout.splitlines()
    assert said[-1] == f"Nothing keeps {bob.authid} out."
    assert all(line.startswith("Mind: ") for line in said[:-1])
    assert bob.ticket not in "".join(said)
    site.login(bob)
    untried = f"`wampauth why {bob.authid} --ticket-env NAME` or `--key PUBKEY` tries one"
    assert f"None was tried: {untried}." in site.wampauth("why", bob.authid).stdout
    whose = site.wampauth("why", "--ticket-env", "T", T=bob.ticket).stdout
    assert whose.startswith(f"The ticket is {bob.authid}'s.\n") and f"Nothing keeps {bob.authid} out" in whose


def test_no_such_principal(site: Site) -> None:
    key = pubkey(SigningKey.generate())
    bob = site.add()
    give(site, bob, "key", key)
    assert certain(site, "nobody").keys() == {"no such principal"}
    assert f"The key is {bob.authid}'s." in certain(site, "nobody", "--key", f"0x{key.upper()}")["no such principal"]


def test_the_ticket_is_wrong(site: Site) -> None:
    bob, alice = site.add(), site.add()
    text = f"The ticket is wrong: none of {bob.authid}'s."
    advice = f"`wampauth ticket {bob.authid}` gives {bob.authid} another one."
    assert certain(site, bob.authid, "--ticket-env", "T", T="guess") == {"ticket wrong": f"{text} {advice}"}
    whose = certain(site, bob.authid, "--ticket-env", "T", T=alice.ticket)["ticket wrong"]
    assert whose == f"{text} It is {alice.authid}'s."


def test_the_key_is_wrong(site: Site) -> None:
    bob, alice, key = site.add(), site.add(), pubkey(SigningKey.generate())
    assert "Nobody has it" in certain(site, bob.authid, "--key", key)["key wrong"]
    give(site, alice, "key", key)
    assert certain(site, bob.authid, "--key", key)["key wrong"].endswith(f"The key is {alice.authid}'s.")
    assert certain(site, alice.authid, "--key", key) == {}
    assert asked(site, "--key", key)["authid"] == alice.authid


@pytest.mark.parametrize("how", [("--key", pubkey(SigningKey.generate())), ("--ticket-env", "T")])
def test_nobody_has_it(site: Site, how: tuple[str, str]) -> None:
    (text,) = certain(site, *how, T="a guess").values()
    assert text.startswith(f"Nobody has this {'key' if how[0] == '--key' else 'ticket'}")


def test_nothing_to_log_in_with(site: Site) -> None:
    assert certain(site, bare(site).authid).keys() == {"no credential"}


@pytest.mark.parametrize("shown", [False, True])
def test_expired(site: Site, shown: bool) -> None:
    bob = site.add(label="laptop")
    with closing(connect(site.where)) as store:
        store.execute("UPDATE credential SET expires = 981173106 WHERE id = ?", (bob.credential,))
    how = ("--ticket-env", "T") if shown else ()
    found = certain(site, bob.authid, *how, T=bob.ticket)
    advice = f"`wampauth ticket {bob.authid}` gives {bob.authid} another one."
    assert found == {"expired": f"The ticket {bob.credential} (laptop) has run out at {PAST}: {advice}"}


def test_what_follows_it_is_named(site: Site) -> None:
    """Another ticket would be one too many, in nobody's hands."""
    bob = site.add(label="build")
    new = site.wampauth("rotate", bob.authid, "build", "--overlap", "0s", "--json")
    successor = json.loads(new.stdout)["credential"]
    found = certain(site, bob.authid, "--ticket-env", "T", T=bob.ticket)["expired"]
    assert f": the ticket {successor} (build) follows it ({acts.operator()} rotated it at 2" in found
    assert f"`wampauth rotate {bob.authid} {successor} --overlap 0s` replaces it" in found
    site.wampauth("revoke", bob.authid, "--credential", successor)
    other = json.loads(site.wampauth("ticket", bob.authid, "--json").stdout)["credential"]
    assert f"{bob.authid} has the newer ticket {other}." in certain(site, "--ticket-env", "T", T=bob.ticket)["expired"]


def test_not_yet(site: Site) -> None:
    bob = site.add(not_before=FUTURE)
    assert certain(site, bob.authid) == {"not yet": f"The ticket {bob.credential} counts from {FUTURE} on."}


def test_one_that_counts_is_enough_unless_another_is_shown(site: Site) -> None:
    bob, new = site.add(), secrets.token_urlsafe()
    give(site, bob, "ticket", ticket_digest(new))
    site.wampauth("revoke", bob.authid, "--credential", bob.credential)
    assert certain(site, bob.authid) == {}
    assert certain(site, bob.authid, "--ticket-env", "T", T=new) == {}
    assert certain(site, bob.authid, "--ticket-env", "T", T=bob.ticket).keys() == {"revoked"}


@pytest.mark.parametrize("whole", [False, True])
def test_revoked_by_whom_and_when(site: Site, whole: bool) -> None:
    bob = site.add()
    site.wampauth("revoke", bob.authid, *(["--yes"] if whole else ["--credential", bob.credential]))
    (text,) = certain(site, bob.authid).values()
    (act,) = [one for one in site.audit if one["outcome"] == "acted" and one.get("authid") == bob.authid]
    assert f" was revoked at {act['time'][:15]}" in text
    assert f" by {act['operator']}" in text
    assert ("restore" in text) == whole


def test_another_realm(site: Site) -> None:
    bob = site.add()
    assert certain(site, bob.authid, "--realm", "devices").keys() == {"another realm"}


def test_a_role_that_the_configuration_has_not(site: Site) -> None:
    if site.is_several:
        pytest.skip("beside a database server lies no configuration")
    bob = site.add()
    site.wampauth("set", bob.authid, "--role", "janitor", "--force")
    found = certain(site, bob.authid)["not in the configuration"]
    assert found.startswith("realm1 has no role janitor in")
    assert f"{acts.operator()} gave it that at 2" in found and "(set: role frontend -> janitor, --force)" in found
    assert f"`wampauth set {bob.authid} --role frontend` gives it a place that there is (realm1 also has " in found
    site.wampauth("set", bob.authid, "--role", "backent", "--force")
    found = certain(site, bob.authid)["not in the configuration"]
    assert f"`wampauth set {bob.authid} --role backend` gives it" in found


def test_what_the_node_asks_of_connections(site: Site) -> None:
    bob, key = site.add(), pubkey(SigningKey.generate())
    assert "channel binding" not in {one["reason"] for one in asked(site, bob.authid)["reasons"]}
    give(site, bob, "key", key)
    minded = {one["reason"] for one in asked(site, bob.authid)["reasons"] if not one["certain"]}
    assert minded >= ({"TLS", "channel binding"} if site.tls else set())
    assert site.tls or not minded & {"TLS", "channel binding"}


def test_a_refused_key_is_found_by_its_owner(site: Site) -> None:
    """Though its client says no name; and by the key itself, as it is pasted."""
    if not site.tls:
        pytest.skip("where a key may be refused before anybody looks whose it is")
    bob, key = bare(site), pubkey(SigningKey.generate())
    give(site, bob, "key", key)
    assert site.knock().hello(None, "cryptosign", extra={"pubkey": key})[2] == "com.example.channel_binding_required"
    for name in bob.authid, f"0x{key.upper()} ", f" {bob.authid}\r\n":
        (said,) = site.wampauth("why", "--last", name).stdout.splitlines()
        assert "the client didn't bind its signature to the connection" in said
        assert key in site.wampauth("log", "--authid", name).stdout.splitlines()[-1]
    for args in (bob.authid,), ("--key", key):
        first = site.wampauth("why", *args, check=False).stdout.splitlines()[:2]
        assert "Switch channel binding (tls-unique) on in the client: docs/tls.md" in "".join(first)
        assert certain(site, *args).keys() == {"channel binding"}


def test_a_wrong_signature(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which only the router knows; and nobody who has proven who he is is told of."""
    if site.tls or site.is_split:
        pytest.skip("the simplest node has all of it in one audit")
    bob, alice, key = site.add(), site.add(), SigningKey.generate()
    give(site, bob, "key", pubkey(key))
    site.login(alice)
    with site.knock() as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key)})
        assert client.authenticate(sign(SigningKey.generate(), challenge))[2] == "wamp.error.not_authorized"
    later = time.time() + 11  # when it could have joined
    monkeypatch.setattr(time, "time", lambda: later)
    why = "was challenged: no right proof followed. The client has another private key, or has hung up"
    (said,) = told(site, bob.authid)
    assert said.endswith(f" {bob.authid} from {OURS} {why}")
    shown = f"{bob.authid} from {OURS} was challenged at 2"
    for args in (bob.authid,), ("--key", pubkey(key)):
        assert shown in site.wampauth("why", *args).stdout
    with site.knock() as client:
        challenge = client.hello(None, "cryptosign", extra={"pubkey": pubkey(key)})
        assert client.authenticate(sign(key, challenge))[0] == WELCOME
    wait_for(lambda: any(one["outcome"] == "joined" and one["authid"] == bob.authid for one in site.audit))
    monkeypatch.setattr(time, "time", lambda: later + 11)
    for person in bob, alice:  # two logins within ten seconds aren't told apart
        assert told(site, person.authid)[0].startswith("No refusal")


def test_throttled_until_when(site: Site) -> None:
    bob = site.add()
    with site.knock() as client:
        client.login_ticket(bob.authid, "a guess")
    assert certain(site, bob.authid) == {}
    for _ in range(2 * AT_ONCE):  # at each authenticator of the scaled node
        answer = site.knock().login_ticket(bob.authid, "a guess")
        if answer[0] == ABORT and answer[2] == "com.example.too_many_attempts":
            break
    found = certain(site, bob.authid)["throttled"]
    assert f"From {OURS}, {bob.authid} is throttled until 2" in found
    said = site.wampauth("why", bob.authid, "--ticket-env", "T", check=False, T=bob.ticket).stdout
    assert f"\nThe ticket {bob.credential} itself is good.\n" in said and "Nothing keeps" not in said


def test_too_many_sessions(site: Site) -> None:
    bob = site.add()
    site.wampauth("set", bob.authid, "--max-sessions", "1")
    assert certain(site, bob.authid) == {}
    site.login(bob)
    found = certain(site, bob.authid)
    assert found.keys() == {"too many sessions"}
    assert found["too many sessions"].index("--max-sessions N") < found["too many sessions"].index("wampauth kick")


def test_it_counts_as_no_attempt(site: Site) -> None:
    """However often it is asked, he isn't throttled, and no audit has a line of it."""
    bob = site.add()
    before = attempts(site)
    for _ in range(3):
        certain(site, bob.authid, "--ticket-env", "T", T="a guess")
    assert attempts(site) == before
    assert site.knock().login_ticket(bob.authid, bob.ticket)[0] == WELCOME


def attempts(site: Site) -> list[dict[str, Any]]:
    """What the audit has, but for sessions that leave and summaries of attempts that were made before."""
    return [one for one in site.audit if one["outcome"] != "left" and "count" not in one]


@pytest.mark.parametrize(
    "args", [[], ["bob", "--last", "--realm", "realm1"], ["bob", "--key", "x", "--ticket-env", "T"]]
)
def test_what_makes_no_sense(site: Site, args: list[str]) -> None:
    assert site.wampauth("why", *args, check=False).exit_code == 2
