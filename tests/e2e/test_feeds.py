"""Calendars leave Focusmesh as feeds, and come in by subscriptions, through the gateway."""

from collections.abc import AsyncIterator

import httpx
import icalendar
import pytest
from focusmesh.calendar.v1 import calendar_file_service_pb2 as files_pb
from focusmesh.calendar.v1 import calendar_subscription_service_pb2 as subscriptions_pb
from focusmesh.calendar.v1 import event_pb2, event_service_pb2
from focusmesh.todo.v1 import task_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from harness.clients import Rest
from harness.http_receiver import Receiver, answers, receiving
from harness.owners import Account
from harness.waiting import until
from stack.stack import Stack
from tests.e2e.collector import Collector
from tests.support.ports import ADDRESS_OF_OTHERS

TRACEPARENT = "00-8a3c60f7d188f8fa79d48a391a778fa6-00f067aa0ba902b7-01"
DUE = Timestamp(seconds=1_820_000_000)
LUNCH = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//others//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
    b"DTSTART:20270901T100000Z\r\nDURATION:PT1H\r\nSUMMARY:Lunch\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


@pytest.fixture
def account(stack: Stack) -> Account:
    """Somebody new."""
    return Account(Rest(stack.gateway_url))


@pytest.fixture
async def program(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A program that shows calendars: it knows an address, and no RPC."""
    async with httpx.AsyncClient(base_url=stack.gateway_url, headers={"traceparent": TRACEPARENT}) as client:
        yield client


@pytest.fixture
async def others() -> AsyncIterator[Receiver]:
    """A server of others, with a calendar."""
    async with receiving(ADDRESS_OF_OTHERS) as receiver:
        receiver.respond = answers(200, LUNCH, ETag='"1"')
        yield receiver


def shown(response: httpx.Response) -> set[tuple[str, str]]:
    """Kinds and titles of what a feed shows, as a library of others reads it."""
    assert response.status_code == 200, response.text
    calendar = icalendar.Calendar.from_ical(response.content)
    return {(part.name, str(part["summary"])) for part in calendar.walk() if part.name in ("VEVENT", "VTODO")}


def an_event(account: Account, title: str) -> event_pb2.Event:
    """A new event."""
    request = event_service_pb2.CreateEventRequest(title=title, start="2027-09-06T10:00:00", time_zone="Europe/Zurich")
    event: event_pb2.Event = account.call("CreateEvent", request).event
    return event


async def test_a_program_follows_a_calendar_by_its_address(
    stack: Stack, account: Account, program: httpx.AsyncClient, collector: Collector
) -> None:
    an_event(account, "Deep work")
    account.call("CreateTask", task_service_pb2.CreateTaskRequest(title="Pay the rent", due_time=DUE))
    created = account.call("CreateFeed", files_pb.CreateFeedRequest(name="Phone", include_tasks=True))

    first = await program.get(created.path)
    assert shown(first) == {("VEVENT", "Deep work"), ("VTODO", "Pay the rent")}
    known = {"if-none-match": first.headers["etag"], "if-modified-since": first.headers["last-modified"]}
    again = await program.get(created.path, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    head = await program.head(created.path)
    assert (head.status_code, head.headers["etag"], head.content) == (200, first.headers["etag"], b"")

    an_event(account, "Plan the week")
    changed = await program.get(created.path, headers=known)
    assert ("VEVENT", "Plan the week") in shown(changed)
    assert account.call("ListFeeds", files_pb.ListFeedsRequest()).feeds[0].HasField("last_read_time")

    account.call("DeleteFeed", files_pb.DeleteFeedRequest(feed_id=created.feed.id))
    assert (await program.get(created.path, headers=known)).status_code == 404

    token = created.path.rpartition("/")[2].removesuffix(".ics")

    def logs() -> str:
        return "".join(path.read_text(errors="replace") for path in stack.state.logs.iterdir())

    await until(lambda: logs().count('"/v1/calendar/feeds/"') >= 5, "the gateway has logged the readings", 30)
    assert token not in logs()
    await until(lambda: len(collector.begun[TRACEPARENT]) == 5, "they are traced")
    assert all("/v1/calendar/feeds/" in str(span) for span in collector.begun[TRACEPARENT])
    assert not any(token in str(exported.span) for exported in collector.exported)


async def test_a_calendar_of_others_is_followed(account: Account, others: Receiver) -> None:
    request = subscriptions_pb.CreateSubscriptionRequest(name="Theirs", url=f"{others.url}/lunch.ics")
    subscription = account.call("CreateSubscription", request).subscription

    def titles() -> list[str]:
        asked = event_service_pb2.ListEventsRequest(subscription_id=subscription.id)
        return [event.title for event in account.call("ListEvents", asked).events]

    await until(lambda: others.received, "the address is read")
    await until(lambda: titles() == ["Lunch"], "its events are there", 30)
    assert others.received[0].headers["user-agent"] == "Focusmesh"
    account.call("DeleteSubscription", subscriptions_pb.DeleteSubscriptionRequest(subscription_id=subscription.id))
    assert titles() == []
