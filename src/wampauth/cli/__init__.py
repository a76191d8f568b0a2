"""How does an operator let somebody in, and out again? The command line.

    wampauth add alice --realm realm1 --role frontend
    wampauth ticket alice --expires 30d

Every command works while the node runs, and holds from the next login on.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from wampauth import names
from wampauth.cli import changing, credentials, enrolling, principals, rotating, sessions
from wampauth.cli.acting import AUDIT
from wampauth.cli.asked import IS_DEFAULT
from wampauth.cli.backup import backup, recover
from wampauth.cli.checking import check
from wampauth.cli.log import log
from wampauth.cli.start import start
from wampauth.cli.why import why
from wampauth.init import init
from wampauth.probe import probe
from wampauth.settings import SettingsError
from wampauth.store import StoreError, showing

DEFAULT = ".crossbar/principals.db"
NOBODY_ANSWERS = "nobody is there to be asked: in a script, say {}"
SAYING = {"init": "--prefix, --realm and --role"}  # by command
UNWRITABLE = "there is a text that isn't UTF-8, or that can't be written here: try LANG=C.UTF-8 in front of the command"
ELSE_SAYING = "--yes, or --from-stdin or --from-env for a secret"
GROUPS = {
    "Who may join": (principals.add, principals.list_, principals.show, changing.set_, principals.remove),
    "What they log in with": (
        *(credentials.ticket, credentials.key, credentials.cert, credentials.password, enrolling.enrol),
        *(credentials.keygen, rotating.rotate),
    ),
    "Who is in, who shall leave, and what has happened": (
        *(sessions.sessions, why, sessions.kick, credentials.revoke, principals.restore, log),
    ),
    "The store as a whole": (principals.import_, principals.export, backup, recover),
    "The node": (init, check, start, probe),
}


class Sentences(click.Group):
    """Turns what the store refuses into one sentence and exit code 1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What begins like a key in PEM is pasted, and no option: Click would repeat all of it, and it may be
        private."""
        if sys.stdin is None:  # it was closed: as if there were nothing to read
            sys.stdin = Path(os.devnull).open()  # noqa: SIM115 - for as long as we run
        return super().parse_args(ctx, [f" {arg}" if arg.startswith("-----BEGIN") else arg for arg in args])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for."""
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(command.name or "", command.get_short_help_str(60)) for command in commands])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (StoreError, SettingsError, showing.Refused, names.Malformed) as error:
            raise click.ClickException(str(error)) from None
        except click.Abort as aborted:
            if isinstance(aborted.__context__, EOFError) and not sys.stdin.isatty():
                say = SAYING.get(str(ctx.invoked_subcommand), ELSE_SAYING)
                raise click.ClickException(NOBODY_ANSWERS.format(say)) from None
            raise
        except UnicodeEncodeError:
            raise click.ClickException(UNWRITABLE) from None
        except BrokenPipeError:
            raise  # click ends in silence then
        except OSError as error:
            raise click.ClickException(": ".join(filter(None, (error.filename, error.strerror)))) from None


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wampauth", message="%(prog)s %(version)s")
@click.option(
    *("--store", "--database", "path"),
    default=DEFAULT,
    show_default=True,
    help="A path, a postgresql:// URL, or module:name for one of your own.",
)
@click.option(
    "--audit",
    metavar="FILE|FOLDER",
    help="The node's audit, or its folder.  [default: as the configuration beside the store says]",
)
@click.pass_context
def main(ctx: click.Context, path: str, audit: str | None) -> None:
    """Decide who may join, and run the node: principals, their tickets and their public keys."""
    ctx.obj = path
    ctx.meta[AUDIT] = audit
    ctx.meta[IS_DEFAULT] = ctx.get_parameter_source("path") is ParameterSource.DEFAULT


for commands in GROUPS.values():
    for command in commands:
        main.add_command(command)
