"""What may a role do that asks the authorizer? Crossbar.io's own rules, applied by us instead of the router.

But for these rules only what they say: a pattern needs a rule for all that it can match (``rules.py``), and each option
of an action is looked at. One that we don't know is refused, so that a newer router can't bring one in unseen.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from wampauth.rules import Rules
from wampauth.settings import SettingsError

LONGEST_URI = 255  # characters; what was decided on a longer one isn't remembered
LONGEST_TIMEOUT = 2**31  # seconds; with a longer one the router can't count
DENIED = {"allow": False, "cache": False}  # the router's cache isn't kept by session: "cache" must always be false

RECEIVERS = {"exclude", "exclude_authid", "exclude_authrole", "eligible", "eligible_authid", "eligible_authrole"}
PAYLOAD = {"enc_algo", "enc_key", "enc_serializer"}  # one that the router doesn't look into
KNOWN = {  # the options that may be allowed. Others speak for somebody else, throw somebody out, or are new
    "call": {"timeout", "receive_progress", "transaction_hash", *PAYLOAD},
    "register": {"match", "invoke", "concurrency"},
    "publish": {"acknowledge", "exclude_me", "retain", "transaction_hash", *RECEIVERS, *PAYLOAD},
    "subscribe": {"match", "get_retained"},
}

Decision = dict[str, Any]


class Permissions:
    """The rules of the roles that ask here, in the same form as Crossbar.io's ``permissions``."""

    def __init__(self, roles: Mapping[str, Any], procedure: str) -> None:
        """
        :param roles: a list of rules for each role; :func:`check` has found them well-formed.
        :param procedure: the URI at which the router asks. No rule lets a client call it, or register it anew.
        """
        self._roles = {role: Rules(role, rules) for role, rules in roles.items()}
        self._procedure = procedure
        self._remembered = lru_cache(maxsize=1_000)(self._apply)

    def decide(self, role: str, uri: str, action: str, options: Mapping[str, Any]) -> Decision:
        """What the router itself would say of each URI that is meant, had the role these rules as its permissions.
        But nobody may stand in for the authorizer, speak for somebody else, or do what no rule tells of."""
        match = options.get("match") or "exact"
        ours = action in ("call", "register") and self._takes_in_ours(uri, match)
        if ours or role not in self._roles or (options and self._are_refused(role, uri, action, options)):
            return dict(DENIED)
        apply = self._remembered if len(uri) <= LONGEST_URI else self._apply
        decision = {**apply(role, uri, action, match), "cache": False}
        if decision.get("validate") and options.get("enc_algo"):
            return dict(DENIED)  # what the rule wants to see would be hidden
        return decision

    def _apply(self, role: str, uri: str, action: str, match: str) -> Decision:
        rules = self._roles[role]
        if match == "exact":
            return rules.apply(uri, action)
        return {"allow": rules.cover(uri, match, action)}

    def _are_refused(self, role: str, uri: str, action: str, options: Mapping[str, Any]) -> bool:
        """Whether an option is set that may not be. One that is false or empty isn't set."""
        if any(value for name, value in options.items() if name not in KNOWN[action]):
            return True
        if options.get("retain") and not self._may_retain(role, uri, options):
            return True
        return bool(options.get("timeout", 0) > LONGEST_TIMEOUT)

    def _may_retain(self, role: str, uri: str, options: Mapping[str, Any]) -> bool:
        """The router keeps what is retained for ever: one event of each topic, but any number of those that aren't for
        all. So only for a topic that a rule names."""
        return self._roles[role].names(uri) and not any(options.get(name) for name in RECEIVERS)

    def _takes_in_ours(self, uri: str, match: str) -> bool:
        """Whether a URI, or a pattern, takes in the authorizer's own procedure."""
        if match == "wildcard":
            parts, ours = uri.split("."), self._procedure.split(".")
            return len(parts) == len(ours) and all(part in ("", own) for part, own in zip(parts, ours, strict=True))
        return self._procedure.startswith(uri) if match == "prefix" else uri == self._procedure


def check(personality: Any, roles: Any) -> None:
    """See that the rules are well-formed.

    :param personality: Crossbar.io's, which it hands to each ``check_config``.
    :raises SettingsError: if there isn't a list of rules for each role, or for a rule that Crossbar.io wouldn't take.
    """
    if not isinstance(roles, Mapping):
        raise SettingsError("setting 'roles' must be an object, with a list of rules for each role")
    if not roles:
        return
    from crossbar.common.checkconfig import InvalidConfigException, check_router_realm_role  # which takes its time

    for role, permissions in roles.items():
        try:
            check_router_realm_role(personality, {"name": role, "permissions": permissions})
        except InvalidConfigException as wrong:
            raise SettingsError(f"setting 'roles', role {role!r}: {wrong}") from None
