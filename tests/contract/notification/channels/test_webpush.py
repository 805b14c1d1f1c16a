"""Push messages, read by a push service and a browser of the test's own."""

import base64
import json
import os
from dataclasses import replace
from pathlib import Path

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from harness.http_receiver import Receiver, answers
from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.errors import PermanentFailure, TargetGone, TemporaryFailure
from mesh.outgoing.guard import Guard
from mesh.runtime import clock
from services.notification.clients.rendering import Renderer
from services.notification.clients.webpush import WebPushSender
from services.notification.model import Channel, Outgoing, PushSubscription
from tests.support.outgoing import AT, item, message

CONTACT = "mailto:operator@focusmesh.example"
LARGEST_BODY = 4096
"""Bytes that every push service takes (RFC 8030, 7.2)."""


def base64url(content: bytes) -> str:
    """As browsers write keys."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class Browser:
    """The keys of a subscription, and what they decrypt."""

    def __init__(self) -> None:
        self._key, self._secret = ec.generate_private_key(ec.SECP256R1()), os.urandom(16)

    def subscription(self, endpoint: str) -> PushSubscription:
        """What the browser gives the app."""
        public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return PushSubscription("id", "user", endpoint, base64url(public), base64url(self._secret), None, AT)

    def read(self, body: bytes) -> dict[str, object]:
        """What the app's service worker is given."""
        return json.loads(  # type: ignore[no-any-return]
            http_ece.decrypt(body, private_key=self._key, auth_secret=self._secret, version="aes128gcm")
        )


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The key that identifies the service."""
    file = tmp_path / "vapid.pem"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem)
    return file


@pytest.fixture
def sender(client: OutgoingClient, key: Path) -> WebPushSender:
    """Sends to the push service of the test."""
    return WebPushSender(client, Renderer(), key=key, contact=CONTACT)


def to(receiver: Receiver, browser: Browser, *items: object, **fields: object) -> Outgoing:
    """A message for a browser."""
    subscription = browser.subscription(f"{receiver.url}/push/abc")
    return message(*items, channel=Channel.WEBPUSH, subscription=subscription, begun_at=clock.now(), **fields)  # type: ignore[arg-type]


async def test_the_browser_reads_what_was_sent_and_the_push_service_does_not(
    receiver: Receiver, sender: WebPushSender
) -> None:
    browser = Browser()
    receiver.respond = answers(201)
    told = item(title="Gießen", note="Both", due_date=AT, task_id="019c4278-2f00-7ddd-8000-000000000004")
    assert await sender.send(to(receiver, browser, told)) == "HTTP 201"
    (received,) = receiver.received
    assert "Gießen".encode() not in received.body
    assert browser.read(received.body) == {
        "message_id": message().message_id,
        "kind": "reminder",
        "count": 1,
        "title": "Reminder: Gießen",
        "body": "Due Mon 9 Feb 2026, 13:30 (Europe/Berlin). Both",
        "task_id": told.task_id,
        "calendar_event_id": None,
        "reminder_id": told.reminder_id,
    }
    assert received.headers["content-encoding"] == "aes128gcm"
    assert int(received.headers["ttl"]) == 24 * 3600
    assert received.headers["urgency"] == "high"


async def test_the_push_service_knows_who_sends_by_the_signature(receiver: Receiver, sender: WebPushSender) -> None:
    await sender.send(to(receiver, Browser()))
    scheme, _, parameters = receiver.received[0].headers["authorization"].partition(" ")
    signed = dict(part.split("=", 1) for part in parameters.split(","))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), base64.urlsafe_b64decode(signed["k"] + "=="))
    claims = jwt.decode(signed["t"], public, ["ES256"], audience=receiver.url)
    assert (scheme, claims["sub"]) == ("vapid", CONTACT)
    assert claims["exp"] * clock.SECOND <= clock.now() + clock.DAY


async def test_a_repetition_replaces_what_still_waits_for_the_browser(
    receiver: Receiver, sender: WebPushSender
) -> None:
    first = to(receiver, Browser())
    for outgoing in (first, first, replace(first, message_id="another")):
        await sender.send(outgoing)
    topics = [received.headers["topic"] for received in receiver.received]
    assert topics[0] == topics[1] != topics[2]
    assert all(len(topic) <= 32 and topic.isalnum() for topic in topics)


async def test_the_largest_message_fits_into_one_push(receiver: Receiver, sender: WebPushSender) -> None:
    browser = Browser()
    await sender.send(to(receiver, browser, *[item(title="\U0001f331" * 255, note='"' * 10_000)] * 50, count=999))
    (received,) = receiver.received
    assert len(received.body) <= LARGEST_BODY
    assert browser.read(received.body)["count"] == 999


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, TargetGone),
        (410, TargetGone),
        (400, PermanentFailure),
        (403, PermanentFailure),
        (413, PermanentFailure),
        (429, TemporaryFailure),
        (500, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
async def test_a_push_service_says_what_became_of_the_subscription(
    receiver: Receiver, sender: WebPushSender, status: int, kind: type[Exception]
) -> None:
    receiver.respond = answers(status)
    with pytest.raises(kind, match=f"HTTP {status}"):
        await sender.send(to(receiver, Browser()))


@pytest.mark.parametrize(
    "keys",
    [
        *({"p256dh": key} for key in ("", "AAAA", base64url(b"\x04" + b"\x01" * 64), "no base64!")),
        *({"auth": key} for key in ("", "AAAA", base64url(bytes(17)), "no base64!")),
    ],
)
async def test_keys_that_are_none_are_refused_before_anybody_is_called(
    receiver: Receiver, sender: WebPushSender, keys: dict[str, str]
) -> None:
    outgoing = to(receiver, Browser())
    assert outgoing.subscription is not None
    broken = outgoing.subscription._replace(**keys)
    with pytest.raises(PermanentFailure, match="keys of the push subscription are not valid"):
        await sender.send(replace(outgoing, subscription=broken))
    assert receiver.connections == 0


async def test_an_endpoint_that_is_not_public_is_not_called(receiver: Receiver, key: Path) -> None:
    client = OutgoingClient(Guard())
    with pytest.raises(PermanentFailure, match="not called"):
        await WebPushSender(client, Renderer(), key=key, contact=CONTACT).send(to(receiver, Browser()))
    assert receiver.connections == 0
    await client.close()
