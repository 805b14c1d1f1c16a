"""Calendars of others, at the addresses that users give."""

from mesh.outgoing.client import OutgoingClient, Response
from mesh.outgoing.errors import PermanentFailure, TemporaryFailure
from services.calendar.model import CalendarSubscription

SECONDS = 30.0
"""One reading, redirects included."""
LARGEST = 4 * 1024 * 1024
"""Bytes of a file, as of one that is imported."""
_ACCEPTED = "text/calendar, */*;q=0.5"


class PublishedCalendars:
    """Reads them through the guard; what type the content says to have does not matter."""

    def __init__(self, client: OutgoingClient) -> None:
        self._client = client

    async def read(self, subscription: CalendarSubscription) -> Response | None:
        """What is at the address of a subscription; None when it is what was there. Raises an OutgoingFailure."""
        headers = {"Accept": _ACCEPTED}
        if subscription.http_etag:
            headers["If-None-Match"] = subscription.http_etag
        if subscription.http_last_modified:
            headers["If-Modified-Since"] = subscription.http_last_modified
        response = await self._client.get(subscription.url, headers, largest=LARGEST)
        if response.status == 304:
            return None
        if response.status != 200:
            raise TemporaryFailure(f"HTTP {response.status}", response.retry_after_seconds)
        if response.headers.get("content-encoding", "identity") not in ("", "identity"):
            raise PermanentFailure("the response is compressed, which was not asked for")
        return response

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.close()
