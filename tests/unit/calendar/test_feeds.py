"""Tokens of feeds, and what a reader has already."""

import pytest

from mesh.runtime.clock import SECOND
from services.calendar.model import Feed
from services.calendar.rules import feeds

CHANGED = 1_788_800_000 * SECOND + 250_000
"""7 September 2026, 16:53:20.25 UTC."""
BEFORE, AT, AFTER = (f"Mon, 07 Sep 2026 16:53:{second} GMT" for second in (19, 20, 21))


def test_a_token_is_long_and_fits_into_a_path() -> None:
    tokens = {feeds.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 and token.replace("-", "").replace("_", "").isalnum() for token in tokens)


def test_the_hash_is_found_in_the_path_of_the_token_alone() -> None:
    token = feeds.new_token()
    path = feeds.path_of(token)
    assert feeds.hash_in(path) == feeds.hash_of(token)
    assert feeds.hash_in(path.removesuffix(".ics")) is None
    assert feeds.hash_in(path.replace("feeds", "Feeds")) is None
    assert feeds.hash_in(feeds.path_of(token + "x")) != feeds.hash_of(token)


@pytest.mark.parametrize(
    ("headers", "has"),
    [
        ({}, False),
        ({"if-none-match": '"1"'}, True),
        ({"if-none-match": 'W/"1"'}, True),
        ({"if-none-match": '"0" , "1"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"0"'}, False),
        ({"if-none-match": ""}, False),
        ({"if-none-match": '"0"', "if-modified-since": AFTER}, False),
        ({"if-none-match": '"1"', "if-modified-since": BEFORE}, True),
        ({"if-modified-since": BEFORE}, False),
        ({"if-modified-since": AT}, True),
        ({"if-modified-since": AFTER}, True),
        ({"if-modified-since": AT.replace("GMT", "-0000")}, True),
        ({"if-modified-since": "yesterday"}, False),
        ({"if-modified-since": "Mon, 07 Sep 99999 16:53:20 GMT"}, False),
        ({"if-modified-since": "Mon, 37 Sep 2026 16:53:20 GMT"}, False),
    ],
)
def test_a_conditional_request_names_what_its_reader_has(headers: dict[str, str], has: bool) -> None:
    assert feeds.http_date(CHANGED) == AT
    assert feeds.has_already(headers, '"1"', CHANGED) is has


@pytest.mark.parametrize(
    ("etag", "minutes", "is_news"), [('"1"', 0, False), ('"1"', 59, False), ('"1"', 60, True), ('"2"', 0, True)]
)
def test_a_reading_is_noted_once_an_hour_or_when_it_shows_news(etag: str, minutes: int, is_news: bool) -> None:
    hour = CHANGED // (3600 * SECOND) * 3600 * SECOND
    feed = Feed("", "", "", "", False, 0, hour, '"1"', CHANGED)
    assert feeds.is_news(feed, etag, hour + minutes * 60 * SECOND) is is_news
