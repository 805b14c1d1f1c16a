"""From the broker to a user's inbox, and from there to the broker: reminders, and the deletion of the account."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from confluent_kafka import Consumer

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.runtime.ids import new_id
from services.notification.main import build
from services.notification.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.contract.notification.people import Person, a_reminder, after, at
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.task_events import a_task_event, publish
from tests.support.tokens import Signer
from tests.support.user_events import a_user_event


@pytest.fixture
async def channel(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, tmp_path: Path
) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service, which consumes from the broker; auth is away."""
    key = Keys(State(tmp_path)).service_key("notification")
    common = replace(
        settings_for(database_url=service_url("notification"), redis_url=valkey),
        kafka_bootstrap=kafka,
        service_key_file=str(key),
        call_targets="auth=127.0.0.1:1",
    )
    settings = Settings(**vars(common), secrets_key="of these tests", settle_seconds=0.2)
    async with serving(build(settings, SignerKeys(signer))) as channel:
        yield channel


@pytest.fixture
def person(channel: grpc.aio.Channel, signer: Signer) -> Person:
    """A user."""
    return Person(channel, signer)


def of(kafka: str, user_id: str, count: int) -> list[dict[str, Any]]:
    """The first so many events of a user's inbox, from the broker."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": new_id(), "auto.offset.reset": "earliest"})
    consumer.subscribe(["notification-events"])
    found: list[dict[str, Any]] = []
    try:
        while len(found) < count:
            message = consumer.poll(20)
            assert message is not None, f"{len(found)} of {count} events have come"
            if message.key() == user_id.encode():
                found.append(orjson.loads(message.value()))
    finally:
        consumer.close()
    return found


async def test_a_reminder_comes_to_the_inbox_once_and_is_published(
    person: Person, producer: Producer, kafka: str
) -> None:
    event = a_reminder(person.user_id, at=at(0))
    await publish(producer, "reminders", [event, event])
    [shown] = await person.shown()
    await person.MarkRead(notification_ids=[shown.id])
    created, read = await asyncio.to_thread(of, kafka, person.user_id, 2)
    assert (created["type"], read["type"]) == ("notification-created", "notification-read")
    assert [each["data"]["payload"]["unread_count"] for each in (created, read)] == [1, 0]
    assert created["data"]["payload"]["items"][0]["task_id"] == event.subject
    assert len((await person.ListDeliveries()).deliveries) == 1


async def test_a_task_that_is_completed_takes_its_snoozed_reminder_along(person: Person, producer: Producer) -> None:
    task_id = new_id()
    await publish(producer, "reminders", [a_reminder(person.user_id, task_id, at=at(0))])
    [shown] = await person.shown()
    await person.SnoozeReminder(reminder_id=shown.reminder_id, remind_time=after(3600))
    done = {"title": "Water the plants", "status": "complete", "due_date": None, "reminder_time": None}
    await publish(
        producer, "task-events", [a_task_event(person.user_id, task_id=task_id, kind="task-completed", **done)]
    )

    async def cancelled() -> bool:
        return bool((await person.GetReminder(reminder_id=shown.reminder_id)).reminder.error == "TASK_COMPLETED")

    await until(cancelled, "the reminder is cancelled")


async def test_everything_of_a_deleted_user_is_erased_and_nothing_of_others(person: Person, producer: Producer) -> None:
    other = person.another()
    for each in (person, other):
        await each.CreateReminder(title="Call home", remind_time=after(3600))
    await publish(producer, "user-events", [a_user_event(other.user_id, "user-updated"), a_user_event(person.user_id)])

    async def erased() -> bool:
        return not (await person.ListReminders()).reminders

    await until(erased, "the reminders are erased")
    assert len((await other.ListReminders()).reminders) == 1
