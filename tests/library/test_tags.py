"""What may a message in CBOR hold? (That nodes refuse the rest: test_strangers_guard.py, test_strangers_scaled.py.)"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import autobahn.twisted  # noqa: F401 - as in a worker: else Autobahn doesn't know for whom it is
import cbor2
import pytest
from autobahn.wamp import serializer
from autobahn.wamp.exception import ProtocolError

from wampauth import worker
from wampauth.worker import tags


def laughs(number: int) -> list[Any]:
    """Each is twice the one before it, in a few bytes."""
    doubled = [cbor2.CBORTag(28, [cbor2.CBORTag(29, one)] * 2) for one in range(number)]
    return [cbor2.CBORTag(28, ["ha"]), *doubled]


COSTLY: dict[str, Any] = {  # but for the last, in amounts that cost nothing
    "a regular expression": cbor2.CBORTag(35, "a"),
    "a mail": cbor2.CBORTag(36, "From: a\n\nhello"),
    "references": laughs(3),
    "references to strings": cbor2.CBORTag(256, ["abcdef", cbor2.CBORTag(25, 0)]),
    "a rational number": cbor2.CBORTag(30, [1, 3]),
    "a big float": cbor2.CBORTag(5, [1, 3]),
    "a decimal fraction of text": cbor2.CBORTag(4, ["1", "3"]),
    "a number as key": {1: 1},
    "a set of numbers": {1},
    "a long decimal fraction": cbor2.CBORTag(4, [0, 1 << 200_000]),
}


def tagged(value: Any) -> bytes:
    """A HELLO with a ticket to come, and with this."""
    details = {"roles": {"caller": {}}, "authmethods": ["ticket"], "authid": "client1", "authextra": {"a": value}}
    return cbor2.dumps([1, "realm1", details])


@pytest.fixture(autouse=True)
def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autobahn's serializer, as workers have it."""
    monkeypatch.setattr(serializer, "_cbor_loads", cbor2.loads)
    assert "CBOR" in str(worker.missing())
    tags.refuse()


@pytest.mark.parametrize("kind", COSTLY)
def test_what_costs_much_is_not_read(kind: str) -> None:
    with pytest.raises(ProtocolError):
        serializer.CBORSerializer().unserialize(tagged(COSTLY[kind]), True)
    assert "CBOR" not in str(worker.missing())


@pytest.mark.parametrize(
    "value",
    [
        Decimal("-1.25"),
        Decimal("1E+400"),
        1 << 70,
        datetime(2026, 1, 2, tzinfo=UTC),
        {"a", "b"},
        {b"a": 1},
        1.5,
        b"ab",
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_applications_use_is(value: Any) -> None:
    (found,) = serializer.CBORSerializer().unserialize(tagged(value), True)
    assert found.authextra == {"a": value}
