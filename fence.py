"""What may a role do, behind the fence? Crossbar.io's own rules, applied by us instead of the router."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from crossbar.common.checkconfig import check_router_realm_role
from crossbar.router.role import RouterRoleStaticAuth

PROCEDURE = "com.example.authorize"
LONGEST_URI = 255  # characters; what was decided on a longer one isn't remembered
DENIED = {"allow": False, "cache": False}  # the router's cache isn't kept by session: "cache" must always be false

Decision = dict[str, Any]


class Fence:
    """The rules of the roles that ask here, in the same form as Crossbar.io's ``permissions``."""

    def __init__(self, roles: Mapping[str, Any]) -> None:
        """:param roles: a list of rules for each role; :func:`check` has found them well-formed."""
        self._roles = {role: RouterRoleStaticAuth(None, role, rules) for role, rules in roles.items()}
        self._remembered = lru_cache(maxsize=1_000)(self._apply)

    def decide(self, role: str, uri: str, action: str, options: Mapping[str, Any]) -> Decision:
        """What the router itself would say, had the role these rules as its permissions. But nobody may stand in for
        the fence, or speak for somebody else."""
        ours = action in ("call", "register") and covers_us(uri, options.get("match"))
        if ours or options.get("forward_for"):
            return dict(DENIED)
        apply = self._remembered if len(uri) <= LONGEST_URI else self._apply
        return {**apply(role, uri, action), "cache": False}

    def _apply(self, role: str, uri: str, action: str) -> Decision:
        rules = self._roles.get(role)
        return rules.authorize(None, uri, action, {}) if rules else DENIED


def covers_us(uri: str, match: str | None) -> bool:
    """Whether a URI, or a pattern, takes in the fence's own procedure."""
    if match == "wildcard":
        parts, ours = uri.split("."), PROCEDURE.split(".")
        return len(parts) == len(ours) and all(part in ("", own) for part, own in zip(parts, ours, strict=True))
    return PROCEDURE.startswith(uri) if match == "prefix" else uri == PROCEDURE


def check(personality: Any, roles: Any) -> None:
    """See that the rules are well-formed.

    :raises ValueError: if there isn't a list of rules for each role.
    :raises crossbar.common.checkconfig.InvalidConfigException: for a rule that Crossbar.io wouldn't take.
    """
    if not isinstance(roles, Mapping):
        raise ValueError("setting 'roles' must be an object, with a list of rules for each role")
    for role, permissions in roles.items():
        check_router_realm_role(personality, {"name": role, "permissions": permissions})
