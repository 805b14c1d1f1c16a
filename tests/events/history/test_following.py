"""From the broker to a user's history: sessions of the pomodoro service, and the deletion of the account."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from focusmesh.auth.v1 import preference_pb2, user_pb2
from focusmesh.auth.v1 import preference_service_pb2 as preferences_pb
from focusmesh.auth.v1.preference_service_pb2_grpc import (
    PreferenceServiceServicer,
    add_PreferenceServiceServicer_to_server,
)
from focusmesh.history.v1 import history_service_pb2 as pb
from focusmesh.history.v1 import history_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.events.producer import Producer
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from services.history.main import build
from services.history.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.support import focus_events, user_events
from tests.support.databases import ServiceUrl
from tests.support.focus_events import Timer
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

MINUTES = 60


class Auth(PreferenceServiceServicer):
    """Knows that everybody is in Auckland."""

    async def GetUserPreferences(
        self, request: preferences_pb.GetUserPreferencesRequest, context: object
    ) -> preferences_pb.GetUserPreferencesResponse:
        """The preferences of anybody."""
        home = preference_pb2.UserPreferences(time_zone="Pacific/Auckland", week_start=user_pb2.WEEK_START_SUNDAY)
        return preferences_pb.GetUserPreferencesResponse(preferences=home)


@pytest.fixture
async def auth() -> AsyncIterator[str]:
    """Address of a service that knows where users are."""
    server = grpc.aio.server()
    add_PreferenceServiceServicer_to_server(Auth(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
async def channel(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, tmp_path: Path, auth: str
) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service, which consumes from the broker."""
    key = Keys(State(tmp_path)).service_key("history")
    common = replace(settings_for(database_url=service_url("history"), redis_url=valkey), kafka_bootstrap=kafka)
    settings = Settings(**vars(replace(common, service_key_file=str(key), call_targets=f"auth={auth}")))
    async with serving(build(settings, SignerKeys(signer))) as channel:
        yield channel


async def test_the_history_of_a_user_follows_their_sessions_until_the_account_is_deleted(
    channel: grpc.aio.Channel, producer: Producer, signer: Signer
) -> None:
    deleted = UserStub(rpc.HistoryServiceStub(channel), pb, signer)
    other = deleted.another_user()
    # 00:00 in Auckland, in June and within the retention.
    begin = clock.now() // DAY * DAY - 40 * DAY + DAY // 2
    for user in (deleted, other):
        timer = Timer(user.user_id, begin).after(40 * MINUTES).finish()
        await publish(producer, focus_events.TOPIC, timer.events)

    async def archived() -> bool:
        lists = [await user.ListArchivedSessions() for user in (deleted, other)]
        return all(found.archived_sessions for found in lists)

    await until(archived, "the sessions are archived")
    window = {"from_date": "2020-01-01", "before_date": "2029-01-01", "group": pb.SUMMARY_GROUP_HOUR}
    assert [each.hour for each in (await other.SummarizeFocus(**window)).buckets] in ([0], [1])

    await publish(producer, user_events.TOPIC, [user_events.a_user_event(deleted.user_id)])

    async def erased() -> bool:
        return not (await deleted.ListArchivedSessions()).archived_sessions

    await until(erased, "the history is erased")
    late = Timer(deleted.user_id, begin + DAY).after(40 * MINUTES).finish()
    marker = Timer(other.user_id, begin + DAY).after(40 * MINUTES).finish()
    await publish(producer, focus_events.TOPIC, [*late.events, *marker.events])

    async def followed() -> bool:
        return len((await other.ListArchivedSessions()).archived_sessions) == 2

    await until(followed, "later sessions are archived")
    assert (await deleted.SummarizeFocus(**window)).total.focused_seconds == 0
