"""What do Crossbar.io's rules give, and to which patterns?

A rule is applied to the URI that a client names. But who subscribes or registers with ``match: prefix`` or ``wildcard``
names many URIs at once, and the router ignores that: with a rule for ``com.example.topic1`` alone, a prefix
subscription hears ``com.example.topic1.salaries``, too. Here a pattern is covered only if each URI is that it can
match.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autobahn.wamp.uri import Pattern

ANSWERED_BY = {"subscribe": "publish", "register": "call"}  # what others do that reaches who did this

Rule = Mapping[str, Any]  # in the form of Crossbar.io's ``permissions``


class Rules:
    """The rules of one role."""

    def __init__(self, role: str, rules: Sequence[Rule]) -> None:
        """:param rules: well-formed ones."""
        from crossbar.router.role import RouterRoleStaticAuth  # here, since it takes 0.4 s to load

        self._router = RouterRoleStaticAuth(None, role, list(rules))
        read = [_read(rule) for rule in rules]
        # The router keeps both kinds like this: of two rules at one place, the last counts.
        self._plain = {rule.uri: rule for rule in read if ".." not in rule.uri}
        wild = {rule.uri[: rule.uri.index("..")]: rule for rule in read if ".." in rule.uri}
        self._wild = {head: rule for head, rule in wild.items() if head[:1] != "."}  # such URIs it never gets

    def apply(self, uri: str, action: str) -> dict[str, Any]:
        """What the router itself would say of one URI: ``allow`` and so on."""
        return self._router.authorize(None, uri, action, {})  # type: ignore[no-any-return]

    def names(self, uri: str) -> bool:
        """Whether there is a rule for this URI alone."""
        rule = self._plain.get(uri)
        return rule is not None and rule.match == "exact"

    def cover(self, pattern: str, match: str, action: str) -> bool:
        """Whether `action` is allowed on each URI that `pattern` matches. In doubt it isn't.

        :param match: ``prefix`` or ``wildcard``; nothing is covered for another one.
        """
        parts = pattern.split(".")
        if match == "wildcard":
            return self._cover_wildcard(parts, action) if "" in parts else bool(self.apply(pattern, action)["allow"])
        return match == "prefix" and self._cover_prefix(pattern, action)

    def _cover_prefix(self, prefix: str, action: str) -> bool:
        inside = [rule for uri, rule in self._plain.items() if uri.startswith(prefix)]
        near = [rule for head, rule in self._wild.items() if head.startswith(prefix) or prefix.startswith(head)]
        return self._is_below(prefix, inside, near, action)

    def _cover_wildcard(self, parts: list[str], action: str) -> bool:
        first = parts.index("")
        head = "".join(part + "." for part in parts[:first])
        inside = [rule for uri, rule in self._plain.items() if _can_begin(parts, uri)]
        near = [rule for start, rule in self._wild.items() if _can_begin(parts, start)]
        if self._is_below(head, inside, near, action):
            return True
        exact = [rule for rule in inside if rule.match == "exact" and _matches(parts, rule.uri)]
        covered = near and all(_is_wider(rule.uri, parts) for rule in near)
        return bool(covered) and all(getattr(rule, action) for rule in (*near, *exact))

    def _is_below(self, head: str, inside: Sequence[Any], near: Sequence[Any], action: str) -> bool:
        """Whether a prefix rule gives all that begins with `head`, and no other rule takes a part of it back. A longer
        rule that isn't for a prefix does: the router then allows nothing that is longer still.

        :param inside: the plain rules that may be longer.
        :param near: the wildcard rules that may apply instead.
        """
        above = [uri for uri in self._plain if head.startswith(uri)]
        if not above:
            return False
        nearest = self._plain[max(above, key=len)]
        longer = [rule for rule in inside if len(rule.uri) > len(nearest.uri)]
        if any(rule.match != "prefix" for rule in (nearest, *longer)):
            return False
        return all(getattr(rule, action) for rule in (nearest, *longer, *near))


def dangerous_rules(realm: Mapping[str, Any], asked: Mapping[str, Sequence[Rule]] | None = None) -> list[str]:
    """What static rules of a realm give beyond what they say: sentences for the operator.

    The router applies such rules itself, and we can't mend it: it ignores ``match`` and believes ``forward_for``.

    :param realm: from a node's configuration.
    :param asked: the rules of the roles that ask an authorizer instead; what isn't known of these is left out.
    """
    static = {role["name"]: list(role["permissions"]) for role in realm.get("roles", ()) if "permissions" in role}
    everybody = {**static, **(asked or {})}
    found = []
    for name, rules in static.items():
        for rule in map(_read, rules):
            where = f"role {name!r} in realm {realm.get('name')!r}, rule {rule.uri!r}: "
            others = [other for role, theirs in everybody.items() if role != name for other in theirs]
            found += [where + danger for danger in (*_open_to_patterns(rule, rules, others), *_believes(rule))]
    return found


def _read(rule: Rule) -> Any:
    """The rule as the router reads it."""
    from crossbar.router.role import RouterPermissions

    return RouterPermissions.from_dict(dict(rule))


def _open_to_patterns(rule: Any, own: Sequence[Rule], others: Sequence[Rule]) -> Iterator[str]:
    read = [_read(other) for other in others]
    mine = [_read(one) for one in own]
    for action, answer in ANSWERED_BY.items():
        if not getattr(rule, action):
            continue
        if rule.match == "prefix":
            taken = [one.uri for one in mine if one.uri.startswith(rule.uri) and not getattr(one, action)]
            reached = [uri for uri in taken if any(getattr(other, answer) and _meet(uri, other) for other in read)]
            if reached:
                yield f"with match=prefix it may {action} to {reached[0]!r}, too, which a narrower rule denies"
        else:
            reached = [one.uri for one in read if getattr(one, answer) and _goes_beyond(rule.uri, one)]
            if reached:
                yield f"with match=prefix it may {action} to what others {answer} under {reached[0]!r}, too"


def _believes(rule: Any) -> Iterator[str]:
    if (rule.call and rule.disclose_caller) or (rule.publish and rule.disclose_publisher):
        yield "it discloses who calls or publishes, and the client can forge that with forward_for"
    if rule.call and rule.match == "prefix" and "wamp.session.kill".startswith(rule.uri):
        yield "it gives the router's own procedures, by which a client can end others' sessions and read their details"


def _goes_beyond(uri: str, other: Any) -> bool:
    """Whether `other` is for URIs that begin with what `uri` (exact or with wildcards) matches, and are longer."""
    if other.match == "prefix":
        return _can_begin(uri.split("."), other.uri) or _begins(uri, other.uri)
    return other.uri != uri and _begins(uri, other.uri)


def _meet(uri: str, other: Any) -> bool:
    """Whether `other` is for something that begins with `uri`."""
    return _begins(uri, other.uri) or (other.match == "prefix" and uri.startswith(other.uri))


def _begins(pattern: str, uri: str) -> bool:
    """Whether `uri` begins with something that `pattern` matches, whose empty parts stand for any; so do those of
    `uri`."""
    *parts, last = pattern.split(".")
    theirs = uri.split(".")
    if len(theirs) <= len(parts) or not all(
        one in ("", two) or two == "" for one, two in zip(parts, theirs, strict=False)
    ):
        return False
    return theirs[len(parts)] == "" or theirs[len(parts)].startswith(last)


def _can_begin(parts: Sequence[str], head: str) -> bool:
    """Whether something that the wildcard pattern of these `parts` matches begins with `head`."""
    *whole, last = head.split(".")
    if len(whole) >= len(parts):
        return False
    begun = parts[len(whole)]
    same = all(part in ("", own) for part, own in zip(parts, whole, strict=False))
    return same and (begun == "" or begun.startswith(last))


def _matches(parts: Sequence[str], uri: str) -> bool:
    own = uri.split(".")
    return len(own) == len(parts) and all(part in ("", one) for part, one in zip(parts, own, strict=True))


def _is_wider(uri: str, parts: Sequence[str]) -> bool:
    """Whether a rule for the wildcard pattern `uri` is for all that the pattern of these `parts` matches."""
    try:
        Pattern(uri, Pattern.URI_TARGET_ENDPOINT)
    except TypeError:  # the router never finds such a rule to match
        return False
    own = uri.split(".")
    return len(own) == len(parts) and all(one in ("", part) for one, part in zip(own, parts, strict=True))
