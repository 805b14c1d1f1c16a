"""When the address of a subscription is read again."""

import pytest

from mesh.runtime.clock import SECOND
from services.calendar.model import CalendarSubscription
from services.calendar.rules import subscriptions as rules

NOW = 1_788_800_000 * SECOND
MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


def a_subscription(**fields: object) -> CalendarSubscription:
    """One that was never read."""
    made = CalendarSubscription(
        id="",
        user_id="",
        name="",
        url="",
        http_etag=None,
        http_last_modified=None,
        event_count=0,
        issue_count=0,
        read_at=None,
        tried_at=None,
        next_read_at=NOW,
        leased_until=None,
        failures=0,
        error="",
        created_at=NOW,
        deleted_at=None,
        version=1,
    )
    return made._replace(**fields)  # type: ignore[arg-type]  # of these names


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.example/b.ics", "https://a.example/b.ics"),
        ("webcal://a.example/b.ics", "https://a.example/b.ics"),
        ("WebCal://a.example/b.ics", "https://a.example/b.ics"),
        ("webcals://a.example/b.ics", "https://a.example/b.ics"),
        ("http://a.example/b.ics", "http://a.example/b.ics"),
        ("webcal", "webcal"),
    ],
)
def test_webcal_is_called_by_https(url: str, address: str) -> None:
    assert rules.address_of(url) == address


def test_an_address_that_fails_is_read_after_ever_longer_times_up_to_a_day() -> None:
    subscription, waits = a_subscription(), []
    for _ in range(8):
        subscription = rules.failed(subscription, NOW, "HTTP 500", 0)
        waits.append((subscription.next_read_at - NOW) // HOUR)
    assert waits == [1, 2, 4, 8, 16, 24, 24, 24]
    assert (subscription.failures, subscription.error, subscription.leased_until) == (8, "HTTP 500", None)


@pytest.mark.parametrize(("seconds", "hours"), [(60, 1), (7200, 2), (1e9, 24)])
def test_a_server_may_say_when_to_come_again(seconds: float, hours: int) -> None:
    assert rules.failed(a_subscription(), NOW, "HTTP 429", seconds).next_read_at == NOW + hours * HOUR


def test_an_answer_ends_the_failures() -> None:
    after = rules.answered(a_subscription(failures=5, error="HTTP 500"), NOW)
    assert (after.failures, after.error, after.read_at, after.next_read_at) == (0, "", NOW, NOW + HOUR)


@pytest.mark.parametrize(
    ("etag", "kept"), [('"1"', '"1"'), ("", None), ("x" * 1001, None), ("ä", None), ('"a\r\nX: y"', None)]
)
def test_an_etag_is_kept_when_it_can_be_sent_again(etag: str, kept: str | None) -> None:
    after = rules.replaced(a_subscription(), NOW, etag=etag, last_modified=etag, events=3, issues=2)
    assert (after.http_etag, after.http_last_modified) == (kept, kept)
    assert (after.event_count, after.issue_count) == (3, 2)


@pytest.mark.parametrize(
    ("tried_at", "next_read_at", "becomes"),
    [
        (None, NOW + HOUR, NOW),
        (NOW - 10 * MINUTE, NOW + HOUR, NOW),
        (NOW - MINUTE, NOW + HOUR, NOW + 4 * MINUTE),
        (NOW - MINUTE, NOW + MINUTE, NOW + MINUTE),
        (NOW - MINUTE, NOW - MINUTE, NOW - MINUTE),
    ],
)
def test_a_user_has_an_address_read_once_in_five_minutes(tried_at: int | None, next_read_at: int, becomes: int) -> None:
    subscription = a_subscription(tried_at=tried_at, next_read_at=next_read_at)
    assert rules.refreshed(subscription, NOW).next_read_at == becomes
