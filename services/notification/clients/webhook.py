"""The channel `webhook`: the causing CloudEvent, signed as https://www.standardwebhooks.com says."""

from standardwebhooks import Webhook

from mesh.outgoing.client import OutgoingClient
from mesh.runtime import clock
from services.notification.model import Outgoing

_GONE = frozenset({410})


class WebhookSender:
    """POSTs to the address of a user; every status but 2xx is a failure, and 410 ends the webhook."""

    def __init__(self, client: OutgoingClient) -> None:
        self._client = client

    async def send(self, outgoing: Outgoing) -> str:
        """Sends the event as it is; returns the receiver's answer. Raises an OutgoingFailure."""
        time, body = clock.to_datetime(outgoing.begun_at), outgoing.cause.decode()
        signatures = [Webhook(secret).sign(outgoing.message_id, time, body) for secret in outgoing.secrets]
        headers = {
            "Content-Type": "application/cloudevents+json",
            "Webhook-Id": outgoing.message_id,
            "Webhook-Timestamp": str(outgoing.begun_at // clock.SECOND),
            "Webhook-Signature": " ".join(signatures),
        }
        response = await self._client.post(outgoing.url, outgoing.cause, headers)
        return response.require_success(gone=_GONE)

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.close()
