"""What may a role do that asks the authorizer? Crossbar.io's own rules, applied by us instead of the router."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from crossbar.common.checkconfig import InvalidConfigException, check_router_realm_role
from crossbar.router.role import RouterRoleStaticAuth

from wampauth.settings import SettingsError

LONGEST_URI = 255  # characters; what was decided on a longer one isn't remembered
DENIED = {"allow": False, "cache": False}  # the router's cache isn't kept by session: "cache" must always be false

Decision = dict[str, Any]


class Permissions:
    """The rules of the roles that ask here, in the same form as Crossbar.io's ``permissions``."""

    def __init__(self, roles: Mapping[str, Any], procedure: str) -> None:
        """
        :param roles: a list of rules for each role; :func:`check` has found them well-formed.
        :param procedure: the URI at which the router asks. No rule lets a client call it, or register it anew.
        """
        self._roles = {role: RouterRoleStaticAuth(None, role, rules) for role, rules in roles.items()}
        self._procedure = procedure
        self._remembered = lru_cache(maxsize=1_000)(self._apply)

    def decide(self, role: str, uri: str, action: str, options: Mapping[str, Any]) -> Decision:
        """What the router itself would say, had the role these rules as its permissions. But nobody may stand in for
        the authorizer, or speak for somebody else."""
        ours = action in ("call", "register") and self._takes_in_ours(uri, options.get("match"))
        if ours or options.get("forward_for"):
            return dict(DENIED)
        apply = self._remembered if len(uri) <= LONGEST_URI else self._apply
        return {**apply(role, uri, action), "cache": False}

    def _apply(self, role: str, uri: str, action: str) -> Decision:
        rules = self._roles.get(role)
        return rules.authorize(None, uri, action, {}) if rules else DENIED

    def _takes_in_ours(self, uri: str, match: str | None) -> bool:
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
    for role, permissions in roles.items():
        try:
            check_router_realm_role(personality, {"name": role, "permissions": permissions})
        except InvalidConfigException as wrong:
            raise SettingsError(f"setting 'roles', role {role!r}: {wrong}") from None
