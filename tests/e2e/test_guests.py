"""A guest on the whole stack: what an account claims reaches its devices and its audit log, and nothing before."""

import json
from typing import Any

from focusmesh.audit.v1 import audit_service_pb2
from focusmesh.pomodoro.v1 import guest_claim_service_pb2
from websockets.asyncio.client import connect

from harness.clients import Rest
from harness.owners import Account, Guest
from harness.waiting import until
from stack.stack import Stack


async def test_a_claimed_session_is_published_once_and_for_its_new_owner(stack: Stack) -> None:
    guest, user = Guest(Rest(stack.gateway_url)), Account(Rest(stack.gateway_url))
    session = guest.focus_session("paused")
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"

    async with connect(url, additional_headers={"authorization": f"Bearer {user.token}"}) as frames:
        assert "opened" in json.loads(await frames.recv())
        request = guest_claim_service_pb2.ClaimGuestSessionsRequest(guest_refresh_token=guest.refresh_token)
        [claimed] = user.call("ClaimGuestSessions", request).claimed_sessions
        assert (claimed.focus_session.id, claimed.overlap_seconds) == (session.id, 0)
        change: dict[str, Any] = {}
        while not change:
            change = json.loads(await frames.recv()).get("change", {})
        assert (change["eventType"], change["subjectId"]) == ("session-paused", session.id)

    def recorded() -> list[str]:
        listed = user.call(
            "ListAuditRecords", audit_service_pb2.ListAuditRecordsRequest(subject_id=session.id)
        ).audit_records
        return [record.event_type for record in listed]

    await until(lambda: bool(recorded()), "the claim is in the audit log")
    assert recorded() == ["session-paused"]
