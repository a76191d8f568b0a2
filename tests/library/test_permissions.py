"""Do the authorizer's rules do what the router's would, and no more? That they decide alike is shown in
test_sessions.py, against a real router."""

import inspect
import itertools
import re
from typing import Any

import pytest
from autobahn.wamp.message import Call, Publish, Register, Subscribe
from conftest import HERE, read_config
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wampauth.permissions import Permissions
from wampauth.rules import Rules, dangerous_rules

ALL = {"call": True, "register": True, "publish": True, "subscribe": True}
PROCEDURE = "org.acme.authorize"


@pytest.fixture
def permissions() -> Permissions:
    return Permissions({"frontend": [{"uri": "org.acme.", "match": "prefix", "allow": ALL}]}, PROCEDURE)


def test_what_a_rule_allows_is_allowed_and_nothing_else(permissions: Permissions) -> None:
    for action in ALL:
        assert permissions.decide("frontend", "org.acme.add2", action, {})["allow"] is True
        assert permissions.decide("frontend", "org.other", action, {})["allow"] is False
        assert permissions.decide("device", "org.acme.add2", action, {})["allow"] is False


def test_nothing_may_be_cached(permissions: Permissions) -> None:
    """The router's cache is not kept by session: what one session may would be allowed to all of its role."""
    for role in "frontend", "device":
        for uri in "org.acme.add2", "org.other", PROCEDURE:
            assert permissions.decide(role, uri, "call", {})["cache"] is False


@pytest.mark.parametrize(
    ("action", "uri", "options"),
    [
        ("call", "org.acme.authorize", {}),
        ("register", "org.acme.authorize", {"force_reregister": True}),
        ("register", "org.acme.", {"match": "prefix"}),
        ("register", "org.acme.", {"match": "wildcard"}),
        ("register", "org.acme.authorize", {"match": "wildcard"}),
    ],
)
def test_no_rule_lets_a_client_ask_the_authorizer_or_stand_in_for_it(
    permissions: Permissions, action: str, uri: str, options: dict[str, Any]
) -> None:
    """A wide rule would: who registers the procedure anew takes it over, and then decides for everybody."""
    assert permissions.decide("frontend", uri, action, options)["allow"] is False


@pytest.mark.parametrize(
    ("action", "uri", "options"),
    [
        ("call", "org.acme.authorized", {}),
        ("register", "org.acme.other.", {"match": "prefix"}),
        ("register", "org.acme..other", {"match": "wildcard"}),
        ("subscribe", "org.acme.", {"match": "prefix"}),
        ("publish", "org.acme.authorize", {"acknowledge": True}),
    ],
)
def test_what_only_looks_like_that_is_decided_by_the_rules(
    permissions: Permissions, action: str, uri: str, options: dict[str, Any]
) -> None:
    assert permissions.decide("frontend", uri, action, options)["allow"] is True


@pytest.mark.parametrize("action", ["call", "publish"])
def test_nobody_speaks_for_somebody_else(permissions: Permissions, action: str) -> None:
    """Where a rule discloses the caller, the router would believe this option, and show another's name."""
    options = {"forward_for": [{"session": 1, "authid": "boss", "authrole": "admin"}]}
    assert permissions.decide("frontend", "org.acme.add2", action, options)["allow"] is False


def test_long_uris_are_not_remembered(permissions: Permissions) -> None:
    """Or a client could fill the memory with decisions on URIs that nobody ever uses."""
    for number in range(10):
        assert permissions.decide("frontend", f"org.acme.{number}" + "x" * 60_000, "call", {})["allow"]
    assert permissions._remembered.cache_info().currsize == 0
    assert (permissions._remembered.cache_info().maxsize or 0) <= 10_000


# -- patterns: allowed only if each URI that it can match is


