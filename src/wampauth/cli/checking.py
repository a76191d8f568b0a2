"""Is a node's configuration right? Asked by hand, and before each start."""

import json
import sys
from pathlib import Path

import click

from wampauth.check import Finding
from wampauth.check import check as look
from wampauth.cli.saying import as_lines
from wampauth.nodeconfig import NodeError, choose

of_config = click.option(
    "--config", metavar="FILE", help="In the node directory.  [default: config.yaml, or else config.json]"
)
in_directory = click.option(
    "--directory", type=click.Path(path_type=Path), default=".crossbar", show_default=True, help="The node's."
)


@click.command()
@of_config
@in_directory
@click.option("--production", is_flag=True, help="Say also what is to be done before strangers may come.")
@as_lines
def check(config: str | None, directory: Path, production: bool, as_json: bool) -> None:
    """Say what is wrong with a node's configuration, without starting it. Exit code 1: there is an error; a warning
    may be meant."""
    try:
        name = choose(directory, config)
        findings = look(directory, name, production)
    except NodeError as error:
        raise click.ClickException(str(error)) from None
    for finding in findings:
        if as_json:
            click.echo(json.dumps({"file": name, **vars(finding)}))
        else:
            click.echo(sentence(name, finding))
    if not findings and not as_json:
        click.echo(f"{name}: nothing is wrong.")
    sys.exit(any(finding.severity == "error" for finding in findings))


def require_right(directory: Path, config: str | None) -> None:
    """Tell all that is found, and see that there is no error in it.

    :raises NodeError: if there is, or if the configuration can't be read.
    """
    name = choose(directory, config)
    findings = look(directory, name)
    for finding in findings:
        click.echo(sentence(name, finding), err=True)
    if any(finding.severity == "error" for finding in findings):
        raise NodeError(f"The node isn't started: mend {name} first.")


def sentence(name: str, finding: Finding) -> str:
    """A finding as an operator reads it."""
    place = f" {finding.place}:" if finding.place else ""
    return f"{name}:{place} {'warning: ' if finding.severity == 'warning' else ''}{finding.text}"
