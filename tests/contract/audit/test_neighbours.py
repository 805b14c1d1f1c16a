"""A second user's calls while a first one sends the requests that cost most to refuse, or to verify."""

import asyncio

import grpc
import pytest
from focusmesh.audit.v1 import audit_service_pb2 as pb

from harness.hostile_requests import repeated_empty
from tests.contract.audit.audit_log import Log
from tests.support.audit_records import Recorder
from tests.support.errors import refused
from tests.support.neighbours import disturbance, send_repeatedly
from tests.support.session_events import largest_session
from tests.support.tokens import Signer

LIST = "/focusmesh.audit.v1.AuditService/ListAuditRecords"
EVENT_TYPES = pb.ListAuditRecordsRequest.DESCRIPTOR.fields_by_name["event_types"]


@pytest.mark.parametrize(("count", "complaint"), [(1_000, "event_types"), (500_000, "bytes")])
async def test_too_many_event_types_are_refused_with_the_limit_they_exceed(
    channel: grpc.aio.Channel, signer: Signer, count: int, complaint: str
) -> None:
    metadata = (("authorization", f"Bearer {signer.token()}"),)
    with refused("INVALID_REQUEST") as error:
        await channel.unary_unary(LIST)(repeated_empty(EVENT_TYPES, count), metadata=metadata, timeout=60)
    assert complaint in error.message


@pytest.mark.parametrize("count", [1_000, 4_000, 500_000])
async def test_empty_event_types_of_one_user_do_not_disturb_another(
    log: Log, channel: grpc.aio.Channel, signer: Signer, count: int
) -> None:
    hostile = send_repeatedly(channel, LIST, [repeated_empty(EVENT_TYPES, count)], signer.token())
    (await disturbance(hostile, log.ListAuditRecords)).check()


async def test_verifying_the_largest_records_does_not_disturb_another_user(log: Log, recorded: Recorder) -> None:
    for character in ("\n", '"', "\x01", "é"):  # each grows in another way in the canonical form
        await recorded(125, description=character * 10_000)
    neighbour = log.another_user()
    await recorded(20, user_id=neighbour.user_id)

    async def verify() -> int:
        position = checked = 0
        while checked == 0 or position:
            response = await log.VerifyAuditRecords(from_position=position)
            assert response.intact
            position, checked = response.next_position, checked + response.records_checked
        return int(checked)

    async def verify_ten_times() -> None:
        assert await asyncio.gather(*(verify() for _ in range(10))) == [500] * 10

    (await disturbance(verify_ten_times(), neighbour.ListAuditRecords)).check()


async def test_listing_and_verifying_the_largest_sessions_does_not_disturb_another_user(
    log: Log, recorded: Recorder
) -> None:
    await recorded(30, source="pomodoro", **largest_session())
    neighbour = log.another_user()

    async def read() -> None:
        for _ in range(2):
            assert (await log.ListAuditRecords(page_size=200)).audit_records
            assert (await log.VerifyAuditRecords()).intact

    (await disturbance(read(), neighbour.ListAuditRecords)).check()


async def test_verifying_a_long_chain_does_not_disturb_another_user(log: Log, recorded: Recorder) -> None:
    await recorded(10_000, title="Buy groceries")
    neighbour = log.another_user()
    (await disturbance(log.VerifyAuditRecords(), neighbour.ListAuditRecords)).check()