RULES: list[dict[str, Any]] = [
    {"uri": "org.acme.topic", "match": "exact", "allow": ALL},
    {"uri": "org.acme.open.", "match": "prefix", "allow": ALL},
    {"uri": "org.acme.part", "match": "prefix", "allow": ALL},
    {"uri": "org.acme.mixed.", "match": "prefix", "allow": ALL},
    {"uri": "org.acme.mixed.secret", "match": "exact", "allow": {"call": True}},
    {"uri": "org.acme.mixed.inner.", "match": "prefix", "allow": ALL},
    {"uri": "org.acme..wild", "match": "wildcard", "allow": ALL},
    {"uri": "org.starred.*", "allow": ALL},
]
PATTERNS = [
    ("org.acme.topic", "prefix", False),  # the rule is for this one alone
    ("org.acme.topi", "prefix", False),
    ("org.acme.topic.", "prefix", False),
    ("org.acme.topic.", "wildcard", False),
    ("org..topic", "wildcard", False),
    (".acme.topic", "wildcard", False),
    ("org.acme.topic", "wildcard", True),  # has no wildcard in it
    ("org.acme.", "prefix", False),
    ("", "prefix", False),
    ("", "wildcard", False),
    ("..", "wildcard", False),
    ("org.acme.open.", "prefix", True),
    ("org.acme.open", "prefix", False),  # org.acme.opened
    ("org.acme.open.x", "prefix", True),
    ("org.acme.open.x.y.", "prefix", True),
    ("org.acme.open.", "wildcard", True),
    ("org.acme.open..x", "wildcard", True),
    ("org.acme..x", "wildcard", False),
    ("org..open.x", "wildcard", False),
    ("org.acme.part", "prefix", True),
    ("org.acme.parting", "prefix", True),
    ("org.acme.parting.", "wildcard", True),
    ("org.acme.mixed.", "prefix", False),  # a part of it is denied
    ("org.acme.mixed.s", "prefix", False),
    ("org.acme.mixed.secret", "prefix", False),
    ("org.acme.mixed.secret.x", "prefix", False),
    ("org.acme.mixed.", "wildcard", False),
    ("org.acme.mixed.t", "prefix", True),
    ("org.acme.mixed.inner.", "prefix", True),
    ("org.acme..wild", "wildcard", True),
    ("org..other.wild", "wildcard", False),
    ("org.acme..", "wildcard", False),
    ("org.acme..wild.", "wildcard", False),
    ("..wild", "wildcard", False),
    ("org.acme..wild", "prefix", False),
    ("org.starred.", "prefix", True),
    ("org.starred", "prefix", False),
    ("org.starred..x", "wildcard", True),
    ("org.starred.*", "prefix", True),  # to the router a star is a character like others
    ("org.acme.open.", "suffix", False),  # no such thing
]


@pytest.mark.parametrize("action", ["subscribe", "register"])
@pytest.mark.parametrize(("uri", "match", "allowed"), PATTERNS)
def test_a_pattern_needs_a_rule_for_all_that_it_can_match(uri: str, match: str, allowed: bool, action: str) -> None:
    permissions = Permissions({"frontend": RULES}, PROCEDURE)
    assert permissions.decide("frontend", uri, action, {"match": match})["allow"] is allowed


names = st.sampled_from(["a", "b", "ab", ""])
uris = st.lists(names, min_size=1, max_size=4).map(".".join)
rules = st.fixed_dictionaries(
    {
        "uri": uris,
        "match": st.sampled_from(["exact", "prefix", "wildcard"]),
        "allow": st.fixed_dictionaries({"subscribe": st.booleans()}),
    }
)
NAMED = [".".join(parts) for size in (1, 2, 3, 4) for parts in itertools.product(["a", "b", "ab", "ba"], repeat=size)]


FIRST = [  # the router takes a rule that begins with a star, too
    {"uri": "a", "match": "prefix", "allow": {"subscribe": True}},
    {"uri": "..a", "match": "wildcard", "allow": {"subscribe": False}},
]


@given(st.lists(rules, min_size=1, max_size=5), uris, st.sampled_from(["prefix", "wildcard"]))
@example(FIRST, "a", "prefix")
@settings(max_examples=400)
def test_what_a_pattern_hears_could_be_subscribed_to_one_by_one(
    rules: list[dict[str, Any]], pattern: str, match: str
) -> None:
    """Whatever the rules: the router's own class decides of each URI that an allowed pattern matches."""
    role = Rules("frontend", rules)
    if role.cover(pattern, match, "subscribe"):
        for uri in NAMED:
            if hears(pattern, match, uri):
                assert role.apply(uri, "subscribe")["allow"], (pattern, uri)


@given(rules, uris)
def test_each_rule_covers_itself_and_what_is_narrower(rule: dict[str, Any], longer: str) -> None:
    rule["allow"] = {"subscribe": True}
    role = Rules("frontend", [rule])
    if rule["match"] == "prefix" and ".." not in rule["uri"]:
        assert role.cover(rule["uri"], "prefix", "subscribe")
        assert role.cover(rule["uri"] + longer, "prefix", "subscribe")


def hears(pattern: str, match: str, uri: str) -> bool:
    """WAMP's own words for it (section 'pattern-based subscription')."""
    if match == "prefix":
        return uri.startswith(pattern)
    parts, own = pattern.split("."), uri.split(".")
    return len(parts) == len(own) and all(part in ("", one) for part, one in zip(parts, own, strict=True))


# -- options: each one is looked at, or refused

