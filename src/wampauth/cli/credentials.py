"""What do principals log in with? Tickets and public keys.

A ticket is never taken from the command line, where other users of the machine could read it, and is shown only once.
"""

import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from wampauth import certificates, keys, names, scram
from wampauth.cli.acting import acted, audits_of_store
from wampauth.cli.doers import ALREADY, Acts
from wampauth.cli.options import Authid, on_store, terms, with_chosen, with_terms
from wampauth.cli.reaching import ended
from wampauth.cli.saying import as_object, say, with_json
from wampauth.store import Connection, chosen_verifier, reading, showing, ticket_digest, writing
from wampauth.store.moments import iso
from wampauth.store.moments import seconds as seconds_of


@click.command()
@click.argument("authid", type=Authid())
@with_terms
@with_json
@with_chosen
@on_store()
def ticket(store: Connection, authid: str, from_stdin: bool, from_env: str | None, **options: str | None) -> None:
    """Make a ticket for AUTHID and print it, once. Or take one that a person chose."""
    secret, credential = new_ticket(from_stdin, from_env)
    given = terms(store, **options)
    identifier = writing.add_credential(store, authid, {**credential, **given})
    acted("ticket", authid, credential=identifier, change=described({"kind": credential["kind"], **given}))
    sentence = f"{authid} has the {credential['kind']} ticket {identifier}.".replace(" ticket ticket", " ticket")
    sentence += alike(store, authid, given)
    say(sentence, ticket=secret, authid=authid, credential=identifier, kind=credential["kind"])


@click.command()
@click.argument("authid", type=Authid())
@click.argument("pubkey", metavar="PUBKEY|FILE")
@with_terms
@with_json
@on_store()
def key(store: Connection, authid: str, pubkey: str, **options: str | None) -> None:
    """Register a public key for AUTHID: 64 hexadecimal digits, an OpenSSH line, a PEM, base64, or a file that holds one
    of these."""
    given = terms(store, **options)
    verifier = keys.read_public(pubkey)
    identifier = writing.add_credential(store, authid, {"kind": "key", "verifier": verifier, **given})
    acted("key", authid, credential=identifier, change=described({"key": verifier, **given}))
    sentence = f"{authid} has the key {identifier}.{alike(store, authid, given)}"
    say(sentence, authid=authid, credential=identifier, kind="key", pubkey=verifier)


@click.command()
@click.argument("authid", type=Authid())
@click.argument("file", type=click.Path(path_type=Path))
@with_terms
@with_json
@on_store()
def cert(store: Connection, authid: str, file: Path, **options: str | None) -> None:
    """Register a TLS client certificate for AUTHID, in PEM or DER. It counts until it runs out, or --expires."""
    credential = of_certificate(store, file, terms(store, **options))
    identifier = writing.add_credential(store, authid, credential)
    told = {"fingerprint": credential["verifier"], "expires": credential["expires"]}
    acted("cert", authid, credential=identifier, change=described(told))
    sentence = f"{authid} has the certificate {identifier}.{alike(store, authid, credential)}"
    say(sentence, authid=authid, credential=identifier, kind="cert", **told)


@click.command()
@click.argument("authid", type=Authid())
@with_terms
@with_json
@with_chosen
@on_store()
def password(store: Connection, authid: str, from_stdin: bool, from_env: str | None, **options: str | None) -> None:
    """Give AUTHID a password, for WAMP-SCRAM, in place of the one that it has. It is asked for, twice."""
    showing.show(store, names.ascii_authid(authid))
    chosen = (
        chosen_secret(from_stdin, from_env)
        if from_stdin or from_env
        else click.prompt(f"Password of {authid}", hide_input=True, confirmation_prompt=True, err=True)
    )
    verifier = scram.derive(names.ticket(chosen), reading.scram_salt(store, authid))
    given = terms(store, **options)
    identifier = writing.set_password(store, authid, verifier, given)
    acted("password", authid, credential=identifier, change=described(given) or None)
    sentence = f"{authid} has the password {identifier}, and no other."
    say(sentence, authid=authid, credential=identifier, kind="scram")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_json
def keygen(file: Path) -> None:
    """Make a key pair: the private half in FILE (for you alone), the public half in FILE.pub and on standard output."""
    pubkey = keys.generate(file)
    say(None, shown=pubkey, pubkey=pubkey, file=str(file))


@click.command()
@click.argument("authid", type=Authid())
@click.option("--credential", metavar="ID", help="Withdraw only this one; its label will do.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@as_object
@on_store(urgent=True)
def revoke(store: Connection, authid: str, credential: str | None, yes: bool, as_json: bool) -> None:
    """Withdraw a credential of AUTHID or, without --credential, all there are and will be, until `restore`."""
    if credential is None and not yes:
        click.confirm(f"Withdraw everything that {authid} can log in with?", abort=True, err=True)
    who = showing.show(store, authid)
    meant = showing.credential(store, authid, credential) if credential is not None else who
    identifier = meant["id"] if credential is not None else None
    since, by = meant["revoked"], Acts(audits_of_store(), who["authid"]).by_revoker(identifier)
    writing.revoke(store, authid, identifier)
    acted("revoke", who["authid"], credential=identifier, change=ALREADY if since else None)
    told = ended(store, who, identifier)
    if as_json:
        click.echo(json.dumps({"authid": authid, "credential": identifier, "already": since, **told.numbers()}))
    else:
        already = f" already, since {since}{by}" if since else ""
        click.echo(f"{credential or authid} is revoked{already}. {told}", err=True)


def of_certificate(store: Connection, file: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a certificate, with the terms that were given: it ends with the certificate, or before."""
    fingerprint, ends = certificates.load(file)
    if ends <= showing.now(store):
        raise showing.Refused(f"the certificate in {file} has run out")
    expires = min(ends, seconds_of(given.get("expires")) or ends)
    return {**given, "kind": "cert", "verifier": fingerprint, "expires": iso(expires)}


def new_ticket(from_stdin: bool, from_env: str | None) -> tuple[str | None, dict[str, str]]:
    """A ticket to hand over, if it was made here, and what to store of it."""
    if not (from_stdin or from_env):
        made = secrets.token_urlsafe(32)  # 256 bits
        return made, {"kind": "ticket", "verifier": ticket_digest(made)}
    return None, {"kind": "chosen", "verifier": chosen_verifier(names.ticket(chosen_secret(from_stdin, from_env)))}


def chosen_secret(from_stdin: bool, from_env: str | None) -> str:
    """What a person chose, from a place where other users of the machine can't read it."""
    try:
        chosen = sys.stdin.readline() if from_stdin else os.environ.get(from_env or "", "")
    except UnicodeDecodeError:
        chosen = "\udc80"  # no more of a text than this
    if not (chosen := names.without_line_end(chosen)):
        raise showing.Refused(
            "standard input is empty: pipe the secret in"
            if from_stdin
            else f"the variable {from_env} isn't set: export it first"
        )
    return chosen


def alike(store: Connection, authid: str, given: dict[str, Any]) -> str:
    """A sentence if another credential of AUTHID has the label that was just given."""
    labels = [one["label"] for one in showing.show(store, authid)["credentials"] if one["label"]]
    if sum(names.look_alike(label, given.get("label") or "") for label in labels) < 2:
        return ""
    return f" Another one is called {given['label']!r}, too: say its id to `rotate` or `revoke` it."


def described(terms: dict[str, str]) -> str:
    """What the audit has of a credential."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in terms.items())
