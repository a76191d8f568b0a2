"""How does a project of one's own begin? With files that run, and that are the reader's from then on."""

import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import click

from wampauth import names

MADE = {  # what lies in the package, and where it goes
    "config.yaml": ".crossbar/config.yaml",
    "authenticator.template": "authenticator.py",
    "gitignore": ".gitignore",
}
OTHER = ".crossbar/config.json"  # which the router wouldn't take any more
AUTHENTICATORS = "realm-auth"
PREFIX, REALM, ROLE = "Prefix of your URIs, like com.example.", "Realm that your clients join", "Their role there"


def _well_formed(rule: Any) -> Any:
    def check(context: click.Context, option: click.Parameter, value: str) -> str:
        try:
            return str(rule(value))
        except names.Malformed as error:
            raise click.BadParameter(f"{error}") from None

    return check


def _application_realm(value: str) -> str:
    if value == AUTHENTICATORS:
        raise names.Malformed(f"{AUTHENTICATORS} is for the authenticators: clients need another realm")
    return names.realm(value)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--prefix", prompt=PREFIX, help=PREFIX, callback=_well_formed(names.prefix))
@click.option("--realm", prompt=REALM, help=f"{REALM}.", callback=_well_formed(_application_realm))
@click.option("--role", prompt=ROLE, help=f"{ROLE}.", callback=_well_formed(names.role))
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Of 127.0.0.1.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
def init(folder: Path, prefix: str, realm: str, role: str, port: int, as_json: bool) -> None:
    """Write a project that runs into FOLDER: a node's configuration, and an authenticator of your own. It asks for what
    isn't given as an option, and overwrites nothing."""
    values = {"prefix": prefix, "realm": realm, "role": role, "port": port, "own": AUTHENTICATORS}
    names_of_all = [*MADE.values(), OTHER]
    there = [str(folder / name) for name in names_of_all if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        raise click.ClickException(f"{', '.join(there)} exists already, and nothing is overwritten.")
    for template, name in MADE.items():
        text = files("wampauth").joinpath("project", template).read_text()
        _write(folder / name, Template(text).substitute(values))
    written = [str(folder / name) for name in MADE.values()]
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "written": written}))
    else:
        click.echo("\n".join([f"{file} is written." for file in written] + _next(folder, realm, role)))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.parent.name == ".crossbar":
        file.parent.chmod(0o700)  # keys and principals will lie in it
    with file.open("x") as new:
        new.write(text)


def _next(folder: Path, realm: str, role: str) -> list[str]:
    return [
        f"Go on in {folder}, with a first principal, its ticket, and the node:",
        f"  wampauth add alice --realm {realm} --role {role}",
        "  wampauth ticket alice",
        "  wampauth start",
    ]
