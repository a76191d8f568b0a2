"""How does an operator let somebody in, and out again? The command line over the store.

    python manage.py add alice --realm realm1 --role frontend
    python manage.py ticket alice --expires 30d

Every command works while the node runs, and holds from the next login on. A ticket is never taken from the command
line, where other users of the machine could read it, and is shown only once.
"""

import functools
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import click

import database
import keys
import names
import registry
from principals import chosen_verifier, ticket_digest

DEFAULT = Path(__file__).parent / ".crossbar" / "principals.db"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds
SPAN = re.compile(r"\d{1,5}[smhd]")
WITHIN_A_SECOND = "This holds at the next login, and ends live sessions within a second."

Store = database.Connection
Command = Callable[..., None]


class Sentences(click.Group):
    """Turns what the store refuses into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (database.StoreError, registry.Refused, names.Malformed) as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:
            raise  # click ends in silence then
        except OSError as error:
            raise click.ClickException(": ".join(filter(None, (error.filename, error.strerror)))) from None


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A point in time, or a span from now on: ``2030-12-31T23:59:59Z`` or ``30d``. Kept as text until the store's
    clock is at hand."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return value if SPAN.fullmatch(value) else str(registry.iso(registry.seconds(value)))
        except names.Malformed as error:
            self.fail(f"{error}, or as a span like 30d or 12h", param, ctx)


def moment(store: Store, value: str | None) -> str | None:
    """The point in time that an option names, in ISO 8601."""
    span = SPAN.fullmatch(value or "")
    return registry.iso(registry.now(store) + seconds(span[0])) if span else value


def seconds(span: str) -> float:
    """A span like ``30d`` in seconds."""
    return int(span[:-1]) * UNITS[span[-1]]


@click.group(cls=Sentences)
@click.option("--database", "path", default=str(DEFAULT), help="The store.  [default: .crossbar/principals.db]")
@click.pass_context
def main(ctx: click.Context, path: str) -> None:
    """Decide who may join: principals, their tickets and their public keys."""
    ctx.obj = path


def on_store(create: bool = False) -> Callable[[Command], Command]:
    """Run a command with the store, open, as its first argument; with `create`, make one where there is none."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*args: Any, **options: Any) -> None:
            path = click.get_current_context().obj
            if create:
                database.create(path)
            with closing(database.connect(path)) as store:
                command(store, *args, **options)
                store.settle()

        return run

    return decorate


def with_terms(command: Command) -> Command:
    """Give a command the options that say when a credential counts."""
    command = click.option(
        "--expires", metavar="TIME", type=Moment(), help="When it ends: a time, or a span like 30d."
    )(command)
    command = click.option("--not-before", metavar="TIME", type=Moment(), help="When it begins to count.")(command)
    return click.option("--label", help="A note, for you.")(command)


def with_chosen(command: Command) -> Command:
    """Give a command the two ways to take a ticket that a person chose."""
    command = click.option("--from-env", metavar="NAME", help="Take a chosen ticket from this variable.")(command)
    return click.option("--from-stdin", is_flag=True, help="Take a chosen ticket from standard input.")(command)


def terms(store: Store, label: str | None, not_before: str | None, expires: str | None) -> dict[str, Any]:
    """The options of :func:`with_terms`, those that were given."""
    given = {"label": label, "not_before": moment(store, not_before), "expires": moment(store, expires)}
    return {name: value for name, value in given.items() if value is not None}


@main.command()
@click.argument("authid")
@click.option("--realm", required=True, help="The realm it joins.")
@click.option("--role", required=True, help="Its role there.")
@click.option("--extra", default="{}", metavar="JSON", help="An object that it finds in its authextra.")
@on_store(create=True)
def add(store: Store, authid: str, realm: str, role: str, extra: str) -> None:
    """Add a principal. It can't log in until it has a ticket or a key."""
    try:
        parsed = json.loads(extra)
    except (ValueError, RecursionError):
        raise names.Malformed("extra is a JSON object") from None
    registry.add(store, {"authid": authid, "realm": realm, "role": role, "extra": parsed})


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs: a JSON object a line.")
@on_store()
def list_(store: Store, as_json: bool) -> None:
    """List the principals."""
    show_records(registry.principals(store), ("authid", "realm", "role", "state", "credentials"), as_json)


