"""Do the authorizer's rules do what the router's would, and no more? That they decide alike is shown in
test_sessions.py, against a real router."""

from typing import Any

import pytest

from wampauth.permissions import Permissions

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
