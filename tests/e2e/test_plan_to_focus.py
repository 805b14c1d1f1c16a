"""From plan to focus to history: one occurrence through every service that hears of it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from focusmesh.audit.v1 import audit_record_pb2, audit_service_pb2
from focusmesh.calendar.v1 import event_pb2, event_service_pb2, occurrence_service_pb2
from focusmesh.history.v1 import history_service_pb2, plan_summary_pb2
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as focus_pb
from focusmesh.todo.v1 import task_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from websockets.asyncio.client import ClientConnection, connect

from harness.clients import Rest
from harness.owners import Account
from harness.rpcs import BY_NAME
from harness.waiting import until
from stack.stack import Stack

PAUSED = focus_session_pb2.FOCUS_SESSION_STATE_PAUSED
COMPLETED = event_pb2.EVENT_STATE_COMPLETED
AHEAD = timedelta(seconds=4)


class Seen:
    """What the WebSocket of a device shows, in order."""

    def __init__(self, frames: ClientConnection) -> None:
        self._frames, self.changes = frames, list[dict[str, Any]]()

    async def until(self, *kinds: str) -> None:
        """Reads on until each of these was seen."""
        while not set(kinds) <= set(self.kinds):
            if change := json.loads(await self._frames.recv()).get("change"):
                self.changes.append(change)

    @property
    def kinds(self) -> list[str]:
        """The types of all events so far."""
        return [change["eventType"] for change in self.changes]

    def of(self, kind: str) -> dict[str, Any]:
        """The only event of a type."""
        [change] = [change for change in self.changes if change["eventType"] == kind]
        return change


class Journey:
    """Somebody with two devices, and a task that an event is planned for."""

    def __init__(self, rest: Rest) -> None:
        self.rest, self.laptop = rest, Account(rest)
        self.phone_token = self.laptop.sign_in().token
        self.task = self.laptop.task()

    def by_phone(self, method: str, request: Any) -> Any:
        """The response to a call of the other device."""
        result = self.rest.call(BY_NAME[method], request, self.phone_token)
        assert result.ok, result
        return result.response

    def plan(self) -> event_pb2.Event:
        """A new event of 30 minutes that begins soon, with a reminder before."""
        start = (datetime.now(UTC) + AHEAD).replace(microsecond=0, tzinfo=None)
        request = event_service_pb2.CreateEventRequest(
            title="Write the report",
            start=start.isoformat(),
            duration_minutes=30,
            time_zone="UTC",
            todo_task_id=self.task.id,
            reminders=[event_pb2.EventReminder(offset="-PT1S", channel=event_pb2.REMINDER_CHANNEL_IN_APP)],
        )
        event: event_pb2.Event = self.laptop.call("CreateEvent", request).event
        return event

    def session(self, session_id: str) -> focus_session_pb2.FocusSession:
        """The focus session as it is now."""
        request = focus_pb.GetFocusSessionRequest(focus_session_id=session_id)
        found: focus_session_pb2.FocusSession = self.laptop.call("GetFocusSession", request).focus_session
        return found

    def summary(self, group: int) -> history_service_pb2.SummarizePlanResponse:
        """What was planned in these days, and what came of it."""
        today = datetime.now(UTC).date()
        first, before = today - timedelta(days=7), today + timedelta(days=7)
        request = history_service_pb2.SummarizePlanRequest(
            from_date=first.isoformat(), before_date=before.isoformat(), group=group
        )
        found: history_service_pb2.SummarizePlanResponse = self.laptop.call("SummarizePlan", request)
        return found

    def audited(self, subject_id: str) -> list[tuple[str, int]]:
        """What the audit log has of something, the first first."""
        request = audit_service_pb2.ListAuditRecordsRequest(subject_id=subject_id)
        records = self.laptop.call("ListAuditRecords", request).audit_records
        return [(record.event_type, record.subject_type) for record in reversed(records)]


@pytest.fixture
def journey(stack: Stack) -> Journey:
    return Journey(Rest(stack.gateway_url))


async def test_what_was_planned_is_reminded_of_started_finished_and_compared(stack: Stack, journey: Journey) -> None:
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"
    async with connect(url, additional_headers={"authorization": f"Bearer {journey.laptop.token}"}) as frames:
        assert "opened" in json.loads(await frames.recv())
        seen = Seen(frames)
        event = journey.plan()
        await seen.until("event-created", "notification-created")
        occurrence_id = f"{event.id}_{event.start.replace('-', '').replace(':', '')}"
        session_id = await started(journey, seen, occurrence_id)
        await paused_on_the_phone_and_finished(journey, seen, session_id)
    assert_in_order(seen.kinds)
    [item] = seen.of("notification-created")["payload"]["items"]
    assert (item["calendar_event_id"], item["task_id"], item["is_late"]) == (event.id, None, False)
    assert event.title in item["title"]
    assert seen.of("occurrence-completed")["payload"]["occurrence"]["focus_session_id"] == session_id

    request = occurrence_service_pb2.GetOccurrenceRequest(occurrence_id=occurrence_id)
    occurrence = journey.laptop.call("GetOccurrence", request).occurrence
    assert (occurrence.state, occurrence.focus_session_id) == (COMPLETED, session_id)
    read = event_service_pb2.GetEventRequest(event_id=event.id)
    assert journey.laptop.call("GetEvent", read).event.state == COMPLETED
    await compared_with_its_plan(journey, event, journey.session(session_id))
    await audited(journey, event.id, session_id)


async def started(journey: Journey, seen: Seen, occurrence_id: str) -> str:
    """Starts the occurrence, and again on the other device; the id of its one session."""
    request = occurrence_service_pb2.StartOccurrenceRequest(occurrence_id=occurrence_id)
    first = journey.laptop.call("StartOccurrence", request)
    second = journey.by_phone("StartOccurrence", request)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.focus_session_id == second.focus_session_id
    await seen.until("session-started", "occurrence-started")
    return str(first.focus_session_id)


async def paused_on_the_phone_and_finished(journey: Journey, seen: Seen, session_id: str) -> None:
    """Works for a second, pauses on the other device, and finishes on this one."""
    await until(lambda: journey.session(session_id).total_focused_seconds > 0, "a second is worked")
    journey.by_phone("PauseFocusSession", focus_pb.PauseFocusSessionRequest(focus_session_id=session_id))
    await seen.until("session-paused")
    assert journey.session(session_id).state == PAUSED
    journey.laptop.call("FinishFocusSession", focus_pb.FinishFocusSessionRequest(focus_session_id=session_id))
    await seen.until("session-finished", "occurrence-completed")


def assert_in_order(kinds: list[str]) -> None:
    """What follows from one another was seen in that order, each once; start has two messages, of two services."""
    steps = ["event-created", "notification-created", "start", "start", "session-paused", "session-finished"]
    of_start = ("session-started", "occurrence-started")
    shown = ["start" if kind in of_start else kind for kind in kinds if not kind.startswith("task-")]
    assert shown == [*steps, "occurrence-completed"], kinds


async def compared_with_its_plan(
    journey: Journey, event: event_pb2.Event, session: focus_session_pb2.FocusSession
) -> None:
    """The archive knows the plan, the task what was worked, and the summary compares both."""
    seconds = session.total_focused_seconds

    def worked() -> bool:
        figures = journey.summary(plan_summary_pb2.PLAN_GROUP_WEEK).total
        return (figures.completed_count, figures.focused_seconds) == (1, seconds)

    await until(worked, "the summary has the session")
    for group in list(plan_summary_pb2.PlanGroup.values())[1:]:
        summary = journey.summary(group)
        [bucket] = summary.buckets
        assert bucket.figures == summary.total
        assert bucket.figures == plan_summary_pb2.PlanFigures(
            planned_count=1, planned_minutes=30, started_count=1, completed_count=1, focused_seconds=seconds
        )
    read = history_service_pb2.GetArchivedSessionRequest(archived_session_id=session.id)
    archived = journey.laptop.call("GetArchivedSession", read).archived_session
    assert (archived.original_event_id, archived.slot, archived.planned_minutes) == (event.id, event.start, 30)
    assert archived.planned_start_time == event.scheduled_start_time == instant(event.start)
    assert [(task.title, task.todo_task_id) for task in archived.tasks] == [(journey.task.title, journey.task.id)]
    of_task = task_service_pb2.GetTaskRequest(task_id=journey.task.id)
    await until(
        lambda: journey.laptop.call("GetTask", of_task).task.focus_seconds == seconds, "the task has what was worked"
    )


async def audited(journey: Journey, event_id: str, session_id: str) -> None:
    """The audit log has every event of both, in order, and its chain is whole."""
    of_event, of_session = audit_record_pb2.SUBJECT_TYPE_CALENDAR_EVENT, audit_record_pb2.SUBJECT_TYPE_FOCUS_SESSION
    kinds = ("event-created", "occurrence-started", "occurrence-completed")
    await until(
        lambda: journey.audited(event_id) == [(kind, of_event) for kind in kinds], "the audit log has the event"
    )
    kinds = ("session-started", "session-paused", "session-finished")
    await until(
        lambda: journey.audited(session_id) == [(kind, of_session) for kind in kinds], "the audit log has the session"
    )
    verified = journey.laptop.call("VerifyAuditRecords", audit_service_pb2.VerifyAuditRecordsRequest())
    assert verified.intact


def instant(local: str) -> Timestamp:
    """The instant of a local time in UTC."""
    made = Timestamp()
    made.FromJsonString(f"{local}Z")
    return made