@main.command()
@click.argument("authid")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@on_store()
def show(store: Store, authid: str, as_json: bool) -> None:
    """Show a principal and its credentials."""
    principal = registry.show(store, authid)
    if as_json:
        click.echo(json.dumps(principal))
        return
    for name in "authid", "realm", "role", "extra", "state", "revoked":
        if principal[name] is not None:
            value = principal[name]
            click.echo(f"{name + ':':10}{json.dumps(value) if name == 'extra' else value}")
    for credential in principal["credentials"]:
        credential["public key"] = credential["verifier"] if credential["kind"] == "key" else None
    click.echo()
    columns = ("id", "kind", "state", "label", "not_before", "expires", "revoked", "public key")
    show_records(principal["credentials"], columns, as_json)


@main.command()
@click.argument("authid")
@click.confirmation_option("--yes", prompt="Forget this principal and all its credentials?", help="Don't ask.")
@on_store()
def remove(store: Store, authid: str) -> None:
    """Forget a principal and all its credentials."""
    registry.remove(store, authid)
    click.echo(f"{authid} is removed. {WITHIN_A_SECOND}", err=True)


@main.command()
@click.argument("authid")
@with_terms
@with_chosen
@on_store()
def ticket(store: Store, authid: str, from_stdin: bool, from_env: str | None, **options: str | None) -> None:
    """Make a ticket for AUTHID and print it, once. Or take one that a person chose."""
    secret, credential = new_ticket(from_stdin, from_env)
    identifier = registry.add_credential(store, authid, {**credential, **terms(store, **options)})
    hand_over(
        secret, f"{authid} has the {credential['kind']} ticket {identifier}.".replace(" ticket ticket", " ticket")
    )


@main.command()
@click.argument("authid")
@click.argument("pubkey", metavar="PUBKEY|FILE")
@with_terms
@on_store()
def key(store: Store, authid: str, pubkey: str, **options: str | None) -> None:
    """Register a public key for AUTHID: 64 hexadecimal digits, an OpenSSH line, or a file that holds one of these."""
    identifier = registry.add_credential(
        store, authid, {"kind": "key", "verifier": keys.read_public(pubkey), **terms(store, **options)}
    )
    click.echo(f"{authid} has the key {identifier}.", err=True)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a key pair: the private half in FILE (for you alone), the public half in FILE.pub and on standard output."""
    click.echo(keys.generate(file))


@main.command()
@click.argument("authid")
@click.argument("credential")
@click.argument("pubkey", metavar="[PUBKEY|FILE]", required=False)
@click.option("--overlap", default="7d", show_default=True, metavar="SPAN", help="How long the old one still counts.")
@with_terms
@with_chosen
@on_store()
def rotate(
    store: Store,
    authid: str,
    credential: str,
    pubkey: str | None,
    overlap: str,
    from_stdin: bool,
    from_env: str | None,
    **options: str | None,
) -> None:
    """Give a credential a successor of its kind, and let it run out after the overlap. A key's successor is PUBKEY."""
    if not SPAN.fullmatch(overlap):
        raise click.UsageError("--overlap is a span like 7d, 12h or 0s")
    kind = registry.credential(store, authid, credential)["kind"]
    if kind == "key":
        if from_stdin or from_env:
            raise click.UsageError("the successor of a key is a public key, not a ticket")
        if not pubkey:
            raise click.UsageError("the successor of a key is a public key: give it as the last argument")
        secret, successor = None, {"kind": "key", "verifier": keys.read_public(pubkey)}
    else:
        if pubkey:
            raise click.UsageError("the successor of a ticket is a ticket, not a public key")
        secret, successor = new_ticket(from_stdin, from_env)
        if kind != successor["kind"]:
            raise click.UsageError("a chosen ticket is followed by a chosen one: --from-stdin or --from-env")
    identifier = registry.rotate(store, authid, credential, {**successor, **terms(store, **options)}, seconds(overlap))
    hand_over(secret, f"{identifier} follows {credential}, which runs out in {overlap}.")


