"""The contract with a provider of SMS."""

import json

import pytest

from harness.http_receiver import Receiver, answers
from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.errors import PermanentFailure, TemporaryFailure
from services.notification.clients.rendering import Renderer
from services.notification.clients.sms import LONGEST, SmsSender
from services.notification.model import Channel
from tests.support.outgoing import account, item, message

NUMBER = "+491701234567"


@pytest.fixture
def sender(receiver: Receiver, client: OutgoingClient) -> SmsSender:
    """Sends to the provider of the test."""
    return SmsSender(client, Renderer(), url=f"{receiver.url}/v1/messages", token="secret", sender="Focusmesh")


async def test_a_text_is_given_to_the_provider_as_documented(receiver: Receiver, sender: SmsSender) -> None:
    receiver.respond = answers(201, b'{"id": "sms-17"}')
    answer = await sender.send(account("verify_phone", channel=Channel.SMS, address=NUMBER))
    assert answer == 'HTTP 201: {"id": "sms-17"}'
    (received,) = receiver.received
    assert (received.target, received.headers["content-type"]) == ("/v1/messages", "application/json")
    assert received.headers["authorization"] == "Bearer secret"
    assert json.loads(received.body) == {
        "to": NUMBER,
        "from": "Focusmesh",
        "text": "tok-123 is your code for Focusmesh. Valid until Mon 9 Feb 2026, 13:30 (Europe/Berlin).",
    }


async def test_every_attempt_has_the_same_idempotency_key(receiver: Receiver, sender: SmsSender) -> None:
    receiver.respond = answers(500)
    for _ in range(2):
        with pytest.raises(TemporaryFailure):
            await sender.send(message(address=NUMBER))
    assert {received.headers["idempotency-key"] for received in receiver.received} == {message().message_id}


async def test_a_text_is_never_longer_than_a_few_parts(receiver: Receiver, sender: SmsSender) -> None:
    await sender.send(message(*[item(title="x" * 255)] * 50, address=NUMBER))
    assert len(json.loads(receiver.received[0].body)["text"]) == LONGEST


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, PermanentFailure),
        (401, PermanentFailure),
        (409, TemporaryFailure),
        (429, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
async def test_a_status_of_the_provider_says_whether_to_try_again(
    receiver: Receiver, sender: SmsSender, status: int, kind: type[Exception]
) -> None:
    receiver.respond = answers(status)
    with pytest.raises(kind, match=f"HTTP {status}"):
        await sender.send(message(address=NUMBER))
