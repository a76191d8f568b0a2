"""How is a moment written? In ISO 8601, in UTC; a store keeps seconds since 1970."""

from datetime import UTC, datetime

from wampauth import names

LAST = 253_402_300_799.0  # seconds since 1970: the year 9999 ends. Some write "never" a part of a second before that


def iso(moment: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def seconds(moment: str | None) -> float | None:
    """ISO 8601 as seconds since 1970; without an offset it means UTC.

    :raises names.Malformed: if it is no such time.
    """
    if moment is None:
        return None
    try:
        parsed = datetime.fromisoformat(moment)
        moment_in_utc = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
        return min(round(moment_in_utc.timestamp(), 3), LAST)
    except (ValueError, TypeError, OverflowError):
        raise names.Malformed("a time is written like 2030-12-31T23:59:59Z") from None