BOSS = [{"session": 1, "authid": "boss", "authrole": "admin"}]
OPTIONS: dict[str, list[tuple[str, Any, bool, str]]] = {
    "call": [
        ("timeout", 5, True, "ends the client's own call"),
        ("timeout", 10**400, False, "the router can't count that far"),
        ("receive_progress", True, True, "the client's own results, in parts"),
        ("transaction_hash", "0x" + "0" * 64, True, "is passed on"),
        ("enc_algo", "cryptobox", True, "a payload that the router doesn't look into; but see below"),
        ("enc_key", "abc", True, "is passed on"),
        ("enc_serializer", "json", True, "is passed on"),
        ("caller", 1, False, "names somebody else as the caller"),
        ("caller_authid", "boss", False, "names somebody else as the caller"),
        ("caller_authrole", "admin", False, "names somebody else as the caller"),
        ("forward_for", BOSS, False, "names somebody else as the caller, and the router believes it"),
        ("forward_for", [], True, "is as good as none"),
    ],
    "register": [
        ("match", "exact", True, "is the default"),
        ("match", "prefix", False, "the rule is for one URI"),
        ("match", "wildcard", True, "without a wildcard in the URI"),
        ("invoke", "roundrobin", True, "the router sees that all of one URI say the same"),
        ("invoke", "first", True, "likewise"),
        ("concurrency", 2, True, "limits what the client itself is asked"),
        ("force_reregister", True, False, "throws out who has registered the URI, whoever that is"),
        ("force_reregister", False, True, "is the default"),
        ("forward_for", BOSS, False, "hides the registration from the sessions that it names"),
    ],
    "publish": [
        ("acknowledge", True, True, "the client's own answer"),
        ("exclude_me", False, True, "the client's own event"),
        ("exclude", [1], True, "fewer hear of it; never more"),
        ("exclude_authid", ["bob"], True, "likewise"),
        ("exclude_authrole", ["backend"], True, "likewise"),
        ("eligible", [1], True, "likewise"),
        ("eligible_authid", ["bob"], True, "likewise"),
        ("eligible_authrole", ["backend"], True, "likewise"),
        ("retain", True, True, "one event is kept, since the rule is for one topic; but see below"),
        ("transaction_hash", "0x" + "0" * 64, True, "is passed on"),
        ("enc_algo", "cryptobox", True, "a payload that the router doesn't look into; but see below"),
        ("enc_key", "abc", True, "is passed on"),
        ("enc_serializer", "json", True, "is passed on"),
        ("forward_for", BOSS, False, "names somebody else as the publisher, and the router believes it"),
    ],
    "subscribe": [
        ("match", "exact", True, "is the default"),
        ("match", "prefix", False, "the rule is for one URI"),
        ("match", "wildcard", True, "without a wildcard in the URI"),
        ("get_retained", True, True, "of a topic that the client may hear"),
        ("forward_for", BOSS, False, "hides the subscription from the sessions that it names"),
    ],
}
MESSAGES = {"call": Call, "register": Register, "publish": Publish, "subscribe": Subscribe}


@pytest.mark.parametrize(
    ("action", "option", "value", "allowed"),
    [(action, *row[:3]) for action, rows in OPTIONS.items() for row in rows],
)
def test_each_option_is_looked_at_or_refused(action: str, option: str, value: Any, allowed: bool) -> None:
    permissions = Permissions({"frontend": [{"uri": "org.acme.add2", "match": "exact", "allow": ALL}]}, PROCEDURE)
    assert permissions.decide("frontend", "org.acme.add2", action, {option: value})["allow"] is allowed


@pytest.mark.parametrize("action", list(MESSAGES))
def test_the_table_has_each_option_that_the_router_hands_on(action: str) -> None:
    """A newer router may have more: then this fails, and somebody has to think."""
    source = inspect.getsource(MESSAGES[action].marshal_options)
    assert set(re.findall(r'options\["(\w+)"\]', source)) == {row[0] for row in OPTIONS[action]}


@pytest.mark.parametrize("action", list(MESSAGES))
def test_an_option_that_is_not_known_is_refused(permissions: Permissions, action: str) -> None:
    assert permissions.decide("frontend", "org.acme.add2", action, {"x_on_behalf_of": "boss"})["allow"] is False


@pytest.mark.parametrize("others", [{"exclude": [1]}, {"eligible": [1]}, {"eligible_authid": ["bob"]}])
def test_only_one_event_of_a_topic_is_retained(others: dict[str, Any]) -> None:
    """The router appends those that aren't for all, without a limit, and they outlive the session."""
    permissions = Permissions({"frontend": [{"uri": "org.acme.add2", "match": "exact", "allow": ALL}]}, PROCEDURE)
    assert permissions.decide("frontend", "org.acme.add2", "publish", {"retain": True, **others})["allow"] is False


def test_nothing_is_retained_below_a_prefix(permissions: Permissions) -> None:
    """There a client could make up topics, and the router would keep an event of each."""
    assert permissions.decide("frontend", "org.acme.add2", "publish", {"retain": True})["allow"] is False
    assert permissions.decide("frontend", "org.acme.add2", "publish", {"retain": False})["allow"] is True


