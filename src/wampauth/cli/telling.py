"""How is a record of the audit told to an operator? Much in it was chosen by a stranger, and must not pass for ours."""

import json

from wampauth.history import Record


def claims(record: Record) -> str:
    """What the client said of itself, and isn't so, such as ``the realm raelm1 instead of realm1``; or nothing."""
    return " and ".join(_said(record, name) for name in ("authid", "realm", "role") if f"claimed_{name}" in record)


def _said(record: Record, name: str) -> str:
    found = f" instead of {record[name]}" if name in record else ""
    return f"the {name} {quoted(record[f'claimed_{name}'])}{found}"


def quoted(value: object) -> str:
    """As it is, if that is one plain word; else as a string of JSON, in ASCII."""
    text = str(value)
    is_plain = text.isprintable() and not set(text) & set(" \"'`,:;()")
    return text if is_plain else json.dumps(text)


def in_one_line(text: str) -> str:
    """What a terminal can show."""
    return "".join(c if c.isprintable() else "?" for c in text)
