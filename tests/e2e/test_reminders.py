"""A task's reminder on its way: from todo over recurrence to the app and to the inbox, and the end of such mails."""

import json
import time
from typing import Any

import pytest
from focusmesh.auth.v1 import email_service_pb2
from focusmesh.notification.v1 import channel_pb2, notification_service_pb2, unsubscribe_service_pb2
from focusmesh.notification.v1 import notification_preference_service_pb2 as preferences_pb
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences
from focusmesh.todo.v1 import task_service_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from websockets.asyncio.client import ClientConnection, connect

from harness.clients import Rest
from harness.owners import Account
from harness.rpcs import BY_NAME
from harness.waiting import until
from stack.infrastructure import mail
from stack.stack import Stack
from tests.support.inboxes import Inbox, text_of

TITLE = "Gießen: <b>über</b> 20 °C"
HOUR = 3600
PER_SECOND = 1_000_000_000


@pytest.fixture
def rest(stack: Stack) -> Rest:
    """A client of the gateway."""
    return Rest(stack.gateway_url)


@pytest.fixture
def account(rest: Rest) -> Account:
    """Somebody new."""
    return Account(rest)


@pytest.fixture
def inbox(stack: Stack, rest: Rest, account: Account) -> Inbox:
    """The account's inbox, with the mail that verified its address; it takes every mail there is."""
    inbox = Inbox(stack, account.email)
    token = inbox.token(1)
    assert rest.call(BY_NAME["VerifyEmail"], email_service_pb2.VerifyEmailRequest(token=token)).ok
    account.call(
        "UpdateNotificationPreferences",
        preferences_pb.UpdateNotificationPreferencesRequest(
            update_mask=FieldMask(paths=["email"]), email=ChannelPreferences(reminders=True, updates=True)
        ),
    )
    return inbox


def ahead(seconds: float) -> Timestamp:
    """The instant so many seconds from now."""
    nanoseconds = time.time_ns() + round(seconds * PER_SECOND)
    return Timestamp(seconds=nanoseconds // PER_SECOND, nanos=nanoseconds % PER_SECOND // 1000 * 1000)


async def next_event(frames: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of a kind on the WebSocket."""
    async for text in frames:
        change: dict[str, Any] = json.loads(text).get("change", {})
        if change.get("eventType") == kind:
            return change
    raise AssertionError("the WebSocket closed")


async def test_a_tasks_reminder_is_shown_in_the_app_and_arrives_by_mail_never_early(
    stack: Stack, account: Account, inbox: Inbox
) -> None:
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"
    async with connect(url, additional_headers={"authorization": f"Bearer {account.token}"}) as frames:
        assert "opened" in json.loads(await frames.recv())
        at = ahead(2)
        request = task_service_pb2.CreateTaskRequest(title=TITLE, due_time=ahead(HOUR), reminder_time=at)
        task = account.call("CreateTask", request).task
        shown = await next_event(frames, "notification-created")
        assert time.time_ns() >= at.ToNanoseconds()
    assert shown["payload"]["unread_count"] == 1
    [item] = shown["payload"]["items"]
    assert (item["title"], item["task_id"]) == (TITLE, task.id)

    message = mail.read(inbox.wait_for(2))
    assert message["Subject"] == f"Reminder: {TITLE}"
    assert text_of(message).startswith(f"{TITLE}\n  Due ")
    html = message.get_body(("html",))
    assert html is not None
    assert "&lt;b&gt;über&lt;/b&gt;" in html.get_content()
    assert int(inbox.files()[1].name[:20]) >= at.ToNanoseconds(), "the catcher took it when it was due"

    def answers() -> list[str]:
        listed = notification_service_pb2.ListDeliveriesRequest(channel=channel_pb2.CHANNEL_EMAIL)
        deliveries = account.call("ListDeliveries", listed).deliveries
        return [attempt.answer for each in deliveries if each.task_id for attempt in each.attempts if attempt.is_sent]

    await until(lambda: answers() == ["250 OK"], "the delivery has the answer of the mail server")
    assert len(inbox.files()) == 2, "verification and reminder, each once"


def test_one_click_in_a_mail_program_ends_such_mails(rest: Rest, account: Account, inbox: Inbox) -> None:
    request = task_service_pb2.CreateTaskRequest(title=TITLE, reminder_time=ahead(1))
    account.call("CreateTask", request)
    link = mail.read(inbox.wait_for(2))["List-Unsubscribe"].strip("<>")
    for body in ({"data": {"List-Unsubscribe": "One-Click"}}, {"files": {"List-Unsubscribe": (None, "One-Click")}}):
        response = rest.http.post(link, **body)
        assert (response.status_code, response.json()) == (200, {})
    got = account.call("GetNotificationPreferences", preferences_pb.GetNotificationPreferencesRequest())
    assert got.preferences.email == ChannelPreferences(updates=True)
    refused = rest.call(BY_NAME["Unsubscribe"], unsubscribe_service_pb2.UnsubscribeRequest(token="made.up"))
    assert (refused.http, refused.reason) == (400, "UNSUBSCRIBE_TOKEN_INVALID")
