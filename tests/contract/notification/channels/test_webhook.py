"""Webhooks, verified by the library that receivers use."""

import base64
import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from harness.http_receiver import Receiver, answers
from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.errors import PermanentFailure, TargetGone, TemporaryFailure
from mesh.outgoing.guard import Guard
from mesh.runtime import clock
from services.notification.clients.webhook import WebhookSender
from services.notification.model import Channel, Outgoing
from tests.support.outgoing import message

SECRET, OLD_SECRET = os.urandom(32), os.urandom(32)
EVENT = json.dumps({"specversion": "1.0", "type": "reminder-fired", "data": {"title": "Gießen"}}, ensure_ascii=False)


def to(receiver: Receiver, *secrets: bytes) -> Outgoing:
    """A message for a webhook."""
    return message(
        channel=Channel.WEBHOOK,
        url=f"{receiver.url}/hook",
        secrets=secrets or (SECRET,),
        cause=EVENT.encode(),
        begun_at=clock.now(),
    )


def verified(receiver: Receiver, secret: bytes) -> object:
    """What the library reads from the last request; raises WebhookVerificationError."""
    last = receiver.received[-1]
    return Webhook(f"whsec_{base64.b64encode(secret).decode()}").verify(last.body, dict(last.headers))


async def test_the_librarys_own_verification_accepts_the_event_as_it_is(
    receiver: Receiver, client: OutgoingClient
) -> None:
    assert await WebhookSender(client).send(to(receiver)) == "HTTP 204"
    assert verified(receiver, SECRET) == json.loads(EVENT)
    (received,) = receiver.received
    assert received.body == EVENT.encode()
    assert received.headers["content-type"] == "application/cloudevents+json"


async def test_both_secrets_are_accepted_while_one_replaces_the_other(
    receiver: Receiver, client: OutgoingClient
) -> None:
    await WebhookSender(client).send(to(receiver, SECRET, OLD_SECRET))
    assert verified(receiver, SECRET) == verified(receiver, OLD_SECRET) == json.loads(EVENT)
    with pytest.raises(WebhookVerificationError):
        verified(receiver, os.urandom(32))


async def test_every_attempt_has_the_same_id_and_a_time_of_its_own(receiver: Receiver, client: OutgoingClient) -> None:
    sender, first = WebhookSender(client), to(receiver)
    await sender.send(first)
    await sender.send(replace(first, begun_at=first.begun_at + 60 * clock.SECOND))
    ids = {received.headers["webhook-id"] for received in receiver.received}
    times = [int(received.headers["webhook-timestamp"]) for received in receiver.received]
    assert ids == {first.message_id}
    assert times == [first.begun_at // clock.SECOND, first.begun_at // clock.SECOND + 60]
    assert abs(datetime.fromtimestamp(times[0], UTC) - datetime.now(UTC)).total_seconds() < 60
    assert verified(receiver, SECRET) == json.loads(EVENT)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, TemporaryFailure),
        (400, TemporaryFailure),
        (404, TemporaryFailure),
        (500, TemporaryFailure),
        (410, TargetGone),
    ],
)
async def test_whatever_a_receiver_says_but_that_it_is_gone_is_tried_again(
    receiver: Receiver, client: OutgoingClient, status: int, kind: type[Exception]
) -> None:
    receiver.respond = answers(status, b"no")
    with pytest.raises(kind, match=f"HTTP {status}: no"):
        await WebhookSender(client).send(to(receiver))


async def test_a_receiver_that_is_not_public_gets_nothing(receiver: Receiver) -> None:
    client = OutgoingClient(Guard())
    outgoing = to(receiver)
    for url in (outgoing.url, outgoing.url.replace("http:", "https:"), "https://localhost/"):
        with pytest.raises(PermanentFailure, match="not called"):
            await WebhookSender(client).send(replace(outgoing, url=url))
    assert receiver.connections == 0
    await client.close()
