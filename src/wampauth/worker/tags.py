"""What may a message in CBOR hold beyond what JSON can say?

Values may have tags, by which cbor2 makes other types of them before anything is known of the client: 64 kB of a
regular expression keep the process for 16 seconds (measured), and 300 bytes of references to each other become
gigabytes as soon as they are written down. WAMP has no use for these: a message with one isn't read, and its connection
is closed. Decimal fractions stay, with as many digits as Python reads elsewhere.

And keys are text or bytes, as in the other serializers: many others that have the same hash keep the process, too.
"""

from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

REFERENCES, BIGFLOAT, RATIONAL, REGULAR_EXPRESSION, MIME = (25, 28, 29, 256), 5, 30, 35, 36
REFUSED = (*REFERENCES, BIGFLOAT, RATIONAL, REGULAR_EXPRESSION, MIME)
DECIMAL, HALF = 4, Decimal("0.5")
SHORTEST = bytes([0xD8, REGULAR_EXPRESSION, 0x61, 0x61]), bytes([0xA1, 1, 1])  # of what costs something: /a/, {1: 1}


def refuse() -> None:
    """Change how the router reads CBOR: that module has just been loaded. Safe to call again. An older cbor2 can't."""
    import cbor2
    from autobahn.wamp import serializer

    decoders = {**dict.fromkeys(REFUSED, _refused), DECIMAL: _decimal}
    loads = partial(cbor2.loads, semantic_decoders=decoders, strict_hashable_types=True)
    with suppress(Exception):
        if loads(cbor2.dumps(HALF)) == HALF:
            serializer._cbor_loads = loads


def are_read() -> bool:
    """Whether they still are."""
    from autobahn.wamp import serializer

    for one in SHORTEST:
        with suppress(Exception):
            serializer._cbor_loads(one)
            return True
    return False


def _refused(*_: Any) -> Any:
    raise ValueError("a tag that isn't read here")


def _decimal(value: Any, *_: Any) -> Decimal:
    exponent, mantissa = value
    if not isinstance(exponent, int) or not isinstance(mantissa, int):
        raise ValueError("a decimal fraction has two integers")
    return Decimal(f"{mantissa}E{exponent}")  # a number of more than 4,300 digits isn't written
