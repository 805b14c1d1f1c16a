"""The channel `webpush`: messages for browsers, encrypted (RFC 8291) and signed with the service's key (RFC 8292)."""

import base64
import hashlib
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02  # type: ignore[import-untyped]  # ships no types
from pywebpush import WebPusher  # type: ignore[import-untyped]  # ships no types

from mesh.outgoing.client import REFUSALS, OutgoingClient
from mesh.outgoing.errors import PermanentFailure
from mesh.outgoing.guard import parse
from mesh.runtime import clock
from services.notification.clients.rendering import Renderer
from services.notification.model import Outgoing, PushSubscription

KEEP_SECONDS = 24 * 3600
"""How long a push service keeps a message for a browser that is offline: as long as a reminder may be late."""
_TOKEN_SECONDS = 12 * 3600
"""Validity of the signature; 24 hours at most (RFC 8292)."""
_TITLE, _BODY = 200, 400
"""Characters; with the ids at most 2,700 bytes of the 3,993 that fit into a message."""
_AUTH_BYTES = 16
_GONE = frozenset({404, 410})


class WebPushSender:
    """Sends through the push service of a browser's vendor, which sees neither text nor user."""

    def __init__(self, client: OutgoingClient, renderer: Renderer, *, key: Path, contact: str) -> None:
        """key: P-256 private key, PKCS #8 PEM. contact: `mailto:` or `https:` address for the push services.

        Raises OSError or ValueError for a key that cannot be read.
        """
        self._client, self._renderer, self._contact = client, renderer, contact
        self._vapid = Vapid02.from_pem(key.read_bytes())

    async def send(self, outgoing: Outgoing) -> str:
        """Encrypts and sends one message; returns the push service's answer. Raises an OutgoingFailure."""
        subscription = outgoing.subscription
        if subscription is None:
            raise PermanentFailure("the message has no push subscription")
        headers = {
            **self._signature(subscription.endpoint, outgoing.begun_at),
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(KEEP_SECONDS),
            "Urgency": "high",
            # A message of the same topic replaces one that waits: a repetition is shown once.
            "Topic": hashlib.sha256(outgoing.message_id.encode()).hexdigest()[:32],
        }
        body = _encrypted(subscription, self._payload(outgoing))
        response = await self._client.post(subscription.endpoint, body, headers)
        return response.require_success(gone=_GONE, refused=REFUSALS - _GONE)

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.close()

    def _payload(self, outgoing: Outgoing) -> bytes:
        """What the app's service worker receives; README.md documents it."""
        first = outgoing.items[0]
        return orjson.dumps(
            {
                "message_id": outgoing.message_id,
                "kind": outgoing.kind,
                "count": outgoing.count,
                "title": self._renderer.subject(outgoing)[:_TITLE],
                "body": self._renderer.summary(outgoing)[:_BODY],
                "task_id": first.task_id,
                "calendar_event_id": first.event_id,
                "reminder_id": first.reminder_id,
            }
        )

    def _signature(self, endpoint: str, now: int) -> dict[str, str]:
        try:
            origin = parse(endpoint).origin
        except ValueError as error:
            raise PermanentFailure(f"not called: the endpoint {error}") from None
        claims = {"aud": origin, "sub": self._contact, "exp": now // clock.SECOND + _TOKEN_SECONDS}
        signed: dict[str, str] = self._vapid.sign(claims)
        return signed


def check_keys(p256dh: str, auth: str) -> None:
    """Raises ValueError unless these are keys of a browser: a point of P-256, and 16 bytes; base64url."""
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _decoded(p256dh) or b"\0")
    if len(_decoded(auth)) != _AUTH_BYTES:
        raise ValueError(f"the secret is not {_AUTH_BYTES} bytes")


def _encrypted(subscription: PushSubscription, payload: bytes) -> bytes:
    keys = {"p256dh": subscription.p256dh, "auth": subscription.auth}
    try:
        check_keys(**keys)
    except ValueError as error:
        raise PermanentFailure(f"the keys of the push subscription are not valid: {error}") from None
    body: bytes = WebPusher({"endpoint": subscription.endpoint, "keys": keys}).encode(payload, "aes128gcm")["body"]
    return body


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
