"""When the address of a subscription is read again, and what came of a reading."""

from mesh.runtime.clock import SECOND
from services.calendar.model import CalendarSubscription

MOST_SUBSCRIPTIONS = 10
"""Of a user."""
MOST_EVENTS = 2_000
"""Of a subscription."""
_HOUR = 3600 * SECOND
_LONGEST = 24 * _HOUR
_REFRESH = 300 * SECOND
_LONGEST_VALIDATOR = 1_000
"""Characters of an ETag that are kept."""


def address_of(url: str) -> str:
    """The address to call for a URL: `webcal` is what programs of calendars call https."""
    scheme, colon, rest = url.partition(":")
    return f"https:{rest}" if colon and scheme.lower() in ("webcal", "webcals") else url


def refreshed(subscription: CalendarSubscription, now: int) -> CalendarSubscription:
    """The subscription that its user wants to be read: now, unless it was a short time ago."""
    soon = now if subscription.tried_at is None else max(now, subscription.tried_at + _REFRESH)
    return subscription._replace(next_read_at=min(subscription.next_read_at, soon))


def answered(subscription: CalendarSubscription, now: int) -> CalendarSubscription:
    """After a reading that found nothing new."""
    return subscription._replace(
        read_at=now, tried_at=now, next_read_at=now + _HOUR, leased_until=None, failures=0, error=""
    )


def replaced(
    subscription: CalendarSubscription, now: int, *, etag: str, last_modified: str, events: int, issues: int
) -> CalendarSubscription:
    """After a reading whose events are stored. etag, last_modified: as the server has them; empty for none."""
    return answered(subscription, now)._replace(
        http_etag=_kept(etag), http_last_modified=_kept(last_modified), event_count=events, issue_count=issues
    )


def failed(subscription: CalendarSubscription, now: int, error: str, retry_after: float) -> CalendarSubscription:
    """After a reading that failed: the next one is an hour later, then two, four, … up to a day.

    retry_after: seconds that the server wants to be left alone.
    """
    failures = subscription.failures + 1
    wait = min(_LONGEST, max(_HOUR << min(failures - 1, 5), int(retry_after * SECOND)))
    return subscription._replace(
        tried_at=now, next_read_at=now + wait, leased_until=None, failures=failures, error=error
    )


def _kept(validator: str) -> str | None:
    fits = 0 < len(validator) <= _LONGEST_VALIDATOR and validator.isascii() and validator.isprintable()
    return validator if fits else None
