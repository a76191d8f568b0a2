"""Why doesn't a credential or a principal count, and what does in its place?"""

from typing import Any

from wampauth.cli.doers import Acts
from wampauth.store.reading import ACTIVE

MAKES = {  # a kind of credential: what gives a principal another one
    "ticket": "ticket {}",
    "chosen": "ticket {}",
    "key": "key {} PUBKEY",
    "cert": "cert {} FILE",
    "scram": "password {}",
    "token": "enrol {}",
}
CALLED = {"chosen": "ticket", "cert": "certificate", "scram": "password"}  # if not as the kind
TICKETS = ("ticket", "chosen")
SHOWN = {"key": " PUBKEY", "cert": " FILE", "chosen": " --from-stdin"}  # what `rotate` needs besides

Credential = dict[str, Any]  # as ``showing.show`` has it


def named(one: Credential) -> str:
    """Such as ``ticket 66d0cfe8f9f5e93a (nightly-build)``."""
    return f"{CALLED.get(one['kind'], one['kind'])} {one['id']}" + (f" ({one['label']})" if one["label"] else "")


def revoked(principal: dict[str, Any], acts: Acts) -> str:
    """That a principal was revoked, by whom, and what takes it back."""
    authid = principal["authid"]
    again = f"`wampauth restore {authid}` lets it in again"
    return f"{authid} was revoked at {principal['revoked']}{acts.by_revoker(None)}: {again}"


def obstacle(one: Credential, principal: dict[str, Any], acts: Acts) -> tuple[str, str] | None:
    """Why a credential doesn't count now, in a word and in sentences; None: it does.

    :param principal: with all its credentials.
    """
    if one["state"] == "revoked":
        when = f"was revoked at {one['revoked']}{acts.by_revoker(one['id'])}"
    elif one["state"] == "expired":
        when = f"has run out at {one['expires']}"
    elif one["state"] != ACTIVE:
        return "not yet", f"The {named(one)} counts from {one['not_before']} on."
    else:
        return None
    return one["state"], f"The {named(one)} {when}: {_in_its_place(one, principal, acts)}."


def _in_its_place(old: Credential, principal: dict[str, Any], acts: Acts) -> str:
    authid = principal["authid"]
    another = f"`wampauth {MAKES[old['kind']].format(authid)}` gives {authid} another one"
    if found := _successor(old, principal, acts):
        new, how = found
        lost = f"`wampauth rotate {authid} {new['id']}{SHOWN.get(new['kind'], '')} --overlap 0s`"
        return f"the {named(new)} follows it{how}. The client is to use that one; if it is lost, {lost} replaces it"
    if newer := _newer(old, principal):
        return f"{authid} has the newer {named(newer)}. Is the client to use that one? Else {another}"
    return another


def _successor(old: Credential, principal: dict[str, Any], acts: Acts) -> tuple[Credential, str] | None:
    """The last one that follows by `rotate`, if it counts, and who has made it."""
    known = {one["id"]: one for one in principal["credentials"]}
    now, how, passed = old, "", set[str]()
    while now["id"] not in passed and (act := acts.successor(now)) and act.get("credential") in known:
        passed.add(now["id"])
        now, how = known[str(act["credential"])], f" ({act.get('operator')} rotated it at {act['time']})"
    return (now, how) if now is not old and now["state"] == ACTIVE else None


def _newer(old: Credential, principal: dict[str, Any]) -> Credential | None:
    """The last ticket that was made since and counts; of other kinds, only one of the same label."""

    def is_meant(one: Credential) -> bool:
        is_ticket = one["kind"] in TICKETS and old["kind"] in TICKETS
        is_same = one["kind"] == old["kind"] and one["label"] and one["label"] == old["label"]
        return one["state"] == ACTIVE and one["created"] > old["created"] and bool(is_ticket or is_same)

    return max(filter(is_meant, principal["credentials"]), key=lambda one: one["created"], default=None)