@pytest.mark.parametrize("action", ["call", "publish"])
def test_a_payload_that_is_to_be_validated_may_not_be_hidden(action: str) -> None:
    """The router doesn't validate one with enc_algo."""
    rule = {
        "uri": "org.acme.add2",
        "match": "exact",
        "allow": ALL,
        "validate": {"call": "acme.Add", "event": "acme.Add"},
    }
    permissions = Permissions({"frontend": [rule]}, PROCEDURE)
    assert permissions.decide("frontend", "org.acme.add2", action, {})["allow"] is True
    assert permissions.decide("frontend", "org.acme.add2", action, {"enc_algo": "cryptobox"})["allow"] is False


# -- static rules, which the router applies: what `wampauth check` tells of them


def realm(**roles: Any) -> dict[str, Any]:
    return {"name": "realm1", "roles": [{"name": name, "permissions": rules} for name, rules in roles.items()]}


def rule(uri: str, *actions: str, match: str = "exact", **more: Any) -> dict[str, Any]:
    return {"uri": uri, "match": match, "allow": dict.fromkeys(actions, True), **more}


TOPIC = rule("org.topic", "subscribe")


@pytest.mark.parametrize(
    ("roles", "dangerous"),
    [
        ({"frontend": [TOPIC], "staff": [rule("org.topic.salaries", "publish")]}, True),
        ({"frontend": [TOPIC], "staff": [rule("org.topics", "publish")]}, True),
        ({"frontend": [TOPIC], "staff": [rule("org.", "publish", match="prefix")]}, True),
        ({"frontend": [TOPIC], "staff": [rule("org.topic.", "publish", match="prefix")]}, True),
        ({"frontend": [TOPIC], "staff": [rule("org..salaries", "publish", match="wildcard")]}, True),
        ({"frontend": [TOPIC], "staff": [rule("org.topic", "publish")]}, False),
        ({"frontend": [TOPIC], "staff": [rule("org.other", "publish")]}, False),
        ({"frontend": [TOPIC], "staff": [rule("org.topic.salaries", "subscribe", "call")]}, False),
        ({"frontend": [TOPIC, rule("org.topic.salaries", "publish")]}, False),  # its own
        ({"frontend": [rule("org.add", "register")], "staff": [rule("org.add.secret", "call")]}, True),
        ({"frontend": [rule("org.add", "register")], "staff": [rule("org.add", "call")]}, False),
        (
            {
                "frontend": [rule("org..wild", "subscribe", match="wildcard")],
                "staff": [rule("org.x.wild.y", "publish")],
            },
            True,
        ),
        ({"frontend": [rule("org.", "subscribe", match="prefix")], "staff": [rule("org.topic", "publish")]}, False),
        (
            {
                "frontend": [rule("org.", "subscribe", match="prefix"), rule("org.secret", "call")],
                "staff": [rule("org.secret", "publish")],
            },
            True,
        ),
        ({"frontend": [rule("org.add", "call", disclose={"caller": True})]}, True),
        ({"frontend": [rule("org.add", "subscribe", disclose={"caller": True})]}, False),
        ({"frontend": [rule("", "call", match="prefix")]}, True),
        ({"frontend": [rule("wamp.session.count", "call")]}, False),
    ],
)
def test_static_rules_that_give_more_than_they_say_are_found(roles: dict[str, Any], dangerous: bool) -> None:
    found = dangerous_rules(realm(**roles))
    assert bool(found) is dangerous
    assert all("role 'frontend' in realm 'realm1'" in sentence for sentence in found)


def test_rules_of_roles_that_ask_are_looked_at_as_others() -> None:
    """Nothing is wrong with them, but somebody else may hear what they publish."""
    node = {
        **realm(frontend=[TOPIC]),
        "roles": [*realm(frontend=[TOPIC])["roles"], {"name": "staff", "authorizer": "x.y"}],
    }
    assert not dangerous_rules(node)
    assert dangerous_rules(node, {"staff": [rule("org.topic.salaries", "publish")]})


@pytest.mark.parametrize("name", ["config.json", "hardened.yaml", "scaled.yaml"])
def test_no_shipped_configuration_is_open_to_it(name: str) -> None:
    config = read_config(HERE / ".crossbar" / name)
    components = [one for worker in config["workers"] for one in worker.get("components", ())]
    realms = [one for worker in config["workers"] for one in worker.get("realms", ())]
    assert {one["name"] for one in realms} == {"realm-auth", "realm1", "devices"}
    for one in realms:
        asked = [part.get("extra", {}).get("roles", {}) for part in components if part["realm"] == one["name"]]
        assert dangerous_rules(one, {role: rules for roles in asked for role, rules in roles.items()}) == []
