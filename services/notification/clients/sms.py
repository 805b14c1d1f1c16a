"""The channel `sms`: the HTTP contract of a provider, as README.md documents it."""

import orjson

from mesh.outgoing.client import REFUSALS, OutgoingClient
from services.notification.clients.rendering import Renderer
from services.notification.model import Outgoing

LONGEST = 300
"""Characters of a text: two parts of an SMS in most alphabets, five at most."""


class SmsSender:
    """POSTs texts to one provider, which keeps a repetition with the same Idempotency-Key from being sent again."""

    def __init__(self, client: OutgoingClient, renderer: Renderer, *, url: str, token: str, sender: str) -> None:
        """url, token: of the provider. sender: number or name that the text comes from."""
        self._client, self._renderer = client, renderer
        self._url, self._token, self._sender = url, token, sender

    async def send(self, outgoing: Outgoing) -> str:
        """Sends one text; returns the provider's answer. Raises an OutgoingFailure."""
        body = {"to": outgoing.address, "from": self._sender, "text": self._renderer.sms(outgoing)[:LONGEST]}
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token}",
            "Idempotency-Key": outgoing.message_id,
        }
        response = await self._client.post(self._url, orjson.dumps(body), headers)
        return response.require_success(refused=REFUSALS)

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.close()
