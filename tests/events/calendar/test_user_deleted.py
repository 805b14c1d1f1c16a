"""From `user-deleted` on the broker to an empty list."""

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from focusmesh.calendar.v1 import event_service_pb2 as pb
from focusmesh.calendar.v1 import event_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.events.producer import Producer
from services.calendar.main import build
from tests.support.calendars import settings_for
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_events import TOPIC, a_user_event
from tests.support.user_stub import UserStub


@pytest.fixture
async def channel(service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service, which consumes from the broker."""
    settings = replace(settings_for(database_url=service_url("calendar"), redis_url=valkey), kafka_bootstrap=kafka)
    async with serving(build(settings, SignerKeys(signer))) as channel:
        yield channel


async def test_the_events_of_a_deleted_user_are_erased_and_no_others(
    channel: grpc.aio.Channel, producer: Producer, signer: Signer
) -> None:
    deleted = UserStub(rpc.EventServiceStub(channel), pb, signer)
    other = deleted.another_user()
    for user in (deleted, other):
        await user.CreateEvent(title="First")

    await publish(producer, TOPIC, [a_user_event(other.user_id, "user-updated"), a_user_event(deleted.user_id)])

    async def erased() -> bool:
        return not (await deleted.ListEvents()).events

    await until(erased, "the events are erased")
    assert len((await other.ListEvents()).events) == 1
