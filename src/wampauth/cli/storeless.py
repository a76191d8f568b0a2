"""Why can't somebody get in where nodes ask checks or a store of an author's own? As far as the audit and the
configuration tell.
"""

import json
import sys

import click

from wampauth.cli.acting import audits_of_store
from wampauth.cli.asked import instead
from wampauth.cli.joins import JOINED, places_of_audit
from wampauth.cli.lately import Lately
from wampauth.cli.reasons import no_place
from wampauth.cli.telling import in_one_line
from wampauth.cli.trying import Attempt
from wampauth.history import Record
from wampauth.store import showing

MORE = "Only the audit was asked: who may join is decided by checks, or a store, of your own."


def tell_from_audit(authid: str, as_json: bool) -> None:
    """Say what is known of AUTHID. Exit code 1: nobody knows here that it gets in.

    :raises showing.Refused: if nothing is.
    """
    lately = Lately(None, Attempt(authid), audits_of_store())
    last = lately.last or {}
    if not last and not lately.before and not lately.ended:
        path = click.get_current_context().find_root().obj
        why = instead(path) or f"{path} is a store of your own"
        raise showing.Refused(f"{why}. The audit has no login of {authid} since yesterday")
    wrong = _wrong(last)
    if as_json:
        reasons = [{"reason": "not in the configuration", "text": wrong, "certain": True}] if wrong else []
        known = {"authid": authid, "gets_in": False if wrong else None, "tried": None, "credential": None}
        refused = [one.record for one in lately.before]
        click.echo(json.dumps({**known, "reasons": reasons, "refused": refused, "ended": lately.ended}))
        sys.exit(1)
    for one in lately.before:
        click.echo(lately.sentence(one))
    if last and not lately.before:
        click.echo(
            in_one_line(f"{authid} got in, the last time at {last['time']}; no refusal is known since yesterday.")
        )
    if lately.ended:
        click.echo(in_one_line(f"Its session was ended at {lately.ended['time']}: {lately.ended.get('reason')}."))
    if wrong:
        click.echo(wrong)
    elif last.get(JOINED) is False and {"role", "reason"} & last.keys() == {"role"} and places_of_audit().roles:
        click.echo(in_one_line(f"By the configuration, {last.get('realm')} has the role {last['role']} now."))
    click.echo(MORE, err=True)
    sys.exit(1)


def _wrong(last: Record) -> str | None:
    """Why the router can't but refuse it, if it comes as it came the last time."""
    if "role" not in last or "realm" not in last or last["outcome"] == "refused":
        return None
    wrong = no_place(places_of_audit(), str(last["realm"]), str(last["role"]))
    return in_one_line(wrong) if wrong else None
