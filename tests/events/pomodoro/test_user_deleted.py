"""From `user-deleted` on the broker to an empty list."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from focusmesh.pomodoro.v1 import focus_session_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.events.producer import Producer
from services.pomodoro.main import build
from services.pomodoro.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for
from tests.support.task_events import publish
from tests.support.tokens import Signer
from tests.support.user_events import TOPIC, a_user_event
from tests.support.user_stub import UserStub


@pytest.fixture
async def channel(
    service_url: ServiceUrl, valkey: str, kafka: str, signer: Signer, tmp_path: Path
) -> AsyncIterator[grpc.aio.Channel]:
    """Leads to the service, which consumes from the broker."""
    key = Keys(State(tmp_path)).service_key("pomodoro")
    common = replace(settings_for(database_url=service_url("pomodoro"), redis_url=valkey), kafka_bootstrap=kafka)
    settings = Settings(
        **vars(replace(common, service_key_file=str(key), call_targets="auth=127.0.0.1:1;todo=127.0.0.1:1"))
    )
    async with serving(build(settings, SignerKeys(signer))) as channel:
        yield channel


async def test_the_sessions_of_a_deleted_user_are_erased_and_no_others(
    channel: grpc.aio.Channel, producer: Producer, signer: Signer
) -> None:
    deleted = UserStub(rpc.FocusSessionServiceStub(channel), pb, signer)
    other = deleted.another_user()
    for user in (deleted, other):
        await user.CreateFocusSession()

    await publish(producer, TOPIC, [a_user_event(other.user_id, "user-updated"), a_user_event(deleted.user_id)])

    async def erased() -> bool:
        return not (await deleted.ListFocusSessions()).focus_sessions

    await until(erased, "the sessions are erased")
    assert len((await other.ListFocusSessions()).focus_sessions) == 1
