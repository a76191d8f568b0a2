"""How are records shown? As a table for people, or a JSON object a line for programs."""

import json
from collections.abc import Iterable
from typing import Any

import click


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
