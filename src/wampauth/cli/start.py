"""How is the node run from a terminal, or by a Makefile?"""

import signal
import subprocess
import sys
from pathlib import Path

import click

from wampauth.cli.checking import in_directory, of_config, require_right
from wampauth.supervision import Supervisor
from wampauth.testing.node import Node, NodeError
from wampauth.worker.files import raise_limit


@click.command(context_settings={"allow_interspersed_args": False})
@of_config
@click.option(
    "--loglevel",
    type=click.Choice(["error", "warn", "info"]),  # at debug, the router writes down each ticket
    default="error",
    show_default=True,
    help="How much the node writes.",
)
@in_directory
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def start(config: str | None, loglevel: str, directory: Path, command: tuple[str, ...]) -> None:
    """Run the node: until Ctrl-C, or for as long as COMMAND takes, and exit as that does."""
    _end_in_order()
    raise_limit()
    try:
        click.echo("Starting the node ...")
        require_right(directory, config)
        with (
            Supervisor(directory, config, lambda sentence: click.echo(sentence, err=True)) as supervisor,
            Node(directory, config, loglevel=loglevel, environment=supervisor.environment) as node,
        ):
            if command:
                sys.exit(_run(command))
            click.echo("The node is ready. Ctrl-C stops it.")
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, supervisor.interrupted)
            sys.exit(supervisor.watch(node))
    except NodeError as error:
        raise click.ClickException(str(error)) from None


def _end_in_order() -> None:
    """Stop the node also when we are told to end, or when the terminal is closed."""
    for number in signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def _run(command: tuple[str, ...]) -> int:
    try:
        return subprocess.run(command, check=False).returncode
    except OSError as error:
        raise NodeError(f"{command[0]} can't be run: {error.strerror}") from None
