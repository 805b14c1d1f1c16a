"""Private addresses of calendars: their tokens, and what a reader has already."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime

from mesh.runtime.clock import SECOND, to_datetime
from services.calendar.model import Feed

MOST_FEEDS = 5
"""Of a user."""
FEED_PATH = "/v1/calendar/feeds/"
_SUFFIX = ".ics"
_TOKEN_BYTES = 32
_HOUR = 3600 * SECOND


def new_token() -> str:
    """A secret that nobody guesses, fit for a path."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def path_of(token: str) -> str:
    """Where the feed with a token is."""
    return f"{FEED_PATH}{token}{_SUFFIX}"


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def hash_in(path: str) -> str | None:
    """The hash of the token that a path has; None for another path."""
    if not path.startswith(FEED_PATH) or not path.endswith(_SUFFIX):
        return None
    return hash_of(path[len(FEED_PATH) : -len(_SUFFIX)])


def is_news(feed: Feed, etag: str, now: int) -> bool:
    """Whether a reading is to be noted: the first one of an hour, or of another content."""
    return feed.etag != etag or feed.last_read_at != now // _HOUR * _HOUR


def http_date(instant: int) -> str:
    """A time of HTTP, to the second."""
    return format_datetime(to_datetime(instant), usegmt=True)


def has_already(headers: Mapping[str, str], etag: str, changed_at: int) -> bool:
    """Whether a conditional request has what there is (RFC 9110 13.2.2). etag: with its quotes."""
    known = headers.get("if-none-match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return "*" in tags or etag in tags
    try:
        since = parsedate_to_datetime(headers.get("if-modified-since", ""))
    except ValueError:
        return False
    return since.replace(tzinfo=since.tzinfo or UTC) >= to_datetime(changed_at // SECOND * SECOND)
