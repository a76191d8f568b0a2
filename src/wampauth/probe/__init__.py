"""What could a stranger do to a WAMP router's authentication? We try, from outside, and report.

    wampauth probe ws://localhost:8080/ws --realm realm1 --authid client1

Any router will do: nothing here knows the library's own authenticator. What is sent is bounded (:mod:`budget`), and a
router that isn't on this machine is left alone unless the user says that they may test it.
"""

import os
import ssl
from pathlib import Path
from typing import Any

import click
from nacl.signing import SigningKey

from wampauth.probe import run
from wampauth.probe.report import FALLS, Row, as_json, as_text, spent, summary
from wampauth.probe.target import Address, Target, Unreachable, resolve
from wampauth.probe.turns import trust

UNUSABLE = 2  # exit code; that of click for a wrong option, too


class NotProbed(click.ClickException):
    """There was nothing to probe, or we mustn't."""

    exit_code = UNUSABLE


@click.command("probe")
@click.argument("url")
@click.option("--realm", required=True, help="The realm to join.")
@click.option("--authid", required=True, help="A principal that exists there: best, one made for tests.")
@click.option("--ticket-env", metavar="NAME", help="The environment variable with the principal's true ticket.")
@click.option(
    "--key", "key_file", type=click.Path(path_type=Path), help="A file with a private key: 32 raw bytes, or hex."
)
@click.option("--key-authid", default="", metavar="AUTHID", help="Whose key it is, if not AUTHID's.")
@click.option("--key-realm", default="", metavar="REALM", help="The realm of the key's owner, if another.")
@click.option("--topic", metavar="URI", help="A topic that the role may subscribe to.")
@click.option("--procedure", metavar="URI", help="A procedure that the role may call; it is called, without arguments.")
@click.option(
    "--ca", type=click.Path(path_type=Path), help="Trust this authority's certificates instead of the system's."
)
@click.option(
    "--cert", type=click.Path(path_type=Path), help="Show the certificate in this file, which has its private key, too."
)
@click.option("--json", "wants_json", is_flag=True, help="Report as JSON.")
@click.option("--i-may-test-this-host", "may", is_flag=True, help="Probe a router that isn't on this machine.")
def probe(
    url: str,
    ticket_env: str | None,
    key_file: Path | None,
    ca: Path | None,
    cert: Path | None,
    wants_json: bool,
    may: bool,
    **about: Any,  # realm, authid and the others that a `Target` has under these names
) -> None:
    """Test a router's authentication from outside, in about a minute: any WAMP router, with WebSocket and JSON.

    Exit code 0: nothing falls. 1: something falls. 2: nothing was probed, and one sentence says why.
    """
    address = _address(url, may)
    ticket, note = _kept_back(_ticket(ticket_env), address)
    key = _key(key_file)
    context = _trust(ca, cert) if address.is_secure else None
    target = Target(address, ticket=ticket, note=note, key=key, trust=context, **about)
    rows = _rows(target)
    if wants_json:
        click.echo(as_json(address.shown, rows, target.budget))
    else:
        click.echo(f"{as_text(rows)}\n\n{summary(rows)}. {spent(target.budget)}")
    if any(row.verdict == FALLS for row in rows):
        raise SystemExit(1)


def _rows(target: Target) -> list[Row]:
    """Probe, and tell of the progress."""
    address, limit = target.address, target.budget.limit
    click.echo(
        f"Probing {address.shown} ({address.addresses[0]}): at most {limit.connections} connections,"
        f" {limit.messages} messages, {limit.seconds:g} seconds.",
        err=True,
    )
    try:
        return run.probe(target, lambda line: click.echo(f"  {line}", err=True))
    except Unreachable as error:
        raise NotProbed(str(error)) from None


def _address(url: str, may: bool) -> Address:
    """Whom the URL means, if we may probe them."""
    try:
        address = resolve(url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from None
    except Unreachable as error:
        raise NotProbed(str(error)) from None
    if not may and not address.is_loopback:
        raise NotProbed(
            f"{address.host} isn't this machine ({', '.join(address.addresses)}): a probe is an attack."
            " If it is yours, or you have been asked to, say --i-may-test-this-host."
        )
    return address


def _ticket(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not (ticket := os.environ.get(variable)):
        raise click.BadParameter(f"there is no environment variable {variable}", param_hint="--ticket-env")
    return ticket


def _kept_back(ticket: str | None, address: Address) -> tuple[str | None, str]:
    """The ticket, where it may be sent; else why it isn't."""
    if ticket and not address.is_secure and not address.is_loopback:
        return None, "the true ticket isn't sent through a network without TLS"
    return ticket, ""


def _key(file: Path | None) -> SigningKey | None:
    if file is None:
        return None
    try:
        content = file.read_bytes()
        return SigningKey(content if len(content) == 32 else bytes.fromhex(content.decode("ascii").strip()))
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="--key") from None
    except Exception:  # whose text might show what is in the file
        raise click.BadParameter(
            f"{file} holds neither 32 bytes nor 64 hexadecimal digits", param_hint="--key"
        ) from None


def _trust(ca: Path | None, cert: Path | None) -> ssl.SSLContext:
    for option, file, files in ("--ca", ca, (ca, None)), ("--cert", cert, (None, cert)):
        try:
            trust(*files)
        except OSError as error:
            raise click.BadParameter(f"{file}: {error.strerror or error}", param_hint=option) from None
    return trust(ca, cert)