@main.command()
@click.argument("authid")
@click.option("--credential", metavar="ID", help="Withdraw only this one; its label will do.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@on_store()
def revoke(store: Store, authid: str, credential: str | None, yes: bool) -> None:
    """Withdraw a credential of AUTHID or, without --credential, all there are and will be, until `restore`."""
    if credential is None and not yes:
        click.confirm(f"Withdraw everything that {authid} can log in with?", abort=True)
    registry.revoke(store, authid, credential)
    click.echo(f"{credential or authid} is revoked. {WITHIN_A_SECOND}", err=True)


@main.command()
@click.argument("authid")
@on_store()
def restore(store: Store, authid: str) -> None:
    """Take the revocation of AUTHID back. Credentials that were withdrawn one by one stay withdrawn."""
    registry.restore(store, authid)


@main.command("import")
@click.argument("file", type=click.File("rb"))
@on_store(create=True)
def import_(store: Store, file: Any) -> None:
    """Add the principals in FILE (- for standard input), as `export` writes them: all or none."""
    size = os.fstat(file.fileno()).st_size
    with click.progressbar(length=size, label="Importing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        count = registry.load(store, counted(file, bar.update))
    click.echo(f"{count} principals were imported.", err=True)


@main.command()
@on_store()
def export(store: Store) -> None:
    """Write all principals as JSON lines: no ticket and no private key, but the Argon2id of chosen tickets, so keep it
    like the store itself."""
    for principal in registry.export(store):
        click.echo(json.dumps(principal))


def counted(lines: Iterable[bytes], update: Callable[[int], None]) -> Iterable[bytes]:
    """Pass `lines` on, and tell `update` how many bytes that were."""
    for line in lines:
        yield line
        update(len(line))


def new_ticket(from_stdin: bool, from_env: str | None) -> tuple[str | None, dict[str, str]]:
    """A ticket to hand over, if it was made here, and what to store of it."""
    if not (from_stdin or from_env):
        made = secrets.token_urlsafe(32)  # 256 bits
        return made, {"kind": "ticket", "verifier": ticket_digest(made)}
    try:
        chosen = sys.stdin.readline().rstrip("\r\n") if from_stdin else os.environ.get(from_env or "", "")
    except UnicodeDecodeError:
        chosen = "\udc80"  # no more of a text than this
    if not chosen:
        raise registry.Refused("standard input is empty" if from_stdin else f"the variable {from_env} isn't set")
    return None, {"kind": "chosen", "verifier": chosen_verifier(names.ticket(chosen))}


def hand_over(secret: str | None, sentence: str) -> None:
    """A secret goes to standard output, alone; what else there is to say does not."""
    if secret:
        click.echo(secret)
        sentence += " This is the only time that the ticket is shown."
    click.echo(sentence, err=True)


def show_records(records: Iterable[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Print records as JSON lines, or the columns that hold anything, aligned."""
    if as_json:
        for record in records:
            click.echo(json.dumps(record))
        return
    rows = [["" if record[name] is None else str(record[name]) for name in columns] for record in records]
    table = [[name.upper().replace("_", " ") for name in columns], *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]
    used = [i for i in range(len(columns)) if not rows or any(row[i] for row in rows)]
    for row in table:
        click.echo("  ".join(row[i].ljust(widths[i]) for i in used).rstrip())


if __name__ == "__main__":
    main()
